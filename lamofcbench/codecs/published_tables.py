"""Reads the published tables of the 256-point quantiser: a mapping.json beside JSON lists of numbers.

The mapping is ``{backbone: {tensor name: file}}``, with tensor names of its own, which are translated here.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamofcbench.errors import CodecError, UnknownNameError, shown

POINTS = 256
MAX_FILE_BYTES = 2**20

_NUMBERED = {
    "block": "layer.{}",
    "key": "layer.{}.k_cache",
    "value": "layer.{}.v_cache",
    "ssm_state": "layer.{}.ssm_state",
    "conv_state": "layer.{}.conv_state",
    "vae_encoder": "vae.encoder_f{}",
}
# Behind these the published names go on, in the files of features always, in the mapping not for all.
_REST = ("", "_embeds", "_prompt_embeds")
_MISSPELT = ("clip_g.pooled.negative", "clip_g.hidden.negative")
"""Of which the published mapping has the names with a slip, which its own code passes over by looking for parts."""
_NEAR = 0.85
_TEXT = {
    "clip_l.pooled.positive": "text_encoder-item0.clip_pooled",
    "clip_l.hidden.positive": "text_encoder-item0.clip_prompt",
    "clip_g.pooled.positive": "text_encoder_2-item1.clip_pooled",
    "clip_g.hidden.positive": "text_encoder_2-item1.clip_prompt",
    "t5.hidden.positive": "text_encoder_3-item2.t5_prompt",
    "clip_l.pooled.negative": "text_encoder-item3.clip_pooled",
    "clip_l.hidden.negative": "text_encoder-item3.clip_prompt",
    "clip_g.pooled.negative": "text_encoder_2-item4.clip_pooled",
    "clip_g.hidden.negative": "text_encoder_2-item4.clip_prompt",
    "t5.hidden.negative": "text_encoder_3-item5.t5_prompt",
    "latent": "vae.decoder",
}


def read_published_tables(mapping: Path, backbone: str, names: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """The points of each tensor name, float32 ``[256]`` ascending.

    Args:
        mapping: path of the mapping.json; the files that it names are looked for beside it.
        backbone: which of the mapping's backbones.
        names: tensor names, ours or the mapping's own.

    Raises:
        CodecError: if a file is missing, lies elsewhere, or is no list of 256 finite ascending numbers.
    """
    backbones = _read_json(mapping)
    if not isinstance(backbones, dict) or not all(isinstance(v, dict) for v in backbones.values()):
        raise CodecError(f"{mapping} is no mapping of backbones to tensor names to files")
    if backbone not in backbones:
        raise CodecError(
            f"{mapping}: {UnknownNameError('backbone', backbone, map(str, backbones))} (give backbone=NAME)"
        )
    files: Mapping[str, Any] = backbones[backbone]
    return {name: _read_points(_inside(mapping, _file_of(name, files, mapping))) for name in names}


def _file_of(name: str, files: Mapping[str, Any], mapping: Path) -> str:
    for key in _names(name):
        if isinstance(files.get(key), str):
            return str(files[key])
    if name == "hidden":
        outputs = [key for key in files if key == "output" or re.fullmatch(r"layer\.\d+\.output", key)]
        if len(outputs) == 1 and isinstance(files[outputs[0]], str):
            return str(files[outputs[0]])
    near = _misspelt(name, files)
    if near is not None:
        warnings.warn(f"{mapping} has {name!r} under the misspelt name {shown(near)}, which is taken", stacklevel=4)
        return str(files[near])
    raise CodecError(f"{mapping} has no table for tensor {name!r}; it has {', '.join(sorted(files))}")


def _misspelt(name: str, files: Mapping[str, Any]) -> str | None:
    """The only name like that of one of the two tensors that is the name of no other."""
    if name not in _MISSPELT:
        return None
    known = {key for other in _TEXT for key in _names(other)}
    unclaimed = [key for key in files if key not in known and isinstance(files[key], str)]
    likeness = {key: max(SequenceMatcher(None, key, one).ratio() for one in _names(name)) for key in unclaimed}
    (other,) = (one for one in _MISSPELT if one != name)
    rival = {key: max(SequenceMatcher(None, key, one).ratio() for one in _names(other)) for key in unclaimed}
    near = [key for key, ratio in likeness.items() if ratio >= _NEAR and ratio > rival[key]]
    return near[0] if len(near) == 1 else None


def _names(name: str) -> Iterator[str]:
    """The names in the mapping that mean one of our tensors, exactly."""
    yield name
    if name in _TEXT:
        yield from (_TEXT[name] + rest for rest in _REST)
    stem, _, number = name.rpartition(".")
    if stem in _NUMBERED and number.isdecimal():
        yield _NUMBERED[stem].format(number)


def _inside(mapping: Path, file: str) -> Path:
    folder = mapping.resolve().parent
    path = (folder / file).resolve()
    if not path.is_relative_to(folder):
        raise CodecError(f"{mapping} names {file!r}, which is not in its folder")
    return path


def _read_points(path: Path) -> NDArray[np.float32]:
    numbers = _read_json(path)
    if not isinstance(numbers, list) or len(numbers) != POINTS or not all(type(n) in (int, float) for n in numbers):
        raise CodecError(f"{path} is no list of {POINTS} numbers")
    try:
        points = np.array(numbers, np.float64)
    except OverflowError as error:
        raise CodecError(f"{path} holds a number beyond float32") from error
    if not (np.abs(points) <= np.finfo(np.float32).max).all():
        raise CodecError(f"{path} holds a number that is not finite in float32")
    if (np.diff(points) < 0).any():
        raise CodecError(f"{path} holds numbers that do not ascend")
    return points.astype(np.float32)


def _read_json(path: Path) -> Any:
    try:
        if path.exists() and not path.is_file():  # a device may never end, and a pipe wait for ever
            raise CodecError(f"{path} is no file of k-means tables")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CodecError(f"{path} is larger than any k-means table file")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CodecError(f"{path} cannot be read as JSON: {error}") from error
