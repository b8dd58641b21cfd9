"""Trains a codec's rate points one after another, from the largest lambda down, each from its neighbour's weights.

The largest lambda uses the most latent channels; what it has learned about the planes holds at lower rates too, where
some channels then fall silent. Going up instead would have to wake channels that a low rate has put to sleep. A rate
point of other widths than its neighbour starts anew, as the largest one does.

Rate points may share most of their weights: those that start from others then tune some of them and store only these.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from harness.running import environment
from harness.running.launch import Team
from harness.training import curves
from harness.training.crops import CropSource
from harness.training.export import export, finished_card, shared_base, weights_file
from harness.training.initial import start_as_block_transform
from harness.training.plan import Precision, TrainingPlan
from harness.training.planes import PlaneStore, planes_digest, write_planes
from harness.training.storage import StorageFormat
from harness.training.trainer import Trainer, read_checkpoint
from lamofcbench.codecs.learned.checkpoints import read_state
from lamofcbench.codecs.learned.networks import NETWORKS
from lamofcbench.errors import LaMoFCBenchError, UnknownNameError
from lamofcbench.locks import LOCKS_DIRECTORY, locked
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.calibration import Calibration
from lamofcbench.storage.integrity import file_sha256


@dataclass(frozen=True)
class LadderSettings:
    """What `lamofcbench train` is asked for; see `TrainingPlan` for what is not explained here.

    Attributes:
        lmbdas: the rate points, in any order.
        widths: N and M of all rate points, or of each in the order of ``lmbdas``.
        steps: the most steps of a rate point that starts anew.
        warm_steps: the most steps of one that starts from other weights.
        output: folder of the checkpoints that ship.
        checkpoints: folder of what resuming needs, and of the curves.
        warm_start: weights to start from, or a folder of which each rate point takes those of the nearest lambda; None
            to start at random, and from the neighbour after that.
        tuned: of rate points that start from other weights, see `TrainingPlan`; their files name the file that holds
            the rest, which lies beside them.
        storage: of the weights; None for the smallest format that does next to no harm.
        data: dataset folder; None for where each scenario's data are by default.
        progress: show bars.
    """

    codec: str
    lmbdas: tuple[float, ...]
    widths: tuple[tuple[int, int], ...]
    steps: int
    warm_steps: int
    batch_size: int
    crop: int
    seed: int
    learning_rate: float
    validate_every: int
    precision: Precision
    threads: int
    device_type: str
    output: Path
    checkpoints: Path
    warm_start: Path | None = None
    tuned: tuple[str, ...] = ()
    storage: StorageFormat | None = None
    data: str | Path | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if self.codec not in NETWORKS:
            raise UnknownNameError("codec that can be trained", self.codec, NETWORKS)
        if not self.lmbdas:
            raise LaMoFCBenchError("no lambda is named")
        if len(self.widths) not in (1, len(self.lmbdas)):
            raise LaMoFCBenchError(
                f"{len(self.widths)} widths are named for {len(self.lmbdas)} lambdas; name one, or one for each"
            )

    def widths_of(self, lmbda: float) -> tuple[int, int]:
        """N and M of a rate point."""
        return self.widths[0] if len(self.widths) == 1 else self.widths[self.lmbdas.index(lmbda)]

    def plan(self, lmbda: float, *, data: str, start: str, processes: int) -> TrainingPlan:
        """The plan of a rate point."""
        return TrainingPlan(
            codec=self.codec, lmbda=lmbda, widths=self.widths_of(lmbda), steps=self.warm_steps if start else self.steps,
            data=data, batch_size=self.batch_size, crop=self.crop, seed=self.seed, learning_rate=self.learning_rate,
            validate_every=self.validate_every, precision=self.precision, threads=self.threads, processes=processes,
            device_type=self.device_type, start=start, tuned=self.tuned if start else (),
        )  # fmt: skip


def train(settings: LadderSettings, scenarios: Sequence[Scenario], team: Team) -> list[dict[str, Any]]:
    """Trains all rate points, or what is left of them; returns their cards, the largest lambda first.

    Args:
        settings: how.
        scenarios: whose calibration samples are trained on; no other samples are opened.
        team: the processes that share the work.
    """
    with environment.pinned_threads(settings.threads):
        team.from_leader(lambda: len([Calibration(scenario, settings.data) for scenario in scenarios]))  # may build
        calibrations = [Calibration(scenario, settings.data) for scenario in scenarios]
        folder = settings.checkpoints / f"planes-{planes_digest(calibrations)}"

        def make_planes() -> None:
            with locked(
                settings.checkpoints / LOCKS_DIRECTORY / f"{folder.name}.lock", f"making the planes in {folder}"
            ):
                write_planes(calibrations, folder, progress=settings.progress)

        team.from_leader(make_planes)
        planes = PlaneStore(folder)
        cards: list[dict[str, Any]] = []
        previous: tuple[tuple[int, int], Path] | None = None
        for lmbda in sorted(set(settings.lmbdas), reverse=True):
            widths = settings.widths_of(lmbda)
            if settings.warm_start is not None:
                start: Path | None = _nearest(settings.warm_start, lmbda, settings.output)
            else:
                start = previous[1] if previous is not None and previous[0] == widths else None
            plan = settings.plan(
                lmbda,
                data=planes.digest,
                start=file_sha256(start) if start else "",
                processes=team.size,
            )
            with _turn(settings, lmbda, team):
                cards.append(_train_one(plan, settings, start, planes, team))
            previous = widths, weights_file(settings.output, lmbda)
            if team.leads:
                _draw(settings)
        return cards


@contextlib.contextmanager
def _turn(settings: LadderSettings, lmbda: float, team: Team) -> Iterator[None]:
    """Trainings of a rate point that share a folder take turns; the leading process holds the locks."""
    folders = {settings.output.resolve(): f"{lmbda:g}", settings.checkpoints.resolve(): f"{settings.codec}-{lmbda:g}"}
    with contextlib.ExitStack() as held:

        def wait() -> None:
            for folder, name in sorted(folders.items()):  # the same order in all trainings, or two could wait in a ring
                doing = f"training {settings.codec} {lmbda:g} into {settings.output}"
                held.enter_context(locked(folder / LOCKS_DIRECTORY / f"{name}.lock", doing))

        team.from_leader(wait)
        yield


def _train_one(
    plan: TrainingPlan, settings: LadderSettings, start: Path | None, planes: PlaneStore, team: Team
) -> dict[str, Any]:
    card: dict[str, Any] | None = team.from_leader(lambda: finished_card(settings.output, plan))
    if card is not None:
        return card
    environment.seed_everything(plan.seed)
    network = NETWORKS[plan.codec](*plan.widths)
    if start is None:
        start_as_block_transform(network, plan.lmbda)
    else:
        network.load(read_state(start))
        if plan.tuned:
            _require_beside(settings.output, shared_base(start))
        # Where a rate-distortion curve has the slope lambda, the distortion is in proportion to its inverse.
        network.scale_latents(math.sqrt(plan.lmbda / _lmbda_of(start, plan.lmbda)))
    # Faster; results differ in the last bits only.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs do not know it

    def make_trainer() -> Trainer:
        training, held_out = (
            CropSource(planes, plan.crop, plan.batch_size, plan.seed, held_out=part) for part in (False, True)
        )
        validation = held_out.draws(plan.validation_elements)
        checkpoint = checkpoint_file(settings.checkpoints, plan.codec, plan.lmbda)
        return Trainer(network, plan, training, validation, checkpoint, team)

    trainer = team.together(make_trainer)
    bar = tqdm(
        total=plan.steps, initial=trainer.progress.step, desc=f"{plan.codec} {plan.lmbda:g}", mininterval=5.0,
        disable=not (settings.progress and team.leads),
    )  # fmt: skip
    with bar:
        for progress in trainer.steps():
            bar.update()
            if team.leads and progress.curve and progress.curve[-1]["step"] == progress.step:
                last = progress.curve[-1]
                bar.set_postfix_str(f"loss {last['loss']:.4f}, validation {last['validation_loss']:.4f}", refresh=False)
                curves.write_rows(curve_file(settings.checkpoints, plan.codec, plan.lmbda), progress.curve)
    return export(trainer, settings.output, planes.scenarios, settings.storage, start)


def checkpoint_file(folder: Path, codec: str, lmbda: float) -> Path:
    """Where resuming finds a rate point's training."""
    return folder / f"{codec}-{lmbda:g}.pt"


