"""Earlier refusals in a results repository: who was refused in a pull request gets no other draw by opening another."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.submission.manifest import DATASET
from harness.submission.pull_requests import PullRequest
from harness.submission.review_comment import own_comment, refused_commit, submission_of
from lamofcbench.hub import hub_errors

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MOST_READ = 200
"""Pull requests, the newest first; each takes a request."""


@dataclass(frozen=True)
class Refusal:
    """A pull request of which some commit was refused.

    Attributes:
        num: its number.
        author: of the pull request.
        submission: its name.
    """

    num: int
    author: str
    submission: str | None


class Refusals:
    """The refusals in a repository, by what the reviewer's own comments say; read when they are first asked for.

    Args:
        api: the client, signed in.
        repo: the results repository.
        me: the reviewer; others may write what they like.
    """

    def __init__(self, api: HfApi, repo: str, me: str) -> None:
        self._api, self._repo, self._me = api, repo, me

    def add(self, refusal: Refusal) -> None:
        """Adds one that was just told."""
        self._found.insert(0, refusal)

    def elsewhere(self, request: PullRequest, author: str, submission: str | None) -> int | None:
        """The number of another pull request, open or not, of this author or submission that was refused.

        Args:
            request: that is looked at.
            author: of it.
            submission: its name; None where it has none.

        Raises:
            HubError: if the Hub cannot tell.
        """
        for one in self._found:
            same = one.author == author or (submission is not None and one.submission == submission)
            if one.num != request.num and same:
                return one.num
        return None

    @functools.cached_property
    def _found(self) -> list[Refusal]:
        found = []
        with hub_errors(f"cannot read the pull requests of {self._repo}"):
            listed = self._api.get_repo_discussions(self._repo, repo_type=DATASET, discussion_type="pull_request")
            for one in itertools.islice(listed, MOST_READ):
                details = self._api.get_discussion_details(self._repo, one.num, repo_type=DATASET)
                comment = own_comment(details.events, self._me)
                if comment is not None and refused_commit(comment.content) is not None:
                    found.append(Refusal(one.num, one.author, submission_of(comment.content)))
        return found
