"""How long to train, and at which rate: full rate until the plateau, a linear descent, a low rate until all is still.

A rate that falls by a schedule of fixed length would make any curve look flat at its end. So the plateau is judged at
the full rate first; then the rate descends over a fifth of all steps so far, and training ends once the last fifth of
the steps has brought less than `LEAST_IMPROVEMENT`, or when the steps are used up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_IMPROVEMENT = 0.005
"""A validation loss that has improved by less than this share over the last fifth of the steps has converged."""
LAST_SHARE = 0.2
FEWEST_VALIDATIONS = 4
"""The last fifth must hold this many validations before it is judged."""
LOW_RATE = 0.05
"""The rate after the descent, as a share of the full one."""
FULL_RATE_SHARE = 0.64
"""The full rate ends here at the latest, as a share of the most steps: a descent then takes 0.16, the rest 0.2."""


@dataclass(frozen=True)
class Validation:
    """The validation loss after some steps."""

    step: int
    loss: float


def improvement(validations: Sequence[Validation]) -> float | None:
    """By which share the best validation loss has improved over the last fifth of the steps; None if it is too early.

    Example:
        >>> round(improvement([Validation(step, 1 + 1 / step) for step in range(1, 101)]), 4)
        0.0025
        >>> improvement([Validation(step, 1.0) for step in range(10, 60, 10)]) is None
        True
    """
    if not validations:
        return None
    start = validations[-1].step * (1 - LAST_SHARE)
    before = [v.loss for v in validations if v.step <= start]
    after = [v.loss for v in validations if v.step > start]
    if not before or len(after) < FEWEST_VALIDATIONS:
        return None
    best = min(before)
    return max(0.0, (best - min(after)) / best)


def has_converged(validations: Sequence[Validation]) -> bool:
    """True where the last fifth of the steps has brought less than `LEAST_IMPROVEMENT`."""
    share = improvement(validations)
    return share is not None and share < LEAST_IMPROVEMENT


@dataclass
class Schedule:
    """Where training stands between full rate and end.

    Attributes:
        steps: the most steps.
        warmup_steps: steps of linear warm-up at the start.
        descent_start: the step at which the rate began to descend; None before.
        finished: True once training is over.
    """

    steps: int
    warmup_steps: int
    descent_start: int | None = None
    finished: bool = False

    def rate(self, step: int) -> float:
        """The share of the full learning rate for a step, counted from 0."""
        if self.descent_start is None:
            return min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        done = (step + 1 - self.descent_start) / self._descent_steps
        return max(LOW_RATE, 1 - (1 - LOW_RATE) * done)

    def advance(self, step: int, validations: Sequence[Validation]) -> None:
        """Decides what follows after so many steps."""
        if self.descent_start is None:
            if step >= FULL_RATE_SHARE * self.steps or has_converged(validations):
                self.descent_start = step
        elif step >= self.descent_start + self._descent_steps and has_converged(validations):
            self.finished = True
        if step >= self.steps:
            self.finished = True

    @property
    def _descent_steps(self) -> int:
        assert self.descent_start is not None
        return max(1, math.ceil(self.descent_start * LAST_SHARE / (1 - LAST_SHARE)))
