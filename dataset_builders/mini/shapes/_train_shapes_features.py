"""Trains the network that reads shape and colours back from pictures, and whose features serve the FID."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dataset_builders.mini import _training as training
from dataset_builders.mini.shapes._pictures import first_scenes, picture_tensors
from dataset_builders.mini.shapes.features import ATTRIBUTES, MODEL_NAME, ShapesFeatures, load_features, read_attributes
from dataset_builders.mini.shapes.scenes import Scene

STEPS = 5000
PICTURES, HELD_OUT = 8000, 1000
BATCH = 32


class AttributeLoss:
    """The loss of a step: cross-entropies over the attributes, on disturbed pictures."""

    def __init__(self, model: ShapesFeatures, scenes: Sequence[Scene], seed: int) -> None:
        self.model, self.seed = model, seed
        self.images, _ = picture_tensors(scenes)
        self.labels = {
            name: torch.tensor([values.index(getattr(scene, name)) for scene in scenes])
            for name, values in ATTRIBUTES.items()
        }

    def __call__(self, step: int) -> Tensor:
        """The loss, a scalar."""
        source = training.torch_source(self.seed, step)
        chosen = torch.randint(len(self.images), (BATCH,), generator=source)
        images = disturbed(self.images[chosen].float(), source)
        logits = self.model.logits(images)
        return torch.stack(
            [functional.cross_entropy(logits[name], labels[chosen]) for name, labels in self.labels.items()]
        ).mean()


def disturbed(images: Tensor, source: torch.Generator) -> Tensor:
    """Pictures a little blurred, spotted and noisy, as generated ones are: judging by exact levels must not pay.

    Args:
        images: float32 ``[B, 3, H, W]``, 0 to 255.
        source: of all draws.
    """
    count, _, height, width = images.shape

    def strength(largest: float) -> Tensor:
        return largest * torch.rand(count, 1, 1, 1, generator=source)

    smooth = functional.avg_pool2d(functional.pad(images, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    spots = torch.randn(count, 3, height // 4, width // 4, generator=source)
    spots = functional.interpolate(spots, size=(height, width), mode="bilinear")
    noise = torch.randn(images.shape, generator=source)
    return (torch.lerp(images, smooth, strength(0.9)) + strength(30) * spots + strength(12) * noise).clamp(0, 255)


def accuracies(model: ShapesFeatures, scenes: Sequence[Scene]) -> dict[str, float]:
    """The share of pictures whose attribute is read rightly, by attribute."""
    images, _ = picture_tensors(scenes)
    found = read_attributes(model, images.permute(0, 2, 3, 1).numpy())
    return {
        name: sum(seen[name] == getattr(scene, name) for seen, scene in zip(found, scenes, strict=True)) / len(scenes)
        for name in ATTRIBUTES
    }


def train(arguments: argparse.Namespace) -> None:
    """Trains, exports and scores the network.

    Args:
        arguments: output, checkpoints, seed, steps and threads.
    """
    plan = training.TrainingPlan(
        MODEL_NAME, arguments.seed, arguments.steps, learning_rate=4e-3, weight_decay=0.01, threads=arguments.threads
    )
    training.seed_everything(plan)
    model = ShapesFeatures()
    loss = AttributeLoss(model, first_scenes("training", PICTURES), plan.seed)
    trainer = training.Trainer(model, plan, loss, arguments.checkpoints)
    progress = trainer.run()
    trainer.use_average()
    model.standardise_over(loss.images)
    training.export_tensors(model.state_dict(), arguments.output / "model.safetensors")
    stored = load_features(arguments.output)
    found = accuracies(stored, first_scenes("test", HELD_OUT))
    results = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "train_accuracy": min(accuracies(stored, first_scenes("training", HELD_OUT)).values()),
        "calibration_accuracy": min(accuracies(stored, first_scenes("calibration", HELD_OUT)).values()),
        "held_out_accuracy": min(found.values()),
        **{f"held_out_accuracy_{name}": value for name, value in found.items()},
        "chance_accuracy": {name: 1 / len(values) for name, values in ATTRIBUTES.items()},
    }
    training.write_record(arguments.output / "training.json", plan, progress, results)
