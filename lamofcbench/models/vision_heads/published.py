"""What the heads that DINOv3's authors published share: their sizes come from the file, and their weights strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from lamofcbench.errors import DataError
from lamofcbench.models.loading import read_tensors
from lamofcbench.models.vision_heads.base import VisionHead, load_weights

Head = TypeVar("Head", bound=VisionHead)


def load_published(path: Path, make: Callable[[Mapping[str, Tensor]], Head]) -> Head:
    """The head of a file, float32, with exactly the file's tensors.

    Args:
        path: of a ``.pth`` file, read without running its pickle's code, or a ``.safetensors`` file.
        make: makes the head, of the sizes that the file's tensors have; it is called on the meta device, so that no
            memory is spent on weights that the file replaces.

    Raises:
        DataError: if the file cannot be read, or naming the first tensor that is missing, foreign or of another shape.
    """
    tensors = read_tensors(path)
    try:
        with torch.device("meta"):
            head = make(tensors)
    except (ValueError, AssertionError, RuntimeError, ZeroDivisionError) as error:
        raise DataError(f"{path} does not fit the head: its sizes contradict each other ({error})") from error
    load_weights(head, tensors, path)
    return head


def size_of(tensors: Mapping[str, Tensor], name: str, axis: int, published: int) -> int:
    """The size of a tensor's axis; the published one where there is none, which loading will complain about."""
    tensor = tensors.get(name)
    return published if tensor is None or tensor.dim() <= axis else tensor.shape[axis]


def layers_of(tensors: Mapping[str, Tensor], prefix: str, published: int) -> int:
    """How many numbered layers there are under a prefix such as ``encoder.layers.``; the published number if none."""
    numbers = {name.removeprefix(prefix).partition(".")[0] for name in tensors if name.startswith(prefix)}
    return len([number for number in numbers if number.isdecimal()]) or published
