"""Saved codecs: what a folder holds, what identifies a codec, and how it comes back.

A folder holds ``config.json`` (name, class, parameters, specs, fingerprint), ``model.safetensors`` (what was learned)
and, for a codec from a user's own file, its source. Nothing here imports the codec contract, which calls it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast

from huggingface_hub import snapshot_download
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors
from torch import Tensor

from lamofcbench.codecs import params
from lamofcbench.errors import CodecError
from lamofcbench.features import tensor_bytes
from lamofcbench.registry import Registry, load_file, source_of
from lamofcbench.scenarios.base import FeatureSpecs

CONFIG_FILE = "config.json"
STATE_FILE = "model.safetensors"
SOURCE_FILE = "codec.py"


class SavableCodec(Protocol):
    """What saving needs of a codec; `lamofcbench.codecs.base.Codec` has it."""

    name: ClassVar[str]
    specs: FeatureSpecs
    params: Any
    state: Mapping[str, Tensor]

    def __init__(self, specs: FeatureSpecs, params: Any = None, state: Mapping[str, Tensor] | None = None) -> None: ...

    @classmethod
    def make_params(cls, values: Mapping[str, Any]) -> Any:
        """Parameters from a mapping."""

    @property
    def fingerprint(self) -> bytes:
        """`fingerprint_of` it, computed once."""

    def check_state(self) -> None:
        """Raises `CodecError` where the state does not fit the specs."""


C = TypeVar("C", bound=SavableCodec)

# ---------------------------------------------------------------------------------------------------- what identifies


def config_of(codec: SavableCodec) -> dict[str, Any]:
    """Everything of a codec that decides the meaning of its bytes but its state, as plain data."""
    source = source_of(type(codec))
    return {
        "codec": codec.name,
        "codec_class": type(codec).__name__,
        "codec_source_sha256": hashlib.sha256(source).hexdigest() if source is not None else None,
        "codec_params": params.as_mapping(codec.params),
        "feature_specs": codec.specs.model_dump(mode="json"),
    }


def fingerprint_of(codec: SavableCodec) -> bytes:
    """Sha256 over a codec's config and state."""
    digest = hashlib.sha256(json.dumps(config_of(codec), sort_keys=True).encode())
    for name in sorted(codec.state):
        tensor = codec.state[name]
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)}".encode())
        digest.update(tensor_bytes(tensor))
    return digest.digest()


# ------------------------------------------------------------------------------------------------------------- saving


def write_folder(codec: SavableCodec, directory: Path) -> None:
    """Writes a codec's config, state and, where it came from a file, source into an existing folder."""
    save_tensors({k: v.cpu().contiguous() for k, v in codec.state.items()}, directory / STATE_FILE)
    source = source_of(type(codec))
    if source is not None:
        (directory / SOURCE_FILE).write_bytes(source)
    config = {**config_of(codec), "fingerprint": codec.fingerprint.hex()}
    (directory / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")


# ------------------------------------------------------------------------------------------------------------ loading


def find_folder(model_id: str, **download: Any) -> Path:
    """A folder of this path or, where there is none, a download of the Hub repository of this id.

    Args:
        model_id: path or ``org/name``.
        download: passed to `huggingface_hub.snapshot_download`.
    """
    directory = Path(model_id)
    if directory.is_dir():
        return directory
    return Path(snapshot_download(model_id, allow_patterns=[CONFIG_FILE, STATE_FILE, SOURCE_FILE], **download))


def load_folder(directory: Path, codecs: Registry[type[C]], *, trust_code: bool) -> C:
    """The codec of a saved folder.

    Args:
        directory: holds config.json and model.safetensors.
        codecs: where its class is looked up.
        trust_code: allow the folder's own source to run, for a codec that came from a user's file.

    Raises:
        CodecError: if the folder is no saved codec, is damaged, or needs ``trust_code``.
    """
    try:
        config: dict[str, Any] = json.loads((directory / CONFIG_FILE).read_text())
        name, class_name, source_sha = (config[k] for k in ("codec", "codec_class", "codec_source_sha256"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CodecError(f"{directory} is no saved codec: {CONFIG_FILE} is missing or damaged ({error})") from error
    if source_sha is None:
        return restore(codecs.get(str(name)), config, directory)
    if not trust_code:
        raise CodecError(
            f"saved codec {name!r} in {directory} runs its own {SOURCE_FILE}; read it, then allow it with --trust-code"
        )
    source = directory / SOURCE_FILE
    if not source.is_file() or hashlib.sha256(source.read_bytes()).hexdigest() != source_sha:
        raise CodecError(f"saved codec {name!r} in {directory} does not match its config: {SOURCE_FILE} was changed")
    codec_class = getattr(load_file(source), str(class_name), None)
    if not (isinstance(codec_class, type) and issubclass(codec_class, codecs.base)):
        raise CodecError(f"{source} holds no codec class {class_name!r}")
    return restore(cast("type[C]", codec_class), config, directory)


def restore(codec_class: type[C], config: Mapping[str, Any], directory: Path) -> C:
    """The codec of a saved folder whose config names this class.

    Raises:
        CodecError: if the folder is incomplete or does not add up to the fingerprint it states.
    """
    try:
        specs = FeatureSpecs.model_validate(config["feature_specs"])
        state = load_tensors(directory / STATE_FILE)
        codec = codec_class(specs, codec_class.make_params(config["codec_params"]), state)
        stated = str(config["fingerprint"])
        if config["codec"] != codec_class.name:
            raise CodecError(
                f"saved codec in {directory} is named {config['codec']!r}; its class is {codec_class.name!r}"
            )
        if state:
            codec.check_state()
    except CodecError:
        raise
    except Exception as error:
        raise CodecError(f"saved codec in {directory} is damaged: {type(error).__name__}: {error}") from error
    if codec.fingerprint.hex() != stated:
        raise CodecError(f"saved codec in {directory} does not match its fingerprint; its files were changed")
    return codec
