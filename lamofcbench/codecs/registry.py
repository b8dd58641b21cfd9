"""Finds codecs: by registered name, entry point, the user's own file, saved folder or Hub id.

A codec SPEC is ``ID[:key=value[,key=value...]]``. Without parameters it stands for the codec's ladder of rate points. A
value that is a JSON array or object may hold commas: ``mine:widths=[64,256]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamofcbench.codecs import saving
from lamofcbench.codecs.base import CODECS, Codec
from lamofcbench.codecs.params import as_text, plain_defaults, to_plain
from lamofcbench.errors import CodecError, UnknownNameError, shown
from lamofcbench.registry import is_file_reference
from lamofcbench.scenarios.base import FeatureSpecs

__all__ = [
    "CODECS",
    "CodecSpec",
    "load_saved",
    "make_codecs",
    "names_saved_codec",
    "parse_codec_spec",
    "spec_of",
    "spec_text",
]

_PARAMETERS = re.compile(r":(?=[^:/\\]*=)")
"""The colon before the first parameter: no other colon, and no path, stands between it and an equals sign."""
_NO_PAIR = "is not a key=value of its own; a SPEC is ID:key=value,key=value, such as uniform:step=0.05"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w.-]+)?")


@dataclass(frozen=True)
class CodecSpec:
    """A parsed codec SPEC.

    Attributes:
        id: registered name, ``file.py:Class``, saved folder, or Hub id, ``org/name`` or ``org/name@revision``.
        params: the named parameters as text, or None where the ladder is meant.
    """

    id: str
    params: Mapping[str, str] | None


def parse_codec_spec(text: str) -> CodecSpec:
    """A SPEC's id and parameters.

    Example:
        >>> parse_codec_spec("uniform:step=0.5")
        CodecSpec(id='uniform', params={'step': '0.5'})
        >>> parse_codec_spec("./my.py:Mine")
        CodecSpec(id='./my.py:Mine', params=None)
        >>> parse_codec_spec("mine:widths=[64,256],fast=true").params
        {'widths': '[64,256]', 'fast': 'true'}

    Raises:
        CodecError: if a parameter is not written as ``key=value``, or is named twice.
    """
    start = _PARAMETERS.search(text)
    if start is None:
        name, colon, pair = text.partition(":")
        if colon and name in CODECS.names():
            raise CodecError(f"{shown(text)}: {shown(pair)} {_NO_PAIR}")
        return CodecSpec(text, None)
    params: dict[str, str] = {}
    for pair in _pairs(text[start.end() :]):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not key or not equals or key in params:
            raise CodecError(f"{shown(text)}: {shown(pair)} {_NO_PAIR}")
        params[key] = value
    return CodecSpec(text[: start.start()], params)


def _pairs(text: str) -> Iterator[str]:
    """The ``key=value`` of a SPEC: between commas, but for those within a value that is a JSON array or object."""
    start = 0
    while start <= len(text):
        value = text.find("=", start) + 1
        end = text.find(",", start)
        if value and text[value : value + 1] in ("[", "{") and (end < 0 or value < end):
            try:
                _, json_end = json.JSONDecoder().raw_decode(text, value)
                end = text.find(",", json_end)
            except (ValueError, RecursionError):
                pass  # no JSON: a path may begin with a bracket too
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end + 1


def names_saved_codec(spec: CodecSpec) -> bool:
    """Whether a SPEC names a folder or a repository, and so a codec whose parameters and state are fixed."""
    return not (is_file_reference(spec.id) or spec.id.endswith(".py") or spec.id in CODECS.names())


def spec_text(
    codec_id: str,
    params: Mapping[str, Any],
    ladder: Iterable[Mapping[str, Any]],
    defaults: Mapping[str, Any] | None = None,
) -> str:
    """The SPEC of one rate point: parameters that have their default are left out unless the ladder varies them.

    Args:
        codec_id: registered name, ``file.py:Class``, saved folder or Hub id.
        params: all parameters, as plain data.
        ladder: those of the rate points that it is told apart from, its own among them or not.
        defaults: of the parameters that have one; None where they are not known, which are left out all the same.

    Example:
        >>> ladder = [{"step": 0.05, "widths": [64, 256]}, {"step": 0.5, "widths": [64, 256]}]
        >>> spec_text("mine", ladder[0], ladder, {"widths": [64, 256]})
        'mine:step=0.05'
        >>> spec_text("mine", ladder[0], ladder, {"widths": [8, 8]})
        'mine:step=0.05,widths=[64,256]'
        >>> spec_text("zstd", {"level": 3}, [{"level": 3}], {"level": 3})
        'zstd'
    """
    points = list(ladder)
    named = [
        f"{key}={as_text(int(value) if isinstance(value, float) and value.is_integer() else value)}"
        for key, value in params.items()
        if any(point.get(key) != value for point in points)
        or (defaults is not None and (key not in defaults or defaults[key] != value))
    ]
    return f"{codec_id}:{','.join(named)}" if named else codec_id


def spec_of(codec: Codec, codec_id: str | None = None) -> str:
    """The SPEC that makes a codec, as far as its class and parameters go.

    Args:
        codec: fitted or not.
        codec_id: by which its class is found; None for its registered name.
    """
    ladder = [to_plain(codec.make_params(point)) for point in codec.rate_points]
    return spec_text(codec_id or codec.name, to_plain(codec.params), ladder, plain_defaults(codec.Params))


def make_codecs(
    text: str, specs: FeatureSpecs, *, scenario: str | None = None, trust_code: bool = False
) -> list[Codec]:
    """The codecs that a SPEC stands for: one, or one for each point of the ladder; not fitted yet if not saved so.

    Args:
        text: the SPEC.
        specs: the scenario's tensors.
        scenario: its ``id@version``, for a saved codec that has rate points of it; None for that codec alone.
        trust_code: allow a saved codec that comes with its own Python source to run it.
    """
    spec = parse_codec_spec(text)
    if not names_saved_codec(spec):
        codec_class = CODECS.get(spec.id)
        codec_class.require_available()  # before anything runs, not at the first sample
        points = codec_class.rate_points if spec.params is None else (spec.params,)
        return [codec_class(specs, codec_class.make_params(point)) for point in points]
    if saving.folder_of(spec.id) is None and not _HUB_ID.fullmatch(spec.id):
        others = "(or path/to/file.py:Class, a saved folder, org/name[@commit])"
        raise UnknownNameError("codec", spec.id, CODECS.names(), others, CODECS.listing)
    if spec.params is not None:
        raise CodecError(f"{spec.id} is a saved codec whose parameters are fixed; name it without parameters")
    return _saved_codecs(spec.id, specs, scenario, trust_code)


def _saved_codecs(place: str, specs: FeatureSpecs, scenario: str | None, trust_code: bool) -> list[Codec]:
    """The rate points of a scenario that a folder or repository holds, or its own codec where it has none."""
    found = saving.find_folder(place, scenario)
    points = [] if scenario is None else saving.rate_points_of(found, scenario)
    codecs: list[Codec] = [saving.load_found(one, CODECS, trust_code=trust_code) for one in points or [found]]
    for codec in codecs:
        if codec.specs.as_stored() != specs.as_stored():
            raise CodecError(f"saved codec {place} was made for other tensors than this scenario's")
    return codecs


def load_saved(directory: str | Path, *, trust_code: bool = False) -> Codec:
    """The codec of a saved folder.

    Args:
        directory: holds config.json and model.safetensors.
        trust_code: allow the folder's own source to run, for a codec that came from a user's file.

    Raises:
        CodecError: if the folder is no saved codec, is damaged, or needs ``trust_code``.
    """
    return saving.load_folder(Path(directory), CODECS, trust_code=trust_code)
