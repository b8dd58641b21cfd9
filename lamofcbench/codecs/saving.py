"""Saved codecs: what a folder holds, what identifies a codec, and how it comes back.

A folder holds ``config.json`` (name, identity, parameters, specs, fingerprint), ``model.safetensors`` (what was
learned) and, for a codec from a user's own file, ``source/`` with that file and the modules that it imports. Beside it
``points/<scenario id>@<version>/<number>/`` may hold more such folders: the rate points of that scenario's curve.
Nothing here imports the codec contract, which calls it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast

from huggingface_hub import snapshot_download
from pydantic import ValidationError
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from lamofcbench.atomic import write_bytes, write_text
from lamofcbench.codecs import params, returned
from lamofcbench.codecs.saved_source import MAX_PLACE, SOURCE_FOLDER, read_source, source_record, write_source
from lamofcbench.errors import CodecError, first_line, one_line, shown
from lamofcbench.features import tensor_bytes
from lamofcbench.hub import HubError, hub_errors
from lamofcbench.identity import identity_of, plugin_of
from lamofcbench.pins import COMMIT
from lamofcbench.registry import Registry, is_file_reference
from lamofcbench.scenarios.base import FeatureSpecs
from lamofcbench.user_files.modules import attribute_of, run_tree, tree_of

CONFIG_FILE = "config.json"
STATE_FILE = "model.safetensors"
POINTS_FOLDER = "points"
MAX_CONFIG_BYTES = 2**24
"""Far more than the config of thousands of tensors takes."""
_DECISIVE = ("codec", "codec_identity", "codec_source", "codec_params", "feature_specs")
"""What `config_of` gives."""
_KEYS = ("codec", "codec_class", *_DECISIVE[1:], "fingerprint")


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
    return {
        "codec": codec.name,
        "codec_identity": identity_of(type(codec)),
        "codec_source": source_record(tree_of(type(codec))),
        "codec_params": params.to_plain(codec.params),
        "feature_specs": codec.specs.model_dump(mode="json"),
    }


def fingerprint_of(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> bytes:
    """Sha256 over a codec's config, as `config_of` gives it, and its state."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in sorted(state):
        tensor = state[name]
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)}".encode())
        digest.update(tensor_bytes(tensor))
    return digest.digest()


# ------------------------------------------------------------------------------------------------------------- saving


def write_folder(codec: SavableCodec, directory: Path) -> None:
    """Writes a codec's config, state and, where it came from a file, source into a folder, each whole or not at all.

    Raises:
        WriteError: naming the file that cannot be written.
    """
    state = returned.state(codec.name, codec.state) if codec.state else {}
    write_bytes(directory / STATE_FILE, safetensors_bytes(state))
    write_source(tree_of(type(codec)), directory, CONFIG_FILE)
    held_as = {"codec_class": attribute_of(type(codec)), "fingerprint": codec.fingerprint.hex()}
    config = {**config_of(codec), **held_as}
    write_text(directory / CONFIG_FILE, json.dumps(config, indent=2) + "\n")


def copy_folder(directory: Path, target: Path, *, learned: bool = True) -> None:
    """Copies what a saved codec consists of, and nothing else that lies in its folder or stands in its files.

    No code of the codec runs.

    Args:
        directory: the saved folder.
        target: a folder that is not there yet.
        learned: with what the codec has learned; else the copy is of the same codec before it learned anything.

    Raises:
        CodecError: if the folder is no saved codec or is damaged.
        WriteError: naming the file that cannot be written.
    """
    config = read_config(directory)
    source = config["codec_source"]
    tree = None if source is None else read_source(directory, source)
    write_bytes(target / STATE_FILE, safetensors_bytes(_stored_state(directory) if learned else {}))
    write_source(tree, target, CONFIG_FILE)
    kept = {key: config[key] for key in _KEYS} | {"codec_source": source_record(tree)}
    if not learned:
        kept["fingerprint"] = fingerprint_of({key: kept[key] for key in _DECISIVE}, {}).hex()
    write_text(target / CONFIG_FILE, json.dumps(kept, indent=2) + "\n")


# ------------------------------------------------------------------------------------------------------------ loading


def folder_of(text: str) -> Path | None:
    """The folder that a text names, ``~`` for home; None where it names none."""
    try:
        folder = Path(text).expanduser()
        return folder if text and folder.is_dir() else None
    except (OSError, ValueError, RuntimeError):  # a name too long for one, or the home of nobody
        return None


