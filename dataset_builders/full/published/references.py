"""What the metric compares with, and what the tail needs beside the features, from the raw data's files.

=====================  ===========================================================================================
scenarios              where it comes from
=====================  ===========================================================================================
cvu-imagenet-*         the WordNet id at the beginning of the file's name
cvu-nyuv2              ``SCENE/sync_depth_N.png`` beside ``SCENE/rgb_N.*``, millimetres
cvu-ade20k             ``STEM.png`` in a folder ``annotations``, ``STEM.jpg`` in a folder ``images``; the image is given
clu-truthfulqa-mc1*    nothing: choices are not shuffled, A is right
clu-*                  the documents of the data set, Parquet or JSON lines, in the order of the data
cau-advbench           nothing: all requests are harmful
cau-*                  ``data.json``: lists of entries by data set, each with subset, index and answer
ctti-*                 ``STEM.png``, images made of the features before coding
=====================  ===========================================================================================

A file of references, a JSON object of sample ids and references, goes before all of these, save masks, maps and images.
The published ``data.json`` was not seen: that it has data sets, subsets and indices is known from the code that reads
it, under which name answers stand is not.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dataset_builders.full.generation.builders import SEED
from dataset_builders.full.language.tasks import LanguageTask, OtherDocumentsError
from dataset_builders.full.language.tasks import task_of as language_task
from dataset_builders.full.pictures import PICTURE_ENDS, decoded_image, picture_bytes
from dataset_builders.full.raw import rows
from dataset_builders.full.speech.tasks import HARMFUL
from dataset_builders.full.vision.depth import DEPTH, PICTURE, metres_of
from dataset_builders.full.vision.segmentation import pictures_and_masks
from lamofcbench.errors import DataError, first_line, shown
from lamofcbench.imagenet.classes import class_of
from lamofcbench.rasters import decode_png, encode_image, encode_map, encode_mask
from lamofcbench.references import Reference
from lamofcbench.scenarios.base import Scenario

MAX_TABLE_BYTES = 2**26
_LETTERS = "ABCD"
_ANSWERS = ("answer", "reference", "transcript", "transcription", "text", "target", "gt", "label")
_ENDS = {"cvu-nyuv2": "-wflip", "cvu-ade20k": "-stackedpatches"}
_LANGUAGE_NAME = re.compile(r"sample(\d+)-layer\d+-item\d+")


@dataclass(frozen=True)
class Answer:
    """What belongs to a sample beside its features."""

    reference: Reference
    side: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[str, Tensor] = field(default_factory=dict)


def sample_id(scenario: Scenario, stem: str) -> str:
    """The id of a sample by the name of its file.

    Args:
        scenario: the one that is imported.
        stem: the file's name without ``.zst``.

    Raises:
        DataError: if the name is not as published.
    """
    track = track_of(scenario)
    if track.startswith("clu-"):
        match = _LANGUAGE_NAME.fullmatch(stem)
        if match is None:
            raise DataError("is not named sampleN-layer4-item1.zst")
        return match[1]
    end = _ENDS.get(track, "")
    if not stem.endswith(end):
        raise DataError(f"is not named ...{end}.zst")
    return stem.removesuffix(end)


def file_state(path: Path) -> list[Any]:
    """Where a file is, how large, and when it was changed last.

    Raises:
        DataError: if it is not there.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {first_line(error)}") from error
    return [str(path.resolve()), state.st_size, state.st_mtime_ns]


def track_of(scenario: Scenario) -> str:
    """The id of the track whose raw samples a scenario has."""
    return scenario.variant_of or scenario.id


