"""Finds and loads the weights of the learned codecs: shipped ones, trained ones, and published checkpoints.

Shipped weights lie in ``weights/<codec>/<lambda>.safetensors`` beside this file, each with a training card
``<lambda>.json``; training writes folders of the same form. Rate points may share weights: the metadata of their files
then name the file beside them that holds the rest. A published checkpoint is a ``.pth.tar`` file of torch.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from lamofcbench.codecs.learned.layers import CHECKERBOARD_NAME, checkerboard_mask
from lamofcbench.codecs.learned.network import LearnedNetwork
from lamofcbench.codecs.learned.networks import NETWORKS
from lamofcbench.errors import CodecError, first_line
from lamofcbench.storage.integrity import file_sha256

SHIPPED = Path(__file__).parent / "weights"
SCALE_SUFFIX, SQUARE_SUFFIX = ".scale", ".square_scale"
"""What an int8 kernel's scales are named after it: float32, one for each slice of its first axis.

A weight is its integer times the scale, or the integer's square, with its sign, times the scale. Most weights are close
to zero and few are large, so squares cost about a tenth of the rate-distortion loss that equal steps cost.
"""
BASE, BASE_SHA256 = "base", "base_sha256"
"""Metadata of a safetensors file: the name of the file beside it that holds what it lacks, and that file's hash."""
_BASE_NAME = re.compile(r"[\w.+-]+\.safetensors")
STATE_KEYS = ("network", "state_dict", "model_state_dict")


def shipped_checkpoint(codec: str, lmbda: float) -> Path:
    """Where the shipped weights of a rate point are."""
    return SHIPPED / codec / f"{lmbda:g}.safetensors"


def find_checkpoint(codec: str, lmbda: float, weights: str = "") -> Path:
    """The file of a rate point's weights.

    Args:
        codec: ``hyperprior`` or ``elic``.
        lmbda: the rate point.
        weights: a file, or a folder with one for each rate point; empty for the shipped ones.

    Raises:
        CodecError: if there is none.
    """
    if not weights:
        path = shipped_checkpoint(codec, lmbda)
        if not path.is_file():
            raise CodecError(
                f"codec {codec!r} comes without weights for lmbda={lmbda:g}; train them (lamofcbench train {codec}) "
                f"and name them: {codec}:lmbda={lmbda:g},weights=PATH"
            )
        return path
    path = Path(weights).expanduser()
    if path.is_dir():
        for folder in (path, path / codec):
            if (folder / f"{lmbda:g}.safetensors").is_file():
                return folder / f"{lmbda:g}.safetensors"
        raise CodecError(f"{path} holds no weights {lmbda:g}.safetensors for codec {codec!r}")
    if not path.is_file():
        raise CodecError(f"there is no file {path} of weights for codec {codec!r}")
    return path


def load_network(codec: str, path: Path) -> LearnedNetwork:
    """The network of a file of weights, in evaluation mode, with its tables.

    Raises:
        CodecError: naming what does not fit, the first parameter where it is one.
    """
    state = read_state(path)
    try:
        network = NETWORKS[codec].from_state_dict(state, shared=True)
    except CodecError as error:
        raise CodecError(f"{path}: {error}") from error
    complete_tables(network)
    return network


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict of a ``.safetensors`` file or a torch checkpoint, floats as float32.

    Torch checkpoints are unpickled by the restricted loader, which makes tensors and plain containers and nothing else.

    Raises:
        CodecError: if the file is neither, or holds no state dict.
    """
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except CodecError:
        raise
    except (OSError, SafetensorError, zipfile.BadZipFile, EOFError) as error:
        raise CodecError(f"{path} cannot be read as weights: {first_line(error)}") from error
    except Exception as error:  # of damaged files, any; torch's own texts recommend to load them unsafely
        reason = "it is no torch checkpoint, or holds more than tensors and plain containers"
        raise CodecError(f"{path} cannot be read as weights: {reason}") from error
    return _from_content(content, path)


def base_of(path: Path) -> Path | None:
    """The file beside a safetensors file that holds the weights it lacks, checked; None where it lacks none.

    Raises:
        CodecError: if that file is absent, is another one, or lacks weights itself.
    """
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    if BASE not in metadata:
        return None
    if not _BASE_NAME.fullmatch(metadata[BASE]):
        raise CodecError(f"{path} shares weights with {metadata[BASE]!r}, which names no safetensors file beside it")
    base = path.with_name(metadata[BASE])
    if not base.is_file() or file_sha256(base) != metadata.get(BASE_SHA256):
        raise CodecError(f"{path} shares weights with {base}, which is absent or another file; copy both together")
    with safe_open(base, "pt") as file:
        if BASE in (file.metadata() or {}):
            raise CodecError(f"{path} shares weights with {base}, which lacks weights itself")
    return base


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    base = base_of(path)
    shared = {} if base is None else _from_content(load_file(base), base)
    return shared | _from_content(load_file(path), path)


def _from_content(content: Any, path: Path) -> dict[str, Tensor]:
    try:
        return from_storage(_state_dict(content))
    except CodecError as error:
        raise CodecError(f"{path}: {error}") from error


def from_storage(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a file whose tensors may be stored in fewer bits, float32; integer tables stay as they are.

    Checkerboard masks, which are the same in every network, are added where they were left out.

    Raises:
        CodecError: if an int8 tensor has no scales that fit it, or one holds no real numbers in memory.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        kernel, dot, suffix = name.rpartition(".")
        if dot + suffix in (SCALE_SUFFIX, SQUARE_SUFFIX) and kernel in stored:
            continue
        if tensor.is_complex() or tensor.is_meta or tensor.layout is not torch.strided:
            raise CodecError(f"{name!r} holds no real numbers, or none in memory")
        if tensor.dtype is torch.int8:
            state[name] = _from_int8(name, stored)
        else:
            is_table = tensor.dtype in (torch.int32, torch.int64)
            state[name] = tensor.detach() if is_table else tensor.detach().float()
    for name in [name for name in state if name.endswith(f".{CHECKERBOARD_NAME}.weight")]:
        state.setdefault(f"{name.removesuffix('weight')}mask", checkerboard_mask(state[name].shape))
    return state


def _from_int8(name: str, stored: Mapping[str, Tensor]) -> Tensor:
    integers = stored[name].float()
    squared = name + SQUARE_SUFFIX in stored
    scale = stored.get(name + (SQUARE_SUFFIX if squared else SCALE_SUFFIX))
    if scale is None or scale.shape != (len(integers), *[1] * (integers.dim() - 1)):
        raise CodecError(f"{name!r} is int8 and has no scale that fits it")
    return (integers * integers.abs() if squared else integers) * scale.float()


def complete_tables(network: LearnedNetwork) -> None:
    """Makes the entropy models' tables where the weights came without, as training leaves them."""
    if not all(model.has_tables for model in network.entropy_models()):
        network.update_tables()


def _state_dict(content: Any) -> Mapping[str, Tensor]:
    """The state dict in a checkpoint, without the prefix that data-parallel training puts before names."""
    for key in STATE_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    tensors = isinstance(content, Mapping) and all(isinstance(tensor, Tensor) for tensor in content.values())
    if not tensors or not content:
        raise CodecError(f"no state dict, neither at the top nor under {', '.join(STATE_KEYS)}")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