def curve_file(folder: Path, codec: str, lmbda: float) -> Path:
    """Where a rate point's curve lies."""
    return folder / f"{codec}-{lmbda:g}.jsonl"


def _draw(settings: LadderSettings) -> None:
    rows = {}
    for lmbda in sorted(set(settings.lmbdas)):
        state = read_checkpoint(checkpoint_file(settings.checkpoints, settings.codec, lmbda))
        if state is not None and state["progress"]["curve"]:
            rows[lmbda] = state["progress"]["curve"]
    if rows:
        curves.draw(settings.checkpoints / f"{settings.codec}.png", rows)


def _require_beside(output: Path, base: Path) -> None:
    """Refuses to write weights that share those of a file elsewhere, or of a format that has no metadata."""
    if base.parent.resolve() != output.resolve():
        raise LaMoFCBenchError(f"weights that share those of {base} must lie beside it; name --output {base.parent}")
    if base.suffix != ".safetensors":
        raise LaMoFCBenchError(f"weights cannot share those of {base}, which is no safetensors file")


def _lmbda_of(weights: Path, default: float) -> float:
    """The lambda that a file of weights is named after; the default where its name says nothing."""
    try:
        return float(weights.stem)
    except ValueError:
        return default


def _nearest(weights: Path, lmbda: float, output: Path) -> Path:
    """A file of weights itself, or those of the nearest lambda in a folder.

    In the output folder it is the nearest larger one: the others are, or will be, made from this one.
    """
    if weights.is_file():
        return weights
    found: dict[float, Path] = {}
    for file in weights.glob("*.safetensors"):
        with contextlib.suppress(ValueError):
            found[float(file.stem)] = file
    if weights.resolve() == output.resolve():
        found = {other: file for other, file in found.items() if other > lmbda}
    if not found:
        raise LaMoFCBenchError(f"{weights} holds no weights named after a lambda that {lmbda:g} could start from")
    return found[min(found, key=lambda other: abs(math.log(other / lmbda)))]