class References:
    """The references of a scenario's samples; small enough to be handed to other processes.

    Args:
        scenario: the one that is imported.
        raw: folder of the raw data; None where none is needed or named.
        file: JSON object of sample ids and references; None for none.

    Raises:
        DataError: if the files cannot be read.
    """

    def __init__(self, scenario: Scenario, raw: Path | None = None, file: Path | None = None) -> None:
        self.track, self.raw = track_of(scenario), raw
        self.given = bool(scenario.given)
        self._known: Mapping[str, Reference] = {} if file is None else _object(file)
        self._files: dict[str, Path] = {}
        find = self._finders().get(scenario.prediction)
        if raw is not None and not raw.is_dir():
            raise DataError(f"there is no folder {raw} of raw data")
        if raw is not None and find is not None and (file is None or scenario.prediction != "text"):
            find(raw)

    def of(self, id: str) -> Answer:
        """What belongs to a sample.

        Raises:
            DataError: if there is nothing for it, or its files cannot be read.
        """
        if self.track.startswith("cvu-imagenet"):
            known = self._known.get(id)
            return Answer(class_of(id.partition("-")[0]) if known is None else known)
        if self.track == "cvu-nyuv2":
            depth = metres_of(self._file(id, "sync_depth_*.png beside its image"))
            return Answer(encode_map(depth), _size(depth))
        if self.track == "cvu-ade20k":
            mask = _pixels(self._file(f"annotations/{id}", "mask in a folder annotations"), png=True)
            image = _pixels(self._file(f"images/{id}", "image in a folder images"))
            if mask.ndim != 2 or mask.shape != image.shape[:2]:
                raise DataError(f"has a mask {list(mask.shape)} and an image {list(image.shape)}")
            given = {"image": torch.from_numpy(image)} if self.given else {}
            return Answer(encode_mask(mask), _size(image), given)
        if self.track.startswith("ctti-"):
            image = _pixels(self._file(id, "image, made of the features before coding"))
            return Answer(encode_image(image), {"seed": SEED})
        return Answer(self._text(id))

    def state_of(self, id: str) -> str:
        """Hex sha256 over what belongs to a sample: its text, and path, size and time of change of its files.

        Raises:
            DataError: if one of its files is not there any more.
        """
        files = (self._files.get(key) for key in (id, f"annotations/{id}", f"images/{id}"))
        state = [self._known.get(id), *(file_state(path) for path in files if path is not None)]
        return hashlib.sha256(repr(state).encode()).hexdigest()

    # ------------------------------------------------------------------------------------------------- internals

    def _finders(self) -> dict[str, Callable[[Path], None]]:
        return {
            "text": self._find_texts,
            "map": self._find_depths,
            "mask": self._find_masks,
            "image": self._find_images,
        }

    def _text(self, id: str) -> Reference:
        if id in self._known:
            return self._known[id]
        if self.track == "cau-advbench":
            return HARMFUL
        if self.track.startswith("clu-truthfulqa-mc1"):
            return "A"
        where = "name the raw data with --raw, or a file with --references"
        raise DataError(f"has no reference for sample {shown(id)}; {where}")

    def _file(self, key: str, what: str) -> Path:
        if key not in self._files:
            where = "name it with --raw" if self.raw is None else f"not in {self.raw}"
            raise DataError(f"needs a file of the raw data, the {what} ({where})")
        return self._files[key]

    def _find_depths(self, raw: Path) -> None:
        for path in sorted(raw.rglob(f"{DEPTH}*.png")):
            self._files[f"{path.parent.name}-{path.stem.replace(DEPTH, PICTURE, 1)}"] = path

    def _find_masks(self, raw: Path) -> None:
        images, masks = pictures_and_masks(raw, sorted(raw.rglob("*")))
        self._files.update((f"images/{stem}", path) for stem, path in images.items())
        self._files.update((f"annotations/{stem}", path) for stem, path in masks.items())

    def _find_images(self, raw: Path) -> None:
        # PNG files last: the photographs that the captions are of may lie there, too.
        found = sorted(raw.rglob("*"), key=lambda path: (path.suffix.lower() == ".png", path))
        self._files.update((path.stem, path) for path in found if path.suffix.lower() in PICTURE_ENDS)

    def _find_texts(self, raw: Path) -> None:
        if self.track.startswith("clu-truthfulqa-mc1") or self.track == "cau-advbench":
            return
        if self.track.startswith("clu-"):
            task = language_task(self.track)
            ordered = task.ordered(documents(raw, task))
            self._known = {str(place): language_reference(task, one) for place, one in enumerate(ordered)}
        else:
            path = published_list(raw)
            if path is None:
                raise DataError(f"there is no data.json in {raw}; name a file of references with --references")
            self._known = spoken_answers(path)


