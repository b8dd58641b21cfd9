"""The training loop of one network: steps, validation, checkpoints and exact resume.

Every draw of a step is seeded by the run's seed, the step's number and the process. So a checkpoint needs the weights,
their average, both optimisers and the schedule: a run that was stopped anywhere ends with the same bits as one that was
not.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.running import environment
from harness.running.launch import Team
from harness.training.crops import Crops, CropSource
from harness.training.objective import Losses, RateDistortion, keep_full_precision, losses_of_sums
from harness.training.plan import TrainingPlan
from harness.training.schedule import Schedule, Validation, improvement
from lamofcbench.atomic import replacing
from lamofcbench.codecs.learned.network import LearnedNetwork
from lamofcbench.errors import LaMoFCBenchError

if TYPE_CHECKING:
    from accelerate import Accelerator

CHECKPOINT_EVERY = 5
"""Validations between two checkpoints."""
_AVERAGE_RAMP = 10  # a young average must not remember the initial weights


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: steps done.
        seconds: wall-clock time of all parts of an interrupted run.
        curve: a row for each validation; see `Trainer`.
    """

    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)

    @property
    def validations(self) -> list[Validation]:
        """The validation losses so far."""
        return [Validation(int(row["step"]), row["validation_loss"]) for row in self.curve]

    @property
    def improvement(self) -> float | None:
        """See `harness.training.schedule.improvement`."""
        return improvement(self.validations)


def make_accelerator(plan: TrainingPlan, team: Team) -> Accelerator:
    """What moves tensors to the device, casts and exchanges gradients."""
    if team.accelerator is not None:
        return team.accelerator
    from accelerate import Accelerator

    return Accelerator(**accelerator_options(plan.precision, plan.device_type))


def accelerator_options(precision: str, device_type: str) -> dict[str, Any]:
    """Options of the `Accelerator` that trains; without ``cpu`` a machine with no GPU yields ranks that are all 0."""
    return {"cpu": device_type == "cpu", "mixed_precision": "no" if precision == "fp32" else precision}


