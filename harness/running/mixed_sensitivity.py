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
    """Computes the sensitivities of scenarios as far as they are not there yet, and takes their mean, which it keeps.

    Args:
        parts: of each scenario.
        specs: of the tensors of all of them.
    """

    def __init__(self, parts: Sequence[TailSensitivity], specs: FeatureSpecs) -> None:
        self._parts, self._specs = parts, specs
        record = {"revision": REVISION, "parts": [part.origin for part in parts]}
        self._mean: Sensitivity | None = None
        self.origin = hashlib.sha256(store.canonical_json(record).encode()).hexdigest()

    def read(self) -> Sensitivity | None:
        """The sensitivity, if those of all scenarios were computed before and are whole."""
        if self._mean is None:
            found = [part.read() for part in self._parts]
            known = [one for one in found if one is not None]
            if len(known) == len(found):
                self._mean = mixed_sensitivity(known, self._specs, self.origin)
        return self._mean

    def computed(self, team: Team | None = None) -> Sensitivity:
        """The sensitivity; see `TailSensitivity.computed`."""
        if self._mean is None:
            parts = [part.computed(team) for part in self._parts]
            self._mean = mixed_sensitivity(parts, self._specs, self.origin)
        return self._mean
