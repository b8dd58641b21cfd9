"""Finds codecs: by registered name, entry point, the user's own file, saved folder or Hub id.

A codec SPEC is ``ID[:key=value[,key=value...]]``. Without parameters it stands for the codec's ladder of rate points.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamofcbench.codecs.base import CONFIG_FILE, SOURCE_FILE, Codec
from lamofcbench.errors import CodecError, UnknownNameError
from lamofcbench.registry import Registry, is_file_reference, load_file
from lamofcbench.scenarios.base import FeatureSpecs

CODECS: Registry[type[Codec]] = Registry("codec", Codec, package="lamofcbench.codecs", group="lamofcbench.codecs")

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class CodecSpec:
    """A parsed codec SPEC.

    Attributes:
        id: registered name, ``file.py:Class``, saved folder or Hub id.
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
    """
    head, separator, tail = text.rpartition(":")
    if not separator or "=" not in tail:
        return CodecSpec(text, None)
    params: dict[str, str] = {}
    for pair in tail.split(","):
        key, equals, value = pair.partition("=")
        if not key or not equals or key in params:
            raise CodecError(f"{text!r}: {pair!r} is not a key=value of its own; a SPEC is ID:key=value,key=value")
        params[key.strip()] = value.strip()
    return CodecSpec(head, params)


def make_codecs(text: str, specs: FeatureSpecs, *, trust_code: bool = False) -> list[Codec]:
    """The codecs that a SPEC stands for: one, or one for each point of the ladder; not fitted yet.

    Args:
        text: the SPEC.
        specs: the scenario's tensors.
        trust_code: allow a saved codec that comes with its own Python source to run it.
    """
    spec = parse_codec_spec(text)
    if is_file_reference(spec.id) or spec.id in CODECS.names():
        codec_class = CODECS.get(spec.id)
        codec_class.require_available()  # before anything runs, not at the first sample
        points = codec_class.rate_points if spec.params is None else (spec.params,)
        return [codec_class(specs, codec_class.make_params(point)) for point in points]
    directory = Path(spec.id).expanduser()
    if not spec.id or not (directory.is_dir() or _HUB_ID.fullmatch(spec.id)):
        raise UnknownNameError("codec", spec.id, CODECS.names(), "(or path/to/file.py:Class, a saved folder, org/name)")
    if spec.params is not None:
        raise CodecError(f"{spec.id} is a saved codec whose parameters are fixed; name it without parameters")
    codec: Codec = Codec.from_pretrained(str(directory) if directory.is_dir() else spec.id, trust_code=trust_code)
    if codec.specs != specs:
        raise CodecError(f"saved codec {spec.id} was made for other tensors than this scenario's")
    return [codec]


def load_saved(directory: str | Path, *, trust_code: bool = False) -> Codec:
    """The codec of a saved folder.

    Args:
        directory: holds config.json and model.safetensors.
        trust_code: allow the folder's own codec.py to run, for a codec that came from a user's file.

    Raises:
        CodecError: if the folder is no saved codec, is damaged, or needs ``trust_code``.
    """
    directory = Path(directory)
    try:
        config: dict[str, Any] = json.loads((directory / CONFIG_FILE).read_text())
        name, class_name, source_sha = (config[k] for k in ("codec", "codec_class", "codec_source_sha256"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CodecError(f"{directory} is no saved codec: {CONFIG_FILE} is missing or damaged ({error})") from error
    if source_sha is None:
        return CODECS.get(str(name)).from_config(config, directory)
    if not trust_code:
        raise CodecError(
            f"saved codec {name!r} in {directory} runs its own {SOURCE_FILE}; read it, then allow it with --trust-code"
        )
    source = directory / SOURCE_FILE
    if not source.is_file() or hashlib.sha256(source.read_bytes()).hexdigest() != source_sha:
        raise CodecError(f"saved codec {name!r} in {directory} does not match its config: {SOURCE_FILE} was changed")
    codec_class = getattr(load_file(source), str(class_name), None)
    if not (isinstance(codec_class, type) and issubclass(codec_class, Codec)):
        raise CodecError(f"{source} holds no codec class {class_name!r}")
    return codec_class.from_config(config, directory)
