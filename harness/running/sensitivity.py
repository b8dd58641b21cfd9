"""The sensitivity of a scenario's tail: in which directions decoded features move its response, and how much.

From calibration samples alone, through their uncoded features and what a draft of `klt` makes of them:

1. The leading process chooses coarse steps of the draft, by the share of the divergence of features that hold nothing
   but means; and measures how long gradients typically are. Both go into a plan.
2. The samples are dealt into a fixed number of shards, and these to the processes. Of each sample, at each step of the
   plan, the gradient of the response's surprise (`harness.statistics.surprise`) is taken AT THE QUANTISED features: a
   model that is sure of its answers has no gradient at the uncoded ones. Single samples have gradients hundreds of
   times the median, so each is divided by the root of its own square and the median's.
3. A finished shard is a file, so that a killed run goes on with the rest; and the number of shards does not depend on
   that of processes, so that sums come out the same bit by bit. The leading process adds them up.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes

from harness.results import store
from harness.running import environment
from harness.running.launch import Team
from harness.running.responses import has_response
from harness.statistics.divergence import divergence
from harness.statistics.surprise import surprise
from lamofcbench import provenance
from lamofcbench.atomic import write_bytes, write_json
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.klt import KltCodec
from lamofcbench.codecs.sensitivity import HALVES, Sensitivity, SensitivitySums, sensitivity_of
from lamofcbench.errors import CodecError, DataError, ResultsError, ScenarioError, first_line
from lamofcbench.features import FeatureSet
from lamofcbench.identity import identity_of
from lamofcbench.locks import LOCKS_DIRECTORY, locked
from lamofcbench.models.base import SplitModel
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.calibration import Calibration
from lamofcbench.storage.reader import SplitReader, open_split

REVISION = 3
"""Raised when the same samples and code would give other sensitivities."""
FOLDER = ".sensitivity"
SHARDS = 8
"""An even number: shards are dealt to halves as samples are, which are what a codec's own halves are of."""
PLAN_SAMPLES = 32
"""So many samples, spread over the split, choose steps and the typical length of a gradient."""
SHARES = (0.3, 0.05, 0.01)
"""Of the divergence of means alone: a step of the draft is the coarsest whose features diverge by no more. Gradients at
coarse features say what matters to low rates; those at finer ones keep them from saying nothing else."""
STEPS = tuple(2.0 ** (k / 2) for k in range(12, -11, -1))
LARGEST_STEP = 2.0**20
"""At which nothing but means is left."""
BATCH_ELEMENTS = 2**20
"""Feature points whose gradients are taken together; a sample of more goes alone."""


@dataclass(frozen=True)
class Plan:
    """What all shards go by.

    Attributes:
        steps: of the drafts.
        norm: the median length of a gradient.
    """

    steps: tuple[float, ...]
    norm: float


