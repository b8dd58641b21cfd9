"""The sensitivity of the tails of several scenarios, for codecs that are fitted on a mixture of their samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from harness.results import store
from harness.running.launch import Team
from harness.running.sensitivity import TailSensitivity
from lamofcbench.codecs.mixed_sensitivity import mixed_sensitivity
from lamofcbench.codecs.sensitivity import Sensitivity
from lamofcbench.scenarios.base import FeatureSpecs

REVISION = 1
"""Raised when the same parts would make another sensitivity."""


class MixedTailSensitivity:
    """Computes the sensitivities of scenarios as far as they are not there yet, and takes their mean.

    Args:
        parts: of each scenario.
        specs: of the tensors of all of them.
    """

    def __init__(self, parts: Sequence[TailSensitivity], specs: FeatureSpecs) -> None:
        self._parts, self._specs = parts, specs
        record = {"revision": REVISION, "parts": [part.origin for part in parts]}
        self.origin = hashlib.sha256(store.canonical_json(record).encode()).hexdigest()

    def read(self) -> Sensitivity | None:
        """The sensitivity, if those of all scenarios were computed before and are whole."""
        found = [part.read() for part in self._parts]
        known = [one for one in found if one is not None]
        return self._mean(known) if len(known) == len(found) else None

    def computed(self, team: Team | None = None) -> Sensitivity:
        """The sensitivity; see `TailSensitivity.computed`."""
        return self._mean([part.computed(team) for part in self._parts])

    def _mean(self, parts: Sequence[Sensitivity]) -> Sensitivity:
        return mixed_sensitivity(parts, self._specs, self.origin)
