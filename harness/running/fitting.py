"""Fitted codecs: fit once for each configuration, save, and use only what was saved."""

from __future__ import annotations

import json
import secrets
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from harness.results import store
from harness.results.fitted_on import joined, parted
from harness.running import environment
from harness.running.mixed_sensitivity import MixedTailSensitivity
from harness.running.sensitivity import TailSensitivity
from lamofcbench import identity
from lamofcbench.atomic import replacing, write_json
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.knowledge import Knowledge
from lamofcbench.codecs.registry import CODECS, load_saved
from lamofcbench.codecs.saved_source import source_record
from lamofcbench.codecs.saving import CONFIG_FILE, read_config
from lamofcbench.errors import CodecError
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage import mixed_calibration
from lamofcbench.storage.calibration import CalibrationSplit
from lamofcbench.storage.reader import SplitReader
from lamofcbench.user_files.modules import tree_of

AnySensitivity: TypeAlias = TailSensitivity | MixedTailSensitivity
_CLASS_TOKENS: weakref.WeakKeyDictionary[type[Codec], str] = weakref.WeakKeyDictionary()


def fit(codec: Codec, calibration: CalibrationSplit, seed: int, tail: AnySensitivity | None = None) -> Codec:
    """The codec, fitted where it needs to be and is not yet.

    Args:
        codec: fitted or not.
        calibration: what it is fitted on.
        seed: of the run.
        tail: computes the sensitivity of the scenario's tail; None for codecs that need none.

    Raises:
        CodecError: if fitting fails.
    """
    if not codec.needs_calibration or codec.state:
        return codec
    sensitivity = tail.computed() if tail is not None and codec.needs_sensitivity else None
    environment.seed_everything(seed)
    return codec.fit(calibration) if sensitivity is None else codec.fit(calibration, sensitivity)


def fit_record(
    codec: Codec,
    sources: Sequence[Scenario],
    data: CalibrationSplit | SplitReader,
    seed: int,
    tail: AnySensitivity | None = None,
) -> dict[str, Any]:
    """What decides a fitted codec: ``fit.json``.

    Args:
        codec: before fitting.
        sources: whose calibration splits it is fitted on.
        data: these splits, or another one of the same data.
        seed: of the run.
        tail: of whose sensitivity the codec learns, if it does.
    """
    return {
        **({} if tail is None else {"sensitivity": tail.origin}),
        **({} if len(sources) == 1 else {"mixture": mixed_calibration.REVISION}),
        "unfitted_fingerprint": codec.fingerprint.hex(),
        "scenario": joined(source.ref for source in sources),
        "data_revision": data.data_revision,
        "builder_identity": data.builder_identity,
        "seed": seed,
    }


def fitted_on(directory: Path, scenario: Scenario) -> str | None:
    """The ids of scenarios on which a codec was fitted, joined; None where it is just the one that is coded.

    Args:
        directory: where the codec is saved with what it was fitted on.
        scenario: that it codes.
    """
    try:
        refs = parted(json.loads((directory / store.FIT_FILE).read_text())["scenario"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    sources = [ref.rpartition("@")[0] for ref in refs]
    return joined(sources) if all(sources) and sources != [scenario.id] else None


def find_fitted(directory: Path, codec: Codec, record: dict[str, Any]) -> Codec | None:
    """The codec that an earlier run fitted in the same way, from one of its result folders; None if there is none."""
    for path in sorted(directory.glob(f"[!.]*/{store.CODEC_DIRECTORY}/{store.FIT_FILE}")):
        try:
            if json.loads(path.read_text()) == record:
                return load_again(codec, path.parent)
        except (OSError, ValueError, CodecError):
            continue  # damaged: fit again
    return None


def is_replaceable(directory: Path) -> bool:
    """True for a folder of a saved codec, and an empty one: where `save` destroys nothing that is not a codec."""
    return directory.is_dir() and ((directory / CONFIG_FILE).is_file() or not any(directory.iterdir()))


def save(codec: Codec, directory: Path, record: dict[str, Any]) -> None:
    """Saves a fitted codec and what it was fitted on, whole or not at all; an intact saved one is left alone.

    Raises:
        WriteError: if it cannot be written.
    """
    if directory.exists():
        try:
            if load_again(codec, directory).fingerprint == codec.fingerprint:
                return
        except CodecError:
            pass
    with replacing(directory) as temporary:
        codec.save(temporary)
        write_json(temporary / store.FIT_FILE, record)


def knowledge_of(codec: Codec, directory: Path) -> Knowledge:
    """What a fitted codec has learned from.

    Args:
        codec: as it is used.
        directory: where it is saved with what it was fitted on. A codec that came with its state was fitted nobody
            knows on what, which may be anything.
    """
    try:
        record = json.loads((directory / store.FIT_FILE).read_text())
        brought = bool(codec.state) and record["unfitted_fingerprint"] == codec.fingerprint.hex()
    except (OSError, ValueError, KeyError, TypeError):
        brought = bool(codec.state)
    return "other data" if brought else codec.trained_on


def load_again(codec: Codec, directory: Path) -> Codec:
    """A codec object of its own from a folder that was saved from this codec or one like it.

    Raises:
        CodecError: if the folder is damaged, or its source is not the codec's.
    """
    tree = tree_of(type(codec))
    if tree is not None:
        if read_config(directory)["codec_source"] != source_record(tree):
            raise CodecError(f"{directory} does not hold the source of codec {codec.name!r}; rerun the same command")
        return load_saved(directory, trust_code=True)  # which is what runs here already
    if codec.name in CODECS.names() and CODECS.get(codec.name) is type(codec):
        return load_saved(directory)
    return type(codec).from_config(read_config(directory), directory)  # a class that is not registered


def class_token(codec_class: type[Codec]) -> str:
    """Tells classes of one name apart that nothing else does: random, the same as long as this class lives."""
    return _CLASS_TOKENS.setdefault(codec_class, secrets.token_hex(8))


def is_anonymous(codec: Codec) -> bool:
    """True for a class that nothing identifies, from a notebook say: its code may change under the same fingerprint."""
    return identity.is_anonymous(identity.identity_of(type(codec)))
