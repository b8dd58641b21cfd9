"""What ships of a trained network: weights as small as they may be, and a card that says how they came about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from harness.running import environment
from harness.training.objective import Losses
from harness.training.plan import TrainingPlan
from harness.training.schedule import LAST_SHARE, LEAST_IMPROVEMENT
from harness.training.storage import FORMATS, StorageFormat, compact
from harness.training.trainer import Trainer
from lamofcbench.atomic import write_bytes, write_json
from lamofcbench.codecs.learned.checkpoints import BASE, BASE_SHA256, base_of, from_storage, read_state
from lamofcbench.codecs.learned.network import LearnedNetwork
from lamofcbench.storage.integrity import file_sha256

MOST_HARM = 0.001
"""A smaller storage format is taken where it raises the validation loss by no more than this share."""
_SETTLING_STEPS = 3000


def weights_file(folder: Path, lmbda: float) -> Path:
    """Where a lambda's weights lie in a folder of checkpoints."""
    return folder / f"{lmbda:g}.safetensors"


def card_file(folder: Path, lmbda: float) -> Path:
    """Where a lambda's card lies."""
    return folder / f"{lmbda:g}.json"


def lineage(start: Path | None) -> list[dict[str, Any]]:
    """The trainings that made the weights which another starts from, the first one first, as their cards tell.

    Args:
        start: a file of weights; None for random ones. Of weights without a card that fits, the hash is all there is.
    """
    if start is None:
        return []
    digest, file = file_sha256(start), start.with_suffix(".json")
    card: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    if card.get("weights_sha256") != digest:
        return [{"weights_sha256": digest}]
    plan = {name: card["plan"][name] for name in ("crop", "batch_size", "learning_rate")}
    own = {name: card[name] for name in ("lmbda", "steps", "seconds", "loss", "weights_sha256")}
    return [*card.get("history", []), {**own, **plan}]


def export(
    trainer: Trainer,
    folder: Path,
    scenarios: list[dict[str, Any]],
    storage: StorageFormat | None = None,
    start: Path | None = None,
) -> dict[str, Any]:
    """Writes the averaged weights and their card; returns the card. To be called in every process.

    Args:
        trainer: finished.
        folder: of the checkpoints.
        scenarios: what the network was trained on.
        storage: of the weights; None for the smallest that does next to no harm, see `MOST_HARM`.
        start: the weights that training started from; None for random ones.
    """
    plan, network = trainer.plan, trainer.network
    network.load_state_dict(trainer.average)
    settle_quantiles(network)
    trained = {name: value.detach().clone() for name, value in network.state_dict().items()}
    exact = trainer.losses_of(trained)
    base = shared_base(start) if plan.tuned and start is not None else None
    own, metadata = trained, {}
    if base is not None:
        shared = read_state(base)
        own = {name: value for name, value in trained.items() if not _is_same(value, shared.get(name))}
        metadata = {BASE: base.name, BASE_SHA256: file_sha256(base)}
    for stored_as in (storage,) if storage else FORMATS:
        content = trainer.team.from_leader(lambda: _content(compact(own, stored_as), metadata))  # noqa: B023  # at once
        losses = trainer.losses_of(trained | from_storage(load(content)))
        if losses.loss <= exact.loss * (1 + MOST_HARM):
            break
    card = _card(trainer, exact, losses, stored_as, scenarios)
    if base is not None:
        card["base"] = metadata
    card |= {"history": lineage(start), "weights_sha256": hashlib.sha256(content).hexdigest()}

    def publish() -> None:
        write_bytes(weights_file(folder, plan.lmbda), content)
        write_json(card_file(folder, plan.lmbda), card)  # last: a card vouches for its weights

    trainer.team.from_leader(publish)
    return card


def shared_base(start: Path) -> Path:
    """The file that holds what weights tuned from others share with them: the others', or what those share already."""
    return base_of(start) or start


def _is_same(value: Tensor, shared: Tensor | None) -> bool:
    return shared is not None and torch.equal(value.cpu(), shared.to(value.dtype))


def _content(tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    return save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, metadata or None)


def finished_card(folder: Path, plan: TrainingPlan) -> dict[str, Any] | None:
    """The card of a lambda that was trained by this plan before, and whose weights are intact; None if there is none.

    Raises:
        FileExistsError: if the folder holds a network of this lambda that was trained otherwise.
    """
    file = card_file(folder, plan.lmbda)
    if not file.is_file():
        return None
    card: dict[str, Any] = json.loads(file.read_text())
    if card.get("plan") != plan.as_json():
        raise FileExistsError(
            f"{file} tells of another training of this lambda; name another --output, or remove it and its weights"
        )
    weights = weights_file(folder, plan.lmbda)
    return card if weights.is_file() and file_sha256(weights) == card.get("weights_sha256") else None


def settle_quantiles(network: LearnedNetwork) -> None:
    """Trains the bottleneck's quantiles alone until they fit its density, which no longer moves."""
    quantiles = [p for name, p in network.named_parameters() if name.endswith("quantiles")]
    optimizer = torch.optim.Adam(quantiles, lr=0.1)
    with torch.enable_grad():
        for step in range(_SETTLING_STEPS):
            for group in optimizer.param_groups:
                group["lr"] = 0.1 * (1 - step / _SETTLING_STEPS) ** 2
            optimizer.zero_grad()
            network.auxiliary_loss().backward()
            optimizer.step()


def _card(
    trainer: Trainer, exact: Losses, losses: Losses, stored_as: str, scenarios: list[dict[str, Any]]
) -> dict[str, Any]:
    plan, progress = trainer.plan, trainer.progress
    described = environment.describe(plan.device_type)
    share = progress.improvement
    converged = share is not None and share < LEAST_IMPROVEMENT
    verdict = "too few validations to tell" if share is None else "converged" if converged else "still improved"
    return {
        "codec": plan.codec,
        "lmbda": plan.lmbda,
        "widths": list(plan.widths),
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "stored_as": stored_as,
        "steps": progress.step,
        "seconds": round(progress.seconds, 1),
        "loss": losses.loss,
        "bpp": losses.bpp,
        "mse": losses.mse,
        "loss_before_storing": exact.loss,
        "training_loss": progress.curve[-1]["loss"],
        "validation": {
            "elements": sum(crops.planes.size for crops in trainer.held_out),
            "rule": f"improved by less than {LEAST_IMPROVEMENT:.1%} over the last {LAST_SHARE:.0%} of the steps",
            "improvement": share,
            "verdict": verdict,
            "full_rate_steps": trainer.schedule.descent_start,
        },
        "scenarios": scenarios,
        "seed": plan.seed,
        "plan": plan.as_json(),
        "versions": {
            "lamofcbench": described["lamofcbench"],
            "python": described["python"],
            "torch": described["packages"]["torch"],
            "accelerate": described["packages"]["accelerate"],
        },
        "processor": described["device_name"],
    }
