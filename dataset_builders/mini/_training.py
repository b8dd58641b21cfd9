"""Shared pieces of the mini models' training: the loop, exact resume, fp16 export and the training record.

A step's loss is a function of the step number alone (its random draws are seeded by `(seed, step)`), so a checkpoint
needs the model, its average, the optimiser, the step and torch's generator: a run that was stopped anywhere ends with
the same bits as one that was not.
"""

import copy
import json
import math
import platform
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from dataset_builders.mini._files import replace_file, replace_files, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RECORDED_PACKAGES = ("torch", "transformers", "safetensors", "tokenizers", "scikit-learn", "numpy")


@dataclass(frozen=True)
class TrainingPlan:
    """What determines a run's result, apart from model and data.

    Attributes:
        name: the checkpoint file's name.
        seed: seeds the initial weights and, with the step number, every draw of data.
        steps: optimiser steps in all; the schedule ends there.
        learning_rate: peak rate, reached after `warmup_steps` and then lowered to 1 % of itself by a cosine.
        warmup_steps: steps of linear warm-up.
        weight_decay: decoupled decay of the matrices; norms, biases and other vectors have none.
        gradient_norm: gradients are clipped to this 2-norm.
        average_decay: decay of the exponential average of the weights, which is what is exported.
        threads: torch's CPU threads; another count may change the last bits of the result.
    """

    name: str
    seed: int
    steps: int
    learning_rate: float
    warmup_steps: int = 100
    weight_decay: float = 0.05
    gradient_norm: float = 1.0
    average_decay: float = 0.998
    threads: int = 1


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: steps done.
        loss: running mean of the loss over about 100 steps.
        seconds: wall-clock time spent in steps, over all parts of an interrupted run.
    """

    step: int = 0
    loss: float = math.nan
    seconds: float = 0.0


def seed_everything(plan: TrainingPlan) -> None:
    """Seeds torch for the initial weights and pins the thread count; call it before the model is made."""
    torch.set_num_threads(plan.threads)
    torch.manual_seed(plan.seed)


def random_source(seed: int, step: int) -> random.Random:
    """Returns the source of a step's draws; Python's generator keeps its sequence over versions and machines."""
    return random.Random(f"{seed}/{step}")


def torch_source(seed: int, step: int) -> torch.Generator:
    """Returns a torch generator for a step's tensor-valued draws."""
    return torch.Generator().manual_seed(random_source(seed, step).getrandbits(63))


class Trainer:
    """Trains a model in place and keeps the running average of its weights.

    Args:
        model: the module to train, in fp32 on the CPU.
        plan: the run's settings.
        loss_of_step: returns the loss of a step's batch, a scalar tensor; it must depend on the step number alone.
        checkpoints: folder for the checkpoint, or None to keep none.
    """

    def __init__(
        self, model: nn.Module, plan: TrainingPlan, loss_of_step: Callable[[int], Tensor], checkpoints: Path | None
    ) -> None:
        self.model = model
        self.plan = plan
        self.loss_of_step = loss_of_step
        self.checkpoint = None if checkpoints is None else checkpoints / f"{plan.name}.pt"
        self.progress = Progress()
        matrices = [p for p in model.parameters() if p.ndim >= 2]
        vectors = [p for p in model.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98))
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def run(
        self,
        stop_at: int | None = None,
        checkpoint_every: int = 200,
        on_checkpoint: Callable[[Progress], None] | None = None,
    ) -> Progress:
        """Trains from the checkpoint, if there is one, to `stop_at` (default: the last step); returns the progress.

        Args:
            stop_at: step to stop after, with the schedule of the full run; for interrupted runs.
            checkpoint_every: steps between checkpoints.
            on_checkpoint: called after each checkpoint, to print scores for instance.
        """
        self._resume()
        last = self.plan.steps if stop_at is None else stop_at
        self.model.train()
        with tqdm(total=self.plan.steps, initial=self.progress.step, desc=self.plan.name, mininterval=5.0) as bar:
            while self.progress.step < last:
                self._step()
                bar.set_postfix(loss=f"{self.progress.loss:.4f}", refresh=False)
                bar.update()
                if self.progress.step % checkpoint_every == 0 or self.progress.step == last:
                    self._save()
                    if on_checkpoint is not None:
                        on_checkpoint(self.progress)
                        self.model.train()
        return self.progress

    def use_average(self) -> None:
        """Puts the averaged weights, which are what is scored and exported, into the model."""
        self.model.load_state_dict(self.average)
        self.model.eval()

    def _step(self) -> None:
        started = time.monotonic()
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * schedule(self.progress.step, self.plan)
        loss = self.loss_of_step(self.progress.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.gradient_norm)
        self.optimizer.step()
        self.progress.step += 1
        self._update_average()
        value = loss.item()
        kept = self.progress.loss
        self.progress.loss = value if math.isnan(kept) else 0.99 * kept + 0.01 * value
        self.progress.seconds += time.monotonic() - started

    @torch.no_grad()
    def _update_average(self) -> None:
        # A young average must not remember the initial weights, hence the ramp.
        decay = min(self.plan.average_decay, (1 + self.progress.step) / (10 + self.progress.step))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        state = {
            "plan": asdict(self.plan),
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "generator": torch.get_rng_state(),
        }
        with replace_file(self.checkpoint) as temporary, temporary.open("wb") as file:
            torch.save(state, file)

    def _resume(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if state["plan"] != asdict(self.plan):
            raise ValueError(
                f"{self.checkpoint} belongs to another run ({state['plan']}); delete it or name another folder"
            )
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["generator"])
        self.progress = Progress(**state["progress"])


def schedule(step: int, plan: TrainingPlan) -> float:
    """Returns the factor on the peak learning rate at a step: linear warm-up, then a cosine down to 0.01."""
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    done = (step - plan.warmup_steps) / max(1, plan.steps - plan.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def export_model(model: "PreTrainedModel", folder: Path) -> None:
    """Writes a model as its `save_pretrained` does, in fp16, the dtype in which mini weights are stored.

    The model itself stays in fp32. Loading with `dtype=torch.float32` gives the scored weights.
    """
    with replace_files(folder) as temporary:
        copy.deepcopy(model).half().save_pretrained(temporary)


def export_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Writes tensors in fp16 to a safetensors file in one atomic step."""
    with replace_file(path) as temporary:
        save_file({name: value.half().contiguous() for name, value in state.items()}, temporary)


def write_record(path: Path, plan: TrainingPlan, progress: Progress, results: Mapping[str, Any]) -> None:
    """Writes training.json: the settings, the cost, the results and the versions that made the weights.

    Args:
        path: the file to write.
        plan: the run's settings.
        progress: the finished run's progress.
        results: scores and sizes, by name.
    """
    versions = {package: metadata.version(package) for package in RECORDED_PACKAGES}
    record = {
        **asdict(plan),
        "minutes": round(progress.seconds / 60, 1),
        "final_loss": round(progress.loss, 5),
        **results,
        "versions": {"python": platform.python_version(), **versions},
    }
    write_json(path, record)
    print(json.dumps(record, indent=2))