@dataclass(frozen=True)
class FoundFolder:
    """Where a saved codec is.

    Attributes:
        folder: on this machine.
        hub_id: of the repository that it was downloaded from; empty for a folder.
        commit: of that repository; empty where that is not known, in a folder that the caller names.
        pinned: whether that commit was asked for, and not what a branch points to today.
    """

    folder: Path
    hub_id: str = ""
    commit: str = ""
    pinned: bool = True


def find_folder(model_id: str, scenario: str | None = None, **download: Any) -> FoundFolder:
    """A folder of this path or, where there is none, a download of the Hub repository of this id.

    Args:
        model_id: path, ``org/name``, or ``org/name@revision``.
        scenario: ``id@version``, whose rate points come along; None for the codec alone.
        download: passed to `huggingface_hub.snapshot_download`.

    Raises:
        CodecError: if there is no such repository, the Hub cannot be reached, or two revisions are named.
    """
    folder = folder_of(model_id)
    if folder is not None:
        return FoundFolder(folder)
    hub_id, at, revision = model_id.partition("@")
    if at:
        if download.get("revision") not in (None, revision):
            raise CodecError(f"{shown(model_id)} names a revision, and revision={shown(download['revision'])} another")
        download["revision"] = revision
    try:
        patterns = [CONFIG_FILE, STATE_FILE, f"{SOURCE_FOLDER}/*"]
        patterns += [] if scenario is None else [f"{POINTS_FOLDER}/{scenario}/*"]
        with hub_errors(f"{shown(model_id)} is no folder, nor can it be had from the Hub"):
            place = Path(snapshot_download(hub_id, allow_patterns=patterns, **download))
    except HubError as error:
        raise CodecError(str(error)) from error
    # In its cache the client names the folder so; a local_dir has whatever name and older files its owner gave it.
    commit = place.name if download.get("local_dir") is None and COMMIT.fullmatch(place.name) else ""
    return FoundFolder(place, hub_id, commit, bool(commit) and download.get("revision") == commit)


def rate_points_of(found: FoundFolder, scenario: str) -> list[FoundFolder]:
    """The saved codecs of a scenario's curve, in the order of their numbers; none where the folder holds one codec.

    Args:
        found: by `find_folder` with the same scenario.
        scenario: ``id@version``.

    Raises:
        CodecError: if one of them brings a source that is not the folder's own.
    """
    place = found.folder / POINTS_FOLDER / scenario
    folders = sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
    sources = {folder: _digest_of_source(folder) for folder in folders}
    own = _digest_of_source(found.folder) if any(sources.values()) else ""
    for folder, source in sources.items():
        if source not in ("", own):  # who has read the one has not read the other
            at = folder.relative_to(found.folder).as_posix()
            raise CodecError(
                f"{found.hub_id or _place(found.folder)} holds two sources, {SOURCE_FOLDER} and another one in "
                f"{one_line(at, MAX_PLACE)}; nothing of it runs"
            )
    return [replace(found, folder=folder) for folder in folders]


def _digest_of_source(directory: Path) -> str:
    record = read_config(directory)["codec_source"]
    return "" if record is None else read_source(directory, record).digest


def load_found(found: FoundFolder, codecs: Registry[type[C]], *, trust_code: bool) -> C:
    """The codec of a saved folder, or of a repository; source from the Hub runs only at a commit that was named.

    Raises:
        CodecError: as `load_folder`, or if source is to run that may be another tomorrow.
    """
    if trust_code and not found.pinned and read_config(found.folder)["codec_source"] is not None:
        raise CodecError(
            f"{shown(found.hub_id)} runs its own source, which is trusted at one commit only; read what it is today, "
            f"then name it {found.hub_id}@{found.commit or 'COMMIT, without local_dir'}"
        )
    return load_folder(found.folder, codecs, trust_code=trust_code)