def language_reference(task: LanguageTask, document: Mapping[str, Any]) -> str:
    """The right answer of a document: a letter, or the whole solution of a calculation.

    Raises:
        DataError: if the document does not say.
    """
    try:
        if task.name == "fc_arc_challenge":
            key = str(document["answerKey"])
            return _LETTERS[int(key) - 1] if key.isdecimal() else key
        if task.name == "fc_hellaswag":
            return _LETTERS[int(document["label"])]
        if task.name == "fc_winogrande":
            return _LETTERS[int(document["answer"]) - 1]
        return "A" if task.name == "fc_truthfulqa_mc1" else str(document["answer"])
    except (LookupError, ValueError, TypeError) as error:
        raise DataError(f"a document of {task.name} does not tell its answer: {first_line(error)}") from error


def published_list(raw: Path) -> Path | None:
    """The authors' list of spoken samples below a folder, the first by name; None where there is none."""
    return next(iter(sorted(raw.rglob("data.json"))), None)


def spoken_answers(path: Path) -> dict[str, Reference]:
    """The answers of the published ``data.json`` by sample ids, which are ``DATASET-SUBSET-INDEX``.

    Raises:
        DataError: if it cannot be read.
    """
    return {entry.id: entry.answer for entry in spoken_entries(path) if entry.answer is not None}


class SpokenEntry(NamedTuple):
    """One entry of the published ``data.json``.

    Attributes:
        id: ``DATASET-SUBSET-INDEX``.
        dataset: the name of its list.
        subset: empty where none is told.
        answer: None where none is told.
        told: all that stands there.
    """

    id: str
    dataset: str
    subset: str
    answer: str | None
    told: Mapping[str, Any]


def spoken_entries(path: Path) -> list[SpokenEntry]:
    """The entries of the published ``data.json``.

    It is an object of data sets, each a list of entries; an entry tells its index, its subset and its answer. An answer
    is whatever text stands under the first of the names that such lists use.

    Raises:
        DataError: if it cannot be read.
    """
    found = []
    for name, entries in _object(path).items():
        for entry in entries if isinstance(entries, list) else ():
            meta = entry.get("meta") if isinstance(entry, dict) else None
            told = {**entry, **meta} if isinstance(meta, dict) else entry
            if not isinstance(told, dict) or "index" not in told:
                continue
            answer = next((told[key] for key in _ANSWERS if isinstance(told.get(key), str)), None)
            subset = str(told.get("subset") or "")
            id = "-".join(map(str, [name, *filter(None, [subset]), told["index"]]))
            found.append(SpokenEntry(id, name, subset, answer, told))
    return found


def _object(path: Path) -> dict[str, Any]:
    """The JSON object of a file."""
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise ValueError(f"it is larger than {MAX_TABLE_BYTES} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is no JSON object")
    return content


def documents(raw: Path, task: LanguageTask) -> Iterable[Mapping[str, Any]]:
    """All documents of a task's split, in the order of the data.

    Raises:
        OtherDocumentsError: if there are none.
        DataError: if they cannot be read.
    """
    for end in (".parquet", ".jsonl", ".json"):
        files = [path for path in sorted(raw.rglob(f"*{end}")) if _holds(path.relative_to(raw), task)]
        if files:
            return list(rows(files))
    raise OtherDocumentsError(
        f"{raw} holds no documents of {task.name}: {task.split}*.parquet or .jsonl of {task.dataset}"
        + (f", in a folder {task.configuration}" if task.configuration else "")
    )


def _holds(path: Path, task: LanguageTask) -> bool:
    if path.stem == task.name:
        return True
    inside = task.configuration is None or task.configuration in path.parts[:-1] or len(path.parts) == 1
    return inside and path.name.startswith(task.split)


def _size(image: np.ndarray) -> dict[str, int]:
    return {"height": image.shape[0], "width": image.shape[1]}


def _pixels(path: Path, *, png: bool = False) -> np.ndarray:
    """The pixels of an image: as the PNG has them, or uint8 ``[H, W, 3]``."""
    try:
        return decode_png(picture_bytes(path)) if png else decoded_image(picture_bytes(path))
    except DataError as error:
        raise DataError(f"needs {path}, which cannot be read: {first_line(error)}") from error
