"""The comment that holds a verdict on a pull request, and what a later review reads in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

from harness.submission.manifest import NAME
from harness.submission.standing import Standing
from harness.submission.verdict import USUAL, Level, Looked, Verdict
from lamofcbench.errors import one_line
from lamofcbench.version import __version__

MARK = re.compile(
    r"<!-- lamofcbench verdict (verified|consistent|refused) on ([0-9a-f]{40}) by ([\w.+-]{1,40})"
    r"(?P<trusted> trusted)?(?P<full> full)?(?: fresh=(?P<fresh>\d{1,19}))? -->"
)
_REFUSED = re.compile(r"<!-- refused on ([0-9a-f]{40}) -->")
_ABOUT = re.compile(rf"submission `({NAME.pattern})` at `")
NO_NAME = "unnamed"
MAX_FAULTS_SHOWN = 50
LOOKED_AT = "Since then every sample is looked at."
REPLACES = "It takes the place of the submission of this name: see that its author sends it."


def own_comment(events: Iterable[Any], me: str) -> Any | None:
    """The comment of an earlier review, by whoever reviews now; others may write what they like."""
    for event in events:
        if event.type == "comment" and event.author == me and MARK.search(event.content or ""):
            return event
    return None


def standing_of(said: re.Match[str]) -> Standing:
    """What a comment's mark says of its verdict."""
    fresh = None if said["fresh"] is None else int(said["fresh"])
    return Standing(cast(Level, said[1]), Looked(trusted=bool(said["trusted"]), full=bool(said["full"]), fresh=fresh))


def mark_of(level: Level, commit: str, looked: Looked) -> str:
    """The comment's hidden mark: a verdict, what it is about, and how closely it looked, as of this version."""
    return f"<!-- {' '.join(f'lamofcbench verdict {level} on {commit} by {__version__} {looked}'.split())} -->"


def refused_before(content: str, commit: str) -> str | None:
    """The earlier commit of which a comment says that it was refused; None where it says so of none."""
    refused = refused_commit(content)
    return None if refused == commit and _REFUSED.search(content) is None else refused


def refused_commit(content: str) -> str | None:
    """The first commit of which a comment says that it was refused, be it the one that it is about; None without."""
    earlier, said = _REFUSED.search(content), MARK.search(content)
    if earlier is not None:
        return earlier[1]
    return said[2] if said is not None and said[1] == "refused" else None


def submission_of(content: str) -> str | None:
    """The name of the submission that a comment is about; None where it had none."""
    said = _ABOUT.search(content)
    return None if said is None or said[1] == NO_NAME else said[1]


def comment_text(
    verdict: Verdict, commit: str, *, replaces: bool = False, refused: str | None = None, elsewhere: int | None = None
) -> str:
    """The comment that holds a verdict: Markdown in which nothing of the submission is markup.

    Args:
        verdict: to be told.
        commit: that it is about.
        replaces: whether it takes the place of a submission that is there.
        refused: an earlier commit that was.
        elsewhere: another pull request, of the same author or submission, that was.
    """
    checked = "\n".join(_plain(str(check)) for check in verdict.checked)
    faults = [_plain(str(fault)) for fault in verdict.faults[:MAX_FAULTS_SHOWN]]
    more = len(verdict.faults) - len(faults)
    listed = "\n".join([*faults, *([f"and {more} more"] if more > 0 else [])])
    meaning = {
        "verified": "Everything that was looked at holds, and everything could be looked at.",
        "consistent": "Nothing contradicts; not everything could be looked at.",
        "refused": "There are faults.",
    }[verdict.level]
    parts = [
        mark_of(verdict.level, commit, verdict.looked),
        f"**{verdict.level}**: submission `{verdict.submission}` at `{commit[:8]}`. {meaning}",
        *(
            []
            if refused is None
            else [f"<!-- refused on {refused} -->\nRefused before at `{refused[:8]}`. {LOOKED_AT}"]
        ),
        *([] if elsewhere is None else [f"Refused before in #{elsewhere}. {LOOKED_AT}"]),
        *([REPLACES] if replaces else []),
        *(f"```text\n{block}\n```" for block in (listed, checked) if block),
        f"Files `{verdict.digest[:16]}`, seed {verdict.seed}, {verdict.date}."
        + (f" Looked more closely than usual: {verdict.looked}." if verdict.looked != USUAL else ""),
    ]
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Text that no fence of Markdown ends at."""
    return one_line(text, 500).replace("`", "'")
