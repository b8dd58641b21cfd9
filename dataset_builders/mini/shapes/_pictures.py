"""The training pictures of the shapes models as tensors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dataset_builders.mini.shapes.edges import edge_image
from dataset_builders.mini.shapes.scenes import Part, Scene, draw, scenes


def first_scenes(part: Part, count: int) -> list[Scene]:
    """The first pictures of a part's fixed sequence."""
    return list(itertools.islice(scenes(part), count))


def picture_tensors(chosen: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    """The pictures and their edges, uint8 ``[N, 3, 32, 32]`` each."""
    pictures = [draw(scene) for scene in chosen]
    edges = [edge_image(picture) for picture in pictures]
    return _planes(pictures), _planes(edges)


def to_input(pixels: Tensor) -> Tensor:
    """The VAE's input: float32, -1 (black) to 1."""
    return pixels.float() / 127.5 - 1


def _planes(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
