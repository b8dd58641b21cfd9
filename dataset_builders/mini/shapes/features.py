"""The feature network of the shapes tracks: it reads shape and colours back, and its features serve the FID.

Small on purpose: a metric runs it on single images.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dataset_builders.mini._files import WEIGHTS
from dataset_builders.mini.shapes.scenes import COLOURS, GROUNDS, SHAPES

MODEL_NAME = "shapes-features"
WIDTHS = (24, 48, 64, 64)
FEATURES = WIDTHS[-1]
ATTRIBUTES = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "ground": GROUNDS,
    "ground_colour": tuple(COLOURS),
}


class ShapesFeatures(nn.Module):
    """Four convolutions, three of them strided, the mean over all places, and a linear head an attribute of `Scene`."""

    centre: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=3, stride=1 if after == before else 2, padding=1)
            for before, after in itertools.pairwise((3, *WIDTHS))
        )
        self.heads = nn.ModuleDict({name: nn.Linear(FEATURES, len(values)) for name, values in ATTRIBUTES.items()})
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("spread", torch.ones(FEATURES))

    def forward(self, images: Tensor) -> Tensor:
        """Features ``[B, 64]`` of images ``[B, 3, H, W]``, 0 to 255, in the dtype of the weights."""
        hidden = images.to(self.spread.dtype) / 127.5 - 1
        for convolution in self.convolutions:
            hidden = functional.silu(convolution(hidden))
        return hidden.mean(dim=(2, 3))

    def standardised(self, images: Tensor) -> Tensor:
        """The features less their mean over the training pictures, divided by their standard deviation there."""
        return (self(images) - self.centre) / self.spread

    @torch.no_grad()
    def standardise_over(self, images: Tensor) -> None:
        """Sets what `standardised` subtracts and divides by."""
        features = torch.cat([self(part) for part in images.split(500)])
        self.centre, self.spread = features.mean(dim=0), features.std(dim=0)

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Logits of each attribute's values."""
        features = self(images)
        return {name: head(features) for name, head in self.heads.items()}


def load_features(folder: Path | None = None, dtype: torch.dtype = torch.float32) -> ShapesFeatures:
    """The trained network in evaluation mode.

    Args:
        folder: of its weights; None for those of the package.
        dtype: to compute in.
    """
    from safetensors.torch import load_file

    model = ShapesFeatures()
    model.load_state_dict(load_file((folder or WEIGHTS / MODEL_NAME) / "model.safetensors"))
    return model.to(dtype).eval().requires_grad_(False)


def image_planes(images: NDArray[np.uint8]) -> Tensor:
    """What the network takes, ``[B, 3, H, W]``, from uint8 ``[B, H, W, 3]``."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)


@torch.no_grad()
def read_attributes(model: ShapesFeatures, images: NDArray[np.uint8]) -> list[dict[str, str]]:
    """What the network sees in images, uint8 ``[B, H, W, 3]``: a value for each attribute, by name."""
    best = {name: logits.argmax(dim=1).tolist() for name, logits in model.logits(image_planes(images)).items()}
    return [{name: ATTRIBUTES[name][found[index]] for name, found in best.items()} for index in range(len(images))]
