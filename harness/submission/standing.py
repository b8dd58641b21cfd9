"""A verdict that stands on a content, and when one more look at that changes it: never because it was less close."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from harness.submission.validate import Scrutiny
from harness.submission.verdict import USUAL, Level, Looked

LACKS_TRUST = "the verdict that stands ran the codec's own source, which takes --trust-code"
AS_CLOSE = "it was looked at as closely before; --again validates it anew"


@dataclass(frozen=True)
class Standing:
    """What stands.

    Attributes:
        level: that it came to.
        looked: how closely it looked.
    """

    level: Level
    looked: Looked

    def why_kept(self, wanted: Looked) -> str | None:
        """Why no validation is needed; empty where nobody asked for a closer look than usual.

        Args:
            wanted: how closely to look now.

        Returns:
            None where it takes one, because it would look more closely.
        """
        if not wanted.is_closer_than(self.looked):
            return "" if wanted == USUAL else AS_CLOSE
        return LACKS_TRUST if self._lacks_trust(wanted) else None

    def scrutiny(self, wanted: Scrutiny) -> Scrutiny:
        """How closely to look anew: no less than before, and at all where it was refused, which earns no other draw.

        New samples are drawn by another seed than before, which everybody can read.
        """
        again = None if self.looked.fresh is None else secrets.randbits(63)
        fresh = again if wanted.fresh is None else wanted.fresh
        return replace(wanted, full=wanted.full or self.looked.full or self.level == "refused", fresh=fresh)

    def outlasts(self, level: Level, wanted: Looked) -> bool:
        """Whether it stands although another look came to a level: one that ran less of the code found no new fault.

        Args:
            level: that it came to.
            wanted: how closely it looked.
        """
        return self._lacks_trust(wanted) and (level != "refused" or self.level == "refused")

    def _lacks_trust(self, wanted: Looked) -> bool:
        return self.looked.trusted and not wanted.trusted
