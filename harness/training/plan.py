"""What determines a training run's result, apart from code and data."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lamofcbench.codecs.learned.network import STRIDE
from lamofcbench.errors import LaMoFCBenchError

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class TrainingPlan:
    """The settings of one network's training. A checkpoint is continued only under the plan that it was begun with.

    Attributes:
        codec: name of the network.
        lmbda: weight of ``255**2`` times the mean squared error against bits a plane element.
        widths: N and M of the network.
        steps: the most optimiser steps; training stops earlier where it has converged.
        batch_size: crops of the largest size a step, over all processes; of smaller ones as many as have its area.
        crop: height and width of the largest crops, a multiple of 64.
        seed: of the initial weights and, with the step number, of every draw.
        learning_rate: of the weights, at its peak.
        auxiliary_learning_rate: of the bottleneck's quantiles.
        warmup_steps: steps of linear warm-up.
        gradient_norm: gradients are clipped to this 2-norm.
        average_decay: of the running average of the weights, which is what is validated and exported.
        validate_every: steps between validations.
        validation_elements: how many elements of held-out crops of each size a validation sees, the same each time.
        precision: of the network's layers; entropy models and the loss are always computed in fp32.
        threads: torch's threads a process; another count may change the last bits.
        processes: how many share the work; another count changes the noise that each crop gets.
        device_type: cpu or cuda.
        data: what identifies the planes.
        start: what identifies the weights to start from; empty for random ones.
        tuned: regular expressions; parameters whose name none of them finds stay as they start. Empty: all are trained.
    """

    codec: str
    lmbda: float
    widths: tuple[int, int]
    steps: int
    data: str
    batch_size: int = 2
    crop: int = 256
    seed: int = 0
    learning_rate: float = 1e-3
    auxiliary_learning_rate: float = 1e-2
    warmup_steps: int = 100
    gradient_norm: float = 1.0
    average_decay: float = 0.999
    validate_every: int = 100
    validation_elements: int = 2**19
    precision: Precision = "fp32"
    threads: int = 1
    processes: int = 1
    device_type: str = "cpu"
    start: str = ""
    tuned: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.crop < STRIDE or self.crop % STRIDE:
            raise LaMoFCBenchError(f"crop is {self.crop}; it must be a multiple of {STRIDE}")
        if min(self.widths) < 1:
            raise LaMoFCBenchError(f"widths are {self.widths}; both must be positive")
        if not self.lmbda > 0:
            raise LaMoFCBenchError(f"lambda is {self.lmbda}; it must be positive")
        if self.steps < 1 or self.validate_every < 1:
            raise LaMoFCBenchError("steps must be positive")
        if self.batch_size % self.processes:
            raise LaMoFCBenchError(
                f"a batch of {self.batch_size} crops cannot be shared evenly by {self.processes} processes"
            )
        if self.precision not in get_args(Precision):
            raise LaMoFCBenchError(f"precision is {self.precision!r}; it may be {', '.join(get_args(Precision))}")
        for pattern in self.tuned:
            try:
                re.compile(pattern)
            except re.error as error:
                raise LaMoFCBenchError(f"{pattern!r} is no regular expression: {error}") from error
        if self.precision == "fp16" and self.device_type == "cpu":
            raise LaMoFCBenchError("fp16 training needs a GPU; use bf16 or fp32 on the CPU")

    def trains(self, parameter: str) -> bool:
        """Whether the parameter of this name is trained."""
        return not self.tuned or any(re.search(pattern, parameter) for pattern in self.tuned)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; ``tuned`` is left out where all is trained."""
        values = {**dataclasses.asdict(self), "widths": list(self.widths), "tuned": list(self.tuned)}
        return {name: value for name, value in values.items() if name != "tuned" or value}