class Trainer:
    """Trains a network in place.

    The curve has a row for each validation: ``step``, ``rate`` (of learning), ``loss``, ``bpp`` and ``mse`` (means over
    the training crops since the last row), ``validation_loss``, ``validation_bpp`` and ``validation_mse`` (of the
    averaged weights, with rounding, on the held-out crops), ``seconds``.

    Args:
        network: with its initial weights, the same in every process.
        plan: the run's settings.
        crops: where training crops come from.
        held_out: the crops of every validation.
        checkpoint: file of the checkpoint.
        team: the processes that share the work.
    """

    def __init__(
        self,
        network: LearnedNetwork,
        plan: TrainingPlan,
        crops: CropSource,
        held_out: Sequence[Crops],
        checkpoint: Path,
        team: Team,
    ) -> None:
        self.network, self.plan, self.crops, self.held_out = network, plan, crops, held_out
        self.checkpoint, self.team = checkpoint, team
        self.progress = Progress()
        self.schedule = Schedule(plan.steps, plan.warmup_steps)
        self._recent: list[Tensor] = []
        quantiles = [p for name, p in network.named_parameters() if name.endswith("quantiles")]
        weights = [p for name, p in network.named_parameters() if not name.endswith("quantiles") and plan.trains(name)]
        if not weights:
            raise LaMoFCBenchError(f"no parameter of {plan.codec} has a name that {' or '.join(plan.tuned)} finds")
        # The quantiles see no data: their gradient is the same in every process and needs no exchange, nor scaling.
        network.requires_grad_(False)
        for parameter in weights:
            parameter.requires_grad_(True)
        self.accelerator = make_accelerator(plan, team)
        if plan.precision != "fp32":
            keep_full_precision(network, plan.precision)
        self.objective: nn.Module
        self.objective, self.optimizer = self.accelerator.prepare(
            RateDistortion(network), torch.optim.Adam(weights, lr=plan.learning_rate, fused=True)
        )
        self._validated = RateDistortion(network)  # the same weights, without autocast and exchange of gradients
        for parameter in quantiles:
            parameter.requires_grad_(True)
        self.auxiliary_optimizer = torch.optim.Adam(quantiles, lr=plan.auxiliary_learning_rate)
        self._weights = weights
        self.average = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self._resume()

    def steps(self) -> Iterator[Progress]:
        """Trains step by step from the checkpoint, if there is one, until the schedule is finished."""
        while not self.schedule.finished:
            started = time.monotonic()
            self._step()
            if self.progress.step % self.plan.validate_every == 0 or self.progress.step >= self.plan.steps:
                self._validate(started)
            else:
                self.progress.seconds += time.monotonic() - started
            yield self.progress

    def validate(self) -> Losses:
        """Losses of the averaged weights on the held-out crops; the same in every process."""
        return self.losses_of(self.average)

    @torch.no_grad()
    def losses_of(self, state: dict[str, Tensor]) -> Losses:
        """Losses of any weights of this network on the held-out crops, with rounding in place of noise, in fp32."""
        sums = torch.zeros(3, dtype=torch.float64)
        weights = {f"network.{name}": value.to(self.accelerator.device) for name, value in state.items()}
        self._validated.eval()
        for crops in self.held_out[self.team.rank :: self.team.size]:
            sums += torch.func.functional_call(self._validated, weights, self._on_device(crops)).double().cpu()
        self._validated.train()
        if self.team.size > 1:
            sums = self.accelerator.reduce(sums.to(self.accelerator.device)).cpu()
        return losses_of_sums(sums.tolist(), self.plan.lmbda)

    # ------------------------------------------------------------------------------------------------------- a step

    def _step(self) -> None:
        step = self.progress.step
        rate = self.schedule.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * rate
        for group in self.auxiliary_optimizer.param_groups:
            group["lr"] = self.plan.auxiliary_learning_rate * rate
        environment.seed_everything(self.plan.seed, step, self.team.rank)  # the noise that stands for quantisation
        crops = self._on_device(self.crops.draw(step).part(self.team.rank, self.team.size))
        self.objective.train()
        losses = losses_of_sums(self.objective(*crops), self.plan.lmbda)
        self.optimizer.zero_grad()
        self.accelerator.backward(losses.loss)
        self.accelerator.clip_grad_norm_(self._weights, self.plan.gradient_norm)
        self.optimizer.step()
        self.auxiliary_optimizer.zero_grad()
        self.network.auxiliary_loss().backward()
        self.auxiliary_optimizer.step()
        self.progress.step += 1
        self._update_average()
        self._recent.append(torch.stack([losses.loss, losses.bpp, losses.mse]).detach())

    def _on_device(self, crops: Crops) -> tuple[Tensor, Tensor]:
        planes, valid = crops.tensors()
        return planes.to(self.accelerator.device), valid.to(self.accelerator.device)

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.plan.average_decay, (1 + self.progress.step) / (_AVERAGE_RAMP + self.progress.step))
        state = self.network.state_dict()
        averaged = [name for name, value in state.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.average[name] for name in averaged], [state[name] for name in averaged], 1 - decay)
        for name in state.keys() - set(averaged):
            self.average[name].copy_(state[name])

    def _validate(self, started: float) -> None:
        found = self.validate()
        trained = torch.stack(self._recent).double().mean(0)
        if self.team.size > 1:
            trained = self.accelerator.reduce(trained, reduction="mean")
        self._recent.clear()
        self.team.together(lambda: self._require_finite(trained))
        self.progress.seconds += time.monotonic() - started
        rate = self.plan.learning_rate * self.schedule.rate(self.progress.step - 1)
        row = {"step": self.progress.step, "rate": rate}
        row.update(zip(("loss", "bpp", "mse"), trained.tolist(), strict=True))
        row.update((f"validation_{name}", value) for name, value in dataclasses.asdict(found).items())
        self.progress.curve.append({**row, "seconds": round(self.progress.seconds, 3)})
        self.schedule.advance(self.progress.step, self.progress.validations)
        if self.schedule.finished or len(self.progress.curve) % CHECKPOINT_EVERY == 0:
            self.team.from_leader(self._save)

    def _require_finite(self, losses: Tensor) -> None:
        if not torch.isfinite(losses).all():
            raise LaMoFCBenchError(
                f"training diverged before step {self.progress.step}; delete {self.checkpoint} and "
                "lower --learning-rate"
            )

    # ------------------------------------------------------------------------------------------------------- resume

    def _save(self) -> None:
        state = {
            "plan": self.plan.as_json(),
            "progress": dataclasses.asdict(self.progress),
            "schedule": dataclasses.asdict(self.schedule),
            "weights": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "auxiliary_optimizer": self.auxiliary_optimizer.state_dict(),
        }
        scaler = self.accelerator.scaler
        if scaler is not None:
            state["scaler"] = scaler.state_dict()
        with replacing(self.checkpoint) as temporary, temporary.open("wb") as file:
            torch.save(state, file)

    def _resume(self) -> None:
        state = read_checkpoint(self.checkpoint)
        if state is None:
            return
        different = [name for name, value in self.plan.as_json().items() if state["plan"].get(name) != value]
        if different:
            raise LaMoFCBenchError(
                f"{self.checkpoint} was begun with another {', '.join(different)}; "
                "repeat that command to go on, or name another --checkpoints folder"
            )
        self.network.load_state_dict(state["weights"])
        for name, value in state["average"].items():
            self.average[name].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.auxiliary_optimizer.load_state_dict(state["auxiliary_optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
        self.schedule = Schedule(**state["schedule"])


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """What a checkpoint holds, on the CPU; None where there is none.

    Raises:
        LaMoFCBenchError: if it is damaged.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"plan", "progress", "schedule", "weights", "average", "optimizer"} - set(state)
    except Exception as error:
        raise LaMoFCBenchError(f"checkpoint {path} is damaged ({type(error).__name__}); delete it") from error
    if missing:
        raise LaMoFCBenchError(f"{path} is no checkpoint of this training; name another --checkpoints folder")
    return dict(state)