def load_folder(directory: Path, codecs: Registry[type[C]], *, trust_code: bool) -> C:
    """The codec of a saved folder.

    Args:
        directory: holds config.json and model.safetensors.
        codecs: where its class is looked up.
        trust_code: allow the folder's own source to run, for a codec that came from a user's file.

    Raises:
        CodecError: if the folder is no saved codec, is damaged, or needs ``trust_code``.
        UnknownNameError: if no codec of its name is installed.
        PluginError: if the folder's own source fails to import.
    """
    config = read_config(directory)
    name, class_name, source = (config[key] for key in ("codec", "codec_class", "codec_source"))
    place = _place(directory)
    if source is None:
        if is_file_reference(name):  # which would be run, from wherever it points to
            raise CodecError(f"{place} is no saved codec: it names {shown(name)} in place of an installed codec")
        return restore(codecs.get(name), config, directory)
    if not trust_code:
        raise CodecError(
            f"saved codec {shown(name)} in {place} runs its own source; read the folder {SOURCE_FOLDER}, then allow it "
            "with --trust-code"
        )
    tree = read_source(directory, source)
    main = directory.absolute() / SOURCE_FOLDER / tree.main
    codec_class = getattr(run_tree(tree, main), class_name, None)
    if not (isinstance(codec_class, type) and issubclass(codec_class, codecs.base)):
        raise CodecError(f"{SOURCE_FOLDER}/{tree.main} in {place} holds no codec class {shown(class_name)}")
    return restore(cast("type[C]", codec_class), config, directory)


def read_config(directory: Path) -> dict[str, Any]:
    """The config of a saved folder: a JSON object with all that `config_of` has, and text for names.

    Raises:
        CodecError: if it is missing or damaged.
    """
    path = directory / CONFIG_FILE
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise ValueError("it is no file")
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"it is larger than {MAX_CONFIG_BYTES} bytes")
        config: Any = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it is no JSON object")
        if "codec_source_sha256" in config:
            raise ValueError("it is of a version before codecs had an identity; fit and save the codec again")
        missing = [key for key in _KEYS if key not in config]
        if missing:
            raise ValueError(f"it lacks {missing[0]!r}")
        if not isinstance(config["codec"], str) or not isinstance(config["codec_class"], str):
            raise ValueError("the codec or its class is not named by text")
    except (OSError, ValueError, RecursionError) as error:
        detail = "it is nested too deeply" if isinstance(error, RecursionError) else first_line(error)
        raise CodecError(
            f"{_place(directory)} is no saved codec: {CONFIG_FILE} is missing or damaged ({detail})"
        ) from error
    return config


def restore(codec_class: type[C], config: Mapping[str, Any], directory: Path) -> C:
    """The codec of a saved folder whose config names this class.

    Raises:
        CodecError: if the folder is incomplete or does not add up to the fingerprint it states.
    """
    place = _place(directory)
    if config["codec"] != codec_class.name:
        raise CodecError(f"saved codec in {place} is named {shown(config['codec'])}; its class is {codec_class.name!r}")
    _check_identity(str(config["codec_identity"]), identity_of(codec_class), place)
    try:
        specs = FeatureSpecs.model_validate(config["feature_specs"])
    except (ValidationError, RecursionError) as error:
        raise CodecError(f"saved codec in {place} is damaged: feature_specs: {params.reason(error)}") from error
    state = _stored_state(directory)
    try:
        codec = codec_class(specs, config["codec_params"], returned.state(codec_class.name, state) if state else None)
        if state:
            codec.check_state()
        matches = codec.fingerprint.hex() == config["fingerprint"]
    except CodecError as error:
        raise CodecError(f"saved codec in {place} is damaged: {first_line(error, 500)}") from error
    except Exception as error:
        detail = f"{type(error).__name__}: {first_line(error)}"
        raise CodecError(f"saved codec in {place} is damaged: {detail}") from error
    if not matches:
        raise CodecError(f"saved codec in {place} does not match its fingerprint; its files were changed")
    return codec


def _stored_state(directory: Path) -> dict[str, Tensor]:
    place = _place(directory)
    if not (directory / STATE_FILE).is_file():
        raise CodecError(f"saved codec in {place} is incomplete: it has no file {STATE_FILE}")
    try:
        return load_tensors(directory / STATE_FILE)
    except Exception as error:  # whatever the format's reader makes of damaged bytes
        raise CodecError(f"saved codec in {place} is damaged: {type(error).__name__}: {first_line(error)}") from error


def _check_identity(stated: str, found: str, place: str) -> None:
    """Tells a codec whose code has changed since it was saved from a folder that contradicts itself."""
    if stated == found:
        return
    if plugin_of(stated) != plugin_of(found):
        raise CodecError(
            f"saved codec in {place} is damaged: it is of {one_line(stated)}, and what it names is {found}"
        )
    raise CodecError(
        f"saved codec in {place} was made by {one_line(stated)}; here is {found}, whose bytes may differ: use the "
        "version that saved it, or fit and save it again"
    )


def _place(directory: Path) -> str:
    return one_line(str(directory), MAX_PLACE)
