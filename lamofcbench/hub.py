"""The Hub's client, and what goes wrong on the way to it, as one line each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lamofcbench.errors import LaMoFCBenchError, first_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi


class HubError(LaMoFCBenchError):
    """The Hub cannot be reached, refuses, or holds something else than was expected."""


class MovedError(HubError):
    """Somebody else has committed in the meantime."""


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

    Args:
        what: what did not work, as the beginning of the line.

    Raises:
        MovedError: for a commit upon a parent that is no longer the newest.
        HubError: for anything else.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise HubError(f"{what}: the Hub's client is offline; unset HF_HUB_OFFLINE") from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(f"{what}: there is no such repository, or the token may not see it") from error
    except errors.HfHubHTTPError as error:
        if error.response is not None and error.response.status_code == 412:
            raise MovedError(f"{what}: somebody else has committed in the meantime") from error
        raise HubError(f"{what}: {first_line(error, 200)}") from error
    except (errors.HFValidationError, _transport_error(), OSError) as error:
        raise HubError(f"{what}: {first_line(error, 200) or type(error).__name__}") from error


def _transport_error() -> type[Exception]:
    """What the client's own HTTP library raises, whichever that is: the class that the client's own error extends."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__[0]
