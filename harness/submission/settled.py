"""Anchors and floors that were validated before: every submission has them, and those of one author the same files."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from harness.results.result import ANCHOR, FLOOR
from harness.submission.manifest import submission_digest

if TYPE_CHECKING:
    from harness.submission.claims import Claim
    from harness.submission.verdict import Check


class Settled:
    """What was counted when anchors and floors without a fault were validated, by their very files.

    All of their samples are looked at whatever the seed, so that looking again at the same bytes, in the same way and
    on the same data, finds the same. It lasts as long as whoever validates several submissions keeps it: nothing of it
    is written down, where somebody could write it in our place.
    """

    def __init__(self) -> None:
        self._counts: dict[Hashable, Sequence[Check]] = {}

    @staticmethod
    def key(claim: Claim, *looked: Hashable) -> Hashable | None:
        """What such a result is known by; None for one of another codec.

        Args:
            claim: the result.
            looked: how closely, on which data and device, and what else decides what is found.
        """
        if claim.result.codec.name not in (ANCHOR, FLOOR):
            return None
        return (claim.folder.place, submission_digest(claim.folder.path), *looked)

    def counts(self, key: Hashable) -> Sequence[Check] | None:
        """What was counted; None if it is not known."""
        return self._counts.get(key)

    def keep(self, key: Hashable, counts: Sequence[Check]) -> None:
        """Keeps what was counted of a result that has no fault."""
        self._counts[key] = tuple(counts)
