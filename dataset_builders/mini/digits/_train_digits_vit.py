"""The classifier of the digits tracks and its training: a small DINOv3 vision transformer and its linear head."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dataset_builders.mini import _rescaling as rescaling
from dataset_builders.mini import _training as training
from dataset_builders.mini._vit_trunk import make_trunk
from dataset_builders.mini.digits._augmentation import augment
from dataset_builders.mini.digits.plan import IMAGE_SIDE, Digit, digits_plan, enlarge

MODEL_NAME = "digits-vit"
STEPS = 6000
RESIDUAL_EXPONENT = 7  # brings the last block to the range of the published block 39, about -13100 to 7270
BATCH_SIZE = 32
CLASSES = 10
# The normalisation of DINOv3's own image processor.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class DigitsClassifier(nn.Module):
    """A DINOv3 trunk with DINOv3's linear classification head on the class token and the mean patch token."""

    def __init__(self, layers: int = 8, hidden: int = 96, heads: int = 3) -> None:
        super().__init__()
        self.trunk = make_trunk(IMAGE_SIDE, 4, layers=layers, hidden=hidden, heads=heads, drop_path_rate=0.05)
        self.head = nn.Linear(2 * hidden, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits float32 [B, 10] of normalised images float32 [B, 3, 24, 24]."""
        tokens = self.trunk(images).last_hidden_state  # the final norm included
        patches = tokens[:, 1 + self.trunk.config.num_register_tokens :]
        return self.head(torch.cat([tokens[:, 0], patches.mean(dim=1)], dim=-1))


def grey_images(digits: Sequence[Digit]) -> Tensor:
    """Returns the enlarged digits, float32 [N, 1, 24, 24], 0 to 1."""
    return torch.from_numpy(np.stack([enlarge(digit.pixels) for digit in digits])).unsqueeze(1) / 255


def normalise(images: Tensor) -> Tensor:
    """Returns model inputs float32 [B, 3, H, W] from grey images float32 [B, 1, H, W], 0 to 1."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    return (images.expand(-1, 3, -1, -1) - mean) / std


class DigitsLoss:
    """The loss of a training step: cross-entropy with label smoothing on augmented digits."""

    def __init__(
        self, model: DigitsClassifier, digits: Sequence[Digit], seed: int, batch_size: int = BATCH_SIZE
    ) -> None:
        self.model = model
        self.images = grey_images(digits)
        self.labels = torch.tensor([digit.label for digit in digits])
        self.seed = seed
        self.batch_size = batch_size

    def __call__(self, step: int) -> Tensor:
        """Returns the loss of a step, a scalar; an epoch's order is drawn from the seed and the epoch."""
        epoch, index = divmod(step, len(self.labels) // self.batch_size)
        order = torch.randperm(len(self.labels), generator=training.torch_source(self.seed, -1 - epoch))
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        images = augment(self.images[chosen], training.torch_source(self.seed, step))
        return functional.cross_entropy(self.model(normalise(images)), self.labels[chosen], label_smoothing=0.1)


@torch.no_grad()
def accuracy(model: DigitsClassifier, digits: Sequence[Digit]) -> float:
    """Returns the share of digits whose highest logit is their label."""
    model.eval()
    images, labels = grey_images(digits), torch.tensor([digit.label for digit in digits])
    right = sum(
        int((model(normalise(part)).argmax(dim=1) == wanted).sum())
        for part, wanted in zip(images.split(128), labels.split(128), strict=True)
    )
    return right / len(digits)


def export(model: DigitsClassifier, output: Path) -> None:
    """Writes config.json and model.safetensors (the trunk) and head.safetensors to a folder, tensors in fp16."""
    training.export_model(model.trunk, output)
    training.export_tensors(model.head.state_dict(), output / "head.safetensors")


def load(folder: Path) -> DigitsClassifier:
    """Returns the exported classifier in fp32, in evaluation mode."""
    from safetensors.torch import load_file
    from transformers import DINOv3ViTModel

    model = DigitsClassifier()
    model.trunk = DINOv3ViTModel.from_pretrained(folder, dtype=torch.float32)
    model.head.load_state_dict(load_file(folder / "head.safetensors"))
    return model.eval()


def train(arguments: argparse.Namespace) -> None:
    """Trains, scores and exports the classifier; see `dataset_builders.mini.train` for the arguments."""
    plan = training.TrainingPlan(
        MODEL_NAME, arguments.seed, arguments.steps, learning_rate=1.5e-3, threads=arguments.threads
    )
    training.seed_everything(plan)
    model, digits = DigitsClassifier(), digits_plan()
    trainer = training.Trainer(model, plan, DigitsLoss(model, digits.training, plan.seed), arguments.checkpoints)
    progress = trainer.run()
    trainer.use_average()
    before = accuracy(model, digits.held_out)
    rescaling.scale_vit_residual(model.trunk, RESIDUAL_EXPONENT)
    export(model, arguments.output)
    stored = load(arguments.output)
    results = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "train_accuracy": accuracy(stored, digits.training),
        "calibration_accuracy": accuracy(stored, digits.calibration),
        "held_out_accuracy_before_fp16": before,
        "held_out_accuracy": accuracy(stored, digits.held_out),
    }
    training.write_record(arguments.output / "training.json", plan, progress, results)
