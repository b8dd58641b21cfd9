"""The Hub's client, and what goes wrong on the way to it, as one line each."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lamofcbench.errors import LaMoFCBenchError, one_line, shown

if TYPE_CHECKING:
    from huggingface_hub import HfApi

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_SECRETS = re.compile(
    r"""(?<=Bearer\ )[^'"]+  # a header that cannot be sent is quoted by whoever was to send it
    | \bhf_(?:[a-z]+_)?[A-Za-z0-9]{20,}
    | (?<=://)[^/\s@]+@  # a proxy's password
    | \?[^\s'"]+  # what signs the address of an upload""",
    re.VERBOSE,
)
"""What lets others in, in the words of an error."""


class HubError(LaMoFCBenchError):
    """The Hub cannot be reached, refuses, or holds something else than was expected."""


class MovedError(HubError):
    """Somebody else has committed in the meantime."""


def check_repository(repo: str) -> None:
    """Raises HubError for what is no ``org/name``: the client makes ``name`` a repository of whoever is signed in."""
    if not REPOSITORY.fullmatch(repo):
        raise HubError(f"{shown(repo)} is no repository; write ORG/NAME")


def signed_in() -> HfApi:
    """The client, once it is known that there is a token and whose it is. The token is not handed around.

    Raises:
        HubError: if there is none, the Hub refuses it, or the client works offline.
    """
    from huggingface_hub import HfApi, errors

    api = HfApi()
    with hub_errors("the Hub does not say whose the token is"):
        try:
            api.whoami()
        except errors.LocalTokenNotFoundError as error:
            raise HubError("there is no Hub token; run `hf auth login`, or set HF_TOKEN") from error
    return api


@contextlib.contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Turns what the client raises into one line.

    Any error becomes one, because the client raises nearly all that there is: ``RuntimeError`` for an upload that the
    storage refuses, ``ValueError`` for answers that are no JSON or refuse a batch, ``Exception`` for a revision. So a
    block holds calls of the client and no work of ours, whose mistakes are to keep their traceback. Errors that are
    raised on purpose inside, and what stops the process, pass.

    Args:
        what: what did not work, as the beginning of the line.

    Raises:
        MovedError: for a commit upon a parent that is no longer the newest.
        HubError: for anything else; it quotes the client, and the cause where the client names one, but no secret.
    """
    from huggingface_hub import errors

    try:
        yield
    except LaMoFCBenchError:
        raise
    except errors.OfflineModeIsEnabled as error:
        raise HubError(f"{what}: the Hub's client is offline; unset HF_HUB_OFFLINE") from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(f"{what}: there is no such repository, or the token may not see it") from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{what}: it has no such branch or commit; a commit has 40 hex digits") from error
    except errors.HfHubHTTPError as error:  # its cause says the same
        if error.response is not None and error.response.status_code == 412:
            raise MovedError(f"{what}: somebody else has committed in the meantime") from error
        raise HubError(f"{what}: {_said(error)}") from error
    except Exception as error:
        cause = "" if error.__cause__ is None else f" ({_named(error.__cause__)})"
        raise HubError(f"{what}: {_named(error)}{cause}") from error


def _named(error: BaseException) -> str:
    """What an error is and says: a missing key says nothing but its name."""
    return f"{type(error).__name__}: {_said(error)}"


def _said(error: BaseException) -> str:
    """What an error says, all of it on one line: where the client lists errors, its first line is but a heading."""
    return one_line(_SECRETS.sub("…", " ".join(str(error).split())), 200)