class TailSensitivity:
    """Computes the sensitivity of a scenario, or finds what was computed before.

    Args:
        scenario: whose tail.
        data: dataset folder; None for where the scenario's data are by default.
        model: gives the split model; asked once for a computation, and not kept behind it.
        folder: where it is kept.
        seed: of the run.
        device: a torch device.
    """

    def __init__(
        self,
        scenario: Scenario,
        data: str | Path | None,
        model: Callable[[], SplitModel],
        folder: Path,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        if not has_response(scenario):
            raise ScenarioError(
                f"{scenario.id}: split model {scenario.backbone.adapter!r} shows no responses, so the sensitivity of "
                "its tail cannot be computed; leave out codecs that need it, or write `response` and give its class "
                "a `response_kind`"
            )
        self.scenario, self.seed, self.device = scenario, seed, device
        self._data, self._load = data, model
        self._loaded: SplitModel | None = None
        self._split: SplitReader = open_split(scenario, "calibration", data)
        self.origin = hashlib.sha256(store.canonical_json(self._record()).encode()).hexdigest()
        self._folder = folder / self.origin[:16]

    def _record(self) -> dict[str, Any]:
        """Everything that decides the values."""
        return {
            "revision": REVISION,
            "scenario": self.scenario.ref,
            "scenario_digest": self.scenario.digest,
            "data_revision": self._split.data_revision,
            "builder_identity": self._split.builder_identity,
            "adapter_identity": provenance.adapter_identity(self.scenario),
            "draft": identity_of(KltCodec),
            "device_type": self.device.partition(":")[0],
            "seed": self.seed,
        }

    @property
    def file(self) -> Path:
        """The finished sensitivity."""
        return self._folder / "sensitivity.safetensors"

    def read(self) -> Sensitivity | None:
        """The sensitivity, if it was computed before and is whole."""
        try:
            found = Sensitivity.load(self.file, self.scenario.specs)
        except CodecError:
            return None
        return found if found.origin == self.origin else None

    def computed(self, team: Team | None = None) -> Sensitivity:
        """The sensitivity, computed as far as it is not there yet.

        Args:
            team: the processes that share the work, all of which call this; None for this one alone.
        """
        team = team or Team()
        with contextlib.ExitStack() as turn:  # runs that want the same one take turns; the next one finds it
            chosen = team.from_leader(lambda: self._begin(turn))
            if chosen is not None:
                team.together(lambda: self._compute_shards(chosen, team))
                team.from_leader(lambda: self._finish(chosen))
        self._loaded = None
        found = self.read()
        if found is None:
            raise DataError(f"{self.file} vanished while it was in use; rerun the same command")
        return found

    # ----------------------------------------------------------------------------------------------------- the plan

    @property
    def _plan_file(self) -> Path:
        return self._folder / "plan.json"

    def _begin(self, turn: contextlib.ExitStack) -> Plan | None:
        """The plan of what is to be computed, once it is this run's turn; None where nothing is."""
        if self.read() is None:
            doing = f"computing the sensitivity of {self.scenario.ref}"
            turn.enter_context(locked(self._folder.parent / LOCKS_DIRECTORY / f"{self._folder.name}.lock", doing))
        return self._planned() if self.read() is None else None

    def _planned(self) -> Plan:
        """The plan, made unless there is one."""
        try:
            known = json.loads(self._plan_file.read_bytes())
            return Plan(tuple(map(float, known["steps"])), float(known["norm"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        count = len(self._split)
        chosen = sorted({round(i * (count - 1) / max(PLAN_SAMPLES - 1, 1)) for i in range(PLAN_SAMPLES)})
        steps = self._chosen_steps(chosen)
        drafts = [self._draft(step) for step in steps]
        sums = self._sums(drafts[0])
        norms = [sums.norm(g) for _, gradients in self._gradients(chosen, drafts) for g in gradients]
        positive = [norm for norm in norms if math.isfinite(norm) and norm > 0]
        made = Plan(steps, float(np.median(positive)) if positive else 1.0)
        write_json(self._plan_file, {"steps": made.steps, "norm": made.norm, "of": self._record()})
        return made

    @torch.no_grad()
    def _chosen_steps(self, samples: Sequence[int]) -> tuple[float, ...]:
        """For each of `SHARES` the coarsest step whose features diverge by no more; walked from coarse to fine."""
        model, batches = self._model(), list(self._batched(samples))
        uncoded = [model.conditioned([self._split.features(i) for i in batch]) for batch in batches]
        expected = [model.response(batch) for batch in uncoded]

        def diverging(step: float) -> float:
            draft, total = self._draft(step), 0.0
            for batch, response in zip(uncoded, expected, strict=True):
                found = model.response(_decoded(draft, batch))
                total += float(divergence(self._kind, response, found, model.response_lengths(batch)).nansum())
            return total

        floor, steps, left = diverging(LARGEST_STEP), [], list(SHARES)
        for step in STEPS:
            now = diverging(step)
            while left and now <= left[0] * floor:
                left.pop(0)
                steps.append(step)
            if not left:
                break
        return tuple(dict.fromkeys(steps)) or (STEPS[-1],)

    def _draft(self, step: float) -> Codec:
        return KltCodec(self.scenario.specs, {"step": step}).fit(Calibration(self.scenario, self._data))

    def _model(self) -> SplitModel:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    @property
    def _kind(self) -> Any:
        kind = self._model().response_kind
        if kind is None:
            raise ScenarioError(f"{self.scenario.id}: its split model does not say of what kind its responses are")
        return kind

    # --------------------------------------------------------------------------------------------------- the shards

    def _shard_file(self, shard: int) -> Path:
        return self._folder / "shards" / f"{shard}.safetensors"

    def _samples_of(self, shard: int) -> range:
        return range(shard, len(self._split), SHARDS)

    def _compute_shards(self, chosen: Plan, team: Team) -> None:
        drafts: list[Codec] = []
        for shard in range(team.rank, SHARDS, team.size):
            if not self._samples_of(shard) or self._shard_file(shard).is_file():
                continue
            team.require_all()
            drafts = drafts or [self._draft(step) for step in chosen.steps]
            sums = self._sums(drafts[0])
            for index, gradients in self._gradients(self._samples_of(shard), drafts):
                for number, one in enumerate(gradients):
                    norm = sums.norm(one)
                    if math.isfinite(norm):
                        sums.add(one, 1.0 / math.hypot(norm, chosen.norm), (self.seed, index, number))
            write_bytes(self._shard_file(shard), safetensors_bytes(sums.tensors()))

    def _sums(self, draft: Codec) -> SensitivitySums:
        assert isinstance(draft, KltCodec)
        return SensitivitySums(self.scenario.specs, *draft.places_and_scales())

    def _finish(self, chosen: Plan) -> None:
        """Adds up the shards: even ones, which are of even samples, to one half and odd ones to the other."""
        draft = self._draft(chosen.steps[0])
        halves = [self._sums(draft) for _ in range(HALVES)]
        for shard in range(SHARDS):
            if self._samples_of(shard):
                halves[shard % HALVES].add_tensors(self._shard(shard))
        sensitivity_of(halves, self.origin).save(self.file)
        shutil.rmtree(self._folder / "shards", ignore_errors=True)

    def _shard(self, shard: int) -> dict[str, torch.Tensor]:
        """The sums of a shard; one that is damaged goes, and is computed again by whoever asks next."""
        path = self._shard_file(shard)
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            path.unlink(missing_ok=True)
            what = f"{path} was damaged and is removed; rerun the same command ({first_line(error)})"
            raise ResultsError(what) from error

    def _gradients(self, samples: Sequence[int], drafts: Sequence[Codec]) -> Iterator[tuple[int, list[FeatureSet]]]:
        """Each sample's gradients at what each draft makes of it."""
        model = self._model()
        for batch in self._batched(samples):
            environment.seed_everything(self.seed, batch[0])
            generator = torch.Generator().manual_seed(self.seed + batch[0])
            with torch.no_grad():
                uncoded = model.conditioned([self._split.features(i) for i in batch])
                expected, lengths = model.response(uncoded), model.response_lengths(uncoded)
            found: list[list[FeatureSet]] = [[] for _ in batch]
            for draft in drafts:
                decoded = [_with_gradients(features) for features in _decoded(draft, uncoded)]
                with torch.enable_grad():
                    loss = surprise(self._kind, expected, model.response(decoded), lengths, generator)
                leaves = [tensor for features in decoded for tensor in features.tensors.values()]
                grads = iter(torch.autograd.grad(loss, leaves, allow_unused=True))
                for own, features in zip(found, decoded, strict=True):
                    own.append(FeatureSet({n: _or_zero(next(grads), t) for n, t in features.tensors.items()}))
            yield from zip(batch, found, strict=True)

    def _batched(self, samples: Sequence[int]) -> Iterator[list[int]]:
        """The samples in batches of as many feature points as fit; the scenario's batch size at most."""
        batch: list[int] = []
        elements = 0
        for index in samples:
            size = self._split.features(index).elements
            if batch and (elements + size > BATCH_ELEMENTS or len(batch) == self.scenario.batch_size):
                yield batch
                batch, elements = [], 0
            batch.append(index)
            elements += size
        if batch:
            yield batch


def _decoded(draft: Codec, batch: Sequence[FeatureSet]) -> list[FeatureSet]:
    """What a draft makes of feature sets, beside the same as they were."""
    return [draft.decode(draft.encode(features)).with_given(features.given) for features in batch]


def _with_gradients(features: FeatureSet) -> FeatureSet:
    tensors = {name: tensor.float().requires_grad_(True) for name, tensor in features.tensors.items()}
    return FeatureSet(tensors, features.side, features.given)


def _or_zero(gradient: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(like, requires_grad=False) if gradient is None else gradient.detach()
