"""Review: validates the open pull requests of a results repository, and says of each what it came to.

The verdict stands in one comment, which is edited in place, and in the title's prefix. Who reviews twice changes
nothing: a comment says which commit it is about, how closely that was looked at, and by which version of this it
stands. A closer look makes it anew; one that ran less of the code takes nothing from it. Nothing is merged.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.submission.findings import Findings
from harness.submission.manifest import DATASET, NAME
from harness.submission.pull_requests import (
    Changes,
    PullRequest,
    changes_of,
    check_changes,
    fetch,
    is_newest,
    unread,
)
from harness.submission.refusals import Refusal, Refusals
from harness.submission.review_comment import (
    MARK,
    NO_NAME,
    comment_text,
    mark_of,
    own_comment,
    refused_before,
    standing_of,
)
from harness.submission.standing import LACKS_TRUST
from harness.submission.validate import Scrutiny, validate, verdict_of
from harness.submission.verdict import NOTHING_READ, Verdict
from lamofcbench.errors import LaMoFCBenchError, first_line
from lamofcbench.hub import hub_errors
from lamofcbench.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_PREFIX = re.compile(r"(?:\[(?:verified|consistent|refused)\]\s*)+", re.IGNORECASE)
MAX_TITLE = 200
Outcome = Literal["verified", "consistent", "refused", "unchanged", "withdrawal", "no submission", "failed"]


@dataclass(frozen=True)
class Reviewed:
    """What reviewing a pull request came to.

    Attributes:
        request: the pull request.
        outcome: the verdict's level; ``unchanged`` where the comment that is there is about its newest commit, and
            stands; ``withdrawal`` where it takes a submission away; ``no submission`` where it touches none; ``failed``
            where it could not be validated.
        verdict: None but for the first three.
        reason: of a failure; why a comment stands, where a closer look was asked for or it looked more closely.
    """

    request: PullRequest
    outcome: Outcome
    verdict: Verdict | None = None
    reason: str = ""


def review(
    api: HfApi,
    repo: str,
    scrutiny: Scrutiny,
    *,
    numbers: Mapping[int, str | None] | None = None,
    again: bool = False,
    tell: Callable[[str], object] = lambda what: None,
) -> Iterator[Reviewed]:
    """Validates open pull requests, the oldest first.

    Args:
        api: the client, signed in.
        repo: the results repository.
        scrutiny: how closely to look.
        numbers: of the pull requests, each with the commit at which somebody read it, without which a codec's own
            source is not run, or None; None for all that are open. One that is not open, or has another newest commit,
            is a failure.
        again: also those whose comment is about their newest commit already, and looked as closely.
        tell: called with what is looked at next.

    Raises:
        HubError: if the Hub cannot be reached, or lists nothing.
    """
    with hub_errors(f"cannot read the pull requests of {repo}"):
        me = str(api.whoami()["name"])
        found = api.get_repo_discussions(
            repo, repo_type=DATASET, discussion_type="pull_request", discussion_status="open"
        )
        opened = {discussion.num for discussion in found}
    refusals = Refusals(api, repo, me)
    for number, read in sorted((dict.fromkeys(opened) if numbers is None else numbers).items()):
        request = PullRequest(repo, number, read)
        if number not in opened:
            yield Reviewed(request, "failed", reason="it is not open")
            continue
        try:
            yield _reviewed(api, request, me, scrutiny, again, refusals, tell)
        except LaMoFCBenchError as error:  # one that cannot be fetched is not to keep the others waiting
            yield Reviewed(request, "failed", reason=first_line(error))
        except Exception as error:  # nor one that nobody has thought of
            yield Reviewed(request, "failed", reason=f"unexpected {type(error).__name__}: {first_line(error)}")


def _reviewed(
    api: HfApi,
    request: PullRequest,
    me: str,
    scrutiny: Scrutiny,
    again: bool,
    refusals: Refusals,
    tell: Callable[[str], object],
) -> Reviewed:
    changes = changes_of(api, request)
    if not changes.is_submission:
        return Reviewed(request, "no submission")
    if changes.is_withdrawal:
        return Reviewed(request, "withdrawal")
    with hub_errors(f"cannot read pull request {request}"):
        details = api.get_discussion_details(request.repo, request.num, repo_type=DATASET)
    comment = own_comment(details.events, me)
    said = None if comment is None else MARK.search(comment.content)
    standing = None if said is None or said[2] != changes.commit else standing_of(said)
    if standing is not None and said is not None and said[3] == __version__ and not again:
        reason = standing.why_kept(scrutiny.looked)
        if reason is not None:
            _rename(api, request, details.title, standing.level)
            return Reviewed(request, "unchanged", reason=reason)
    tell(f"{request}: {changes.submission}")
    refused = None if comment is None else refused_before(comment.content, changes.commit)
    elsewhere = refusals.elsewhere(request, details.author, changes.submission)
    if refused is not None or elsewhere is not None:  # who is refused does not get another draw
        scrutiny = replace(scrutiny, full=True)
    if standing is not None:
        scrutiny = standing.scrutiny(scrutiny)
    verdict = validate_pull_request(request, changes, scrutiny, tell)
    level = verdict.level
    text = comment_text(verdict, changes.commit, replaces=changes.replaces, refused=refused, elsewhere=elsewhere)
    outlasted = standing is not None and standing.outlasts(level, scrutiny.looked)
    if standing is not None and comment is not None and outlasted:  # by this version, too, which need not look again
        level = standing.level
        text = MARK.sub(mark_of(level, changes.commit, standing.looked), comment.content, count=1)
    with hub_errors(f"cannot comment on pull request {request}"):
        if comment is None:
            api.comment_discussion(request.repo, request.num, text, repo_type=DATASET)
        elif comment.content != text:
            api.edit_discussion_comment(request.repo, request.num, comment.id, text, repo_type=DATASET)
    if level == "refused":
        refusals.add(Refusal(request.num, details.author, changes.submission))
    if not is_newest(api, request, changes.commit):  # its title would be about what nobody has looked at
        _rename(api, request, details.title, None)
        return Reviewed(request, "failed", reason="it has changed while it was validated; the next review looks at it")
    _rename(api, request, details.title, level)
    if outlasted:
        return Reviewed(request, "unchanged", reason=LACKS_TRUST)
    return Reviewed(request, verdict.level, verdict)


def validate_pull_request(
    request: PullRequest,
    changes: Changes,
    scrutiny: Scrutiny,
    tell: Callable[[str], object] = lambda what: None,
) -> Verdict:
    """What the submission of a pull request comes to; nothing is fetched that could be none.

    Raises:
        SubmissionError: if a codec's own source is to run that nobody says to have read at this commit.
    """
    if scrutiny.trust_code and request.commit is None:
        raise unread(str(request), changes.commit)
    with tempfile.TemporaryDirectory(prefix="lamofcbench-") as temporary:
        findings = Findings(Path(temporary))
        if not check_changes(changes, findings):
            name = changes.submission or NO_NAME
            return verdict_of(name if NAME.fullmatch(name) else NO_NAME, NOTHING_READ, findings, 0, scrutiny.looked)
        assert changes.submission is not None
        folder = fetch(request.repo, changes.commit, changes.submission, Path(temporary))
        return validate(folder, scrutiny, tell=tell)


# ------------------------------------------------------------------------------------------------------------- the Hub


def _rename(api: HfApi, request: PullRequest, title: str, level: str | None) -> None:
    """Puts the verdict in front of a title, in place of what stands there; None for no verdict."""
    wanted = titled(title, level)
    if wanted != title:
        with hub_errors(f"cannot rename pull request {request}"):
            api.rename_discussion(request.repo, request.num, wanted, repo_type=DATASET)


def titled(title: str, level: str | None) -> str:
    """A title with the verdict in front, or with none.

    Example:
        >>> titled("[refused] [verified] My codec", "consistent"), titled("[verified] My codec", None)
        ('[consistent] My codec', 'My codec')
    """
    plain = _PREFIX.sub("", title.strip(), count=1)
    return (plain if level is None else f"[{level}] {plain}")[:MAX_TITLE]
