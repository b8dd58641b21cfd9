"""The index planes of calibration samples, in a file that every process of a training maps into memory.

A scenario's planes are those that its codec would code, with k-means tables fitted on its calibration samples and in
the codec's packing, except that a canvas holds one kind of tensor, so that every kind can get its share. A tenth of the
samples is held out for validation. Which ones follows from the content of the raw sample, so that adding samples or
scenarios moves none from one side to the other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.atomic import replacing, write_text
from lamofcbench.codecs.kmeans import FIT_SAMPLES, collect_values, kmeans_points
from lamofcbench.codecs.learned.folding import CanvasLayout
from lamofcbench.codecs.learned.planes import LEVELS, IndexPlanes
from lamofcbench.errors import DataError
from lamofcbench.features import FeatureSet, pack
from lamofcbench.scenarios.base import FeatureSpecs, TensorSpec
from lamofcbench.storage.calibration import Calibration

HELD_OUT_SHARE = 0.1
PLANES_FILE = "planes.bin"
INDEX_FILE = "planes.json"
_VERSION = 1
"""Raised when other planes are made of the same samples."""


def held_out_samples(content_sha256: Sequence[str]) -> set[int]:
    """The positions of a scenario's samples for validation, by the hashes of their raw content; at least one.

    Example:
        >>> sorted(held_out_samples(["f" * 64, "0" * 64, "1" * 64, "2" * 64]))
        [1, 2]
        >>> held_out_samples(["f" * 64, "e" * 64])
        {1}
    """
    below = {i for i, digest in enumerate(content_sha256) if int(digest[:8], 16) < HELD_OUT_SHARE * 2**32}
    return below or {min(range(len(content_sha256)), key=content_sha256.__getitem__)}


@dataclass(frozen=True)
class StoredPlane:
    """A canvas of one sample's planes of one kind, and where it lies in the file.

    Attributes:
        scenario: id.
        role: of the tensor.
        held_out: True where it is for validation.
        offset: of its first index in the file.
        height, width: multiples of 64.
        elements: how many of its indices are not padding.
        mask_offset: of the packed bits that tell which; -1 where all are.
    """

    scenario: str
    role: str
    held_out: bool
    offset: int
    height: int
    width: int
    elements: int
    mask_offset: int


def planes_digest(calibrations: Sequence[Calibration]) -> str:
    """Identifies what `write_planes` makes: 16 hex digits over scenarios and data."""
    parts = [
        _VERSION,
        *((c.scenario.ref, c.scenario.digest, c.data_revision, c.builder_identity) for c in calibrations),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def write_planes(calibrations: Sequence[Calibration], folder: Path, *, progress: bool = False) -> None:
    """Writes the canvases of all calibration samples; a folder that has them already is left alone.

    Args:
        calibrations: of each scenario.
        folder: see `PlaneStore`.
        progress: show a bar.
    """
    from tqdm import tqdm

    digest = planes_digest(calibrations)
    if (folder / INDEX_FILE).is_file() and json.loads((folder / INDEX_FILE).read_text()).get("digest") == digest:
        return
    planes: list[StoredPlane] = []
    scenarios = []
    with replacing(folder / PLANES_FILE) as temporary, temporary.open("wb") as file:
        for calibration in tqdm(calibrations, desc="planes", unit="scenario", disable=not progress):
            before = len(planes)
            planes += _write_scenario(calibration, file)
            scenarios.append(
                {
                    "id": calibration.scenario.id,
                    "version": calibration.scenario.version,
                    "data_revision": calibration.data_revision,
                    "samples": len(calibration),
                    "elements": sum(plane.elements for plane in planes[before:]),
                }
            )
        size = file.tell()
    rows = [list(dataclasses.astuple(plane)) for plane in planes]
    content = {"digest": digest, "bytes": size, "scenarios": scenarios, "planes": rows}
    write_text(folder / INDEX_FILE, json.dumps(content))


def _write_scenario(calibration: Calibration, file: BinaryIO) -> Iterator[StoredPlane]:
    specs = calibration.scenario.specs
    values = collect_values(itertools.islice(iter(calibration), FIT_SAMPLES), len(specs.tensors))
    points = {spec.name: kmeans_points(v, LEVELS) for spec, v in zip(specs.tensors, values, strict=True)}
    kinds: dict[str, list[TensorSpec]] = {}
    for spec in specs.tensors:
        kinds.setdefault(spec.role, []).append(spec)
    held_out = held_out_samples([calibration.content_sha256(index) for index in range(len(calibration))])
    for index, features in enumerate(calibration):
        for role, tensors in kinds.items():
            names = [spec.name for spec in tensors]
            converter = IndexPlanes(
                FeatureSpecs(tensors=tuple(tensors)), [points[name] for name in names], "nearest", "folded"
            )
            own = features.select(names)
            layout = converter.layout({name: tuple(tensor.shape) for name, tensor in own.tensors.items()})
            for batch, valid in zip(converter.canvases(own), _valid(layout, role, own), strict=True):
                for canvas, mask in zip((batch[:, 0] * LEVELS).to(torch.uint8).numpy(), valid, strict=True):
                    offset = file.tell()
                    file.write(canvas.tobytes())
                    mask_offset = -1 if mask.all() else file.tell()
                    if mask_offset >= 0:
                        file.write(np.packbits(mask).tobytes())
                    height, width = canvas.shape
                    yield StoredPlane(
                        calibration.scenario.id,
                        role,
                        index in held_out,
                        offset,
                        height,
                        width,
                        int(mask.sum()),
                        mask_offset,
                    )


def _valid(layout: CanvasLayout, role: str, features: FeatureSet) -> list[NDArray[np.bool_]]:
    """Which elements of each batch of canvases are no padding: those that the layout puts down for the first time.

    Padding repeats what stands above or to the left of it.
    """
    numbered: list[Tensor] = []
    start = 0
    for tensor in features.tensors.values():
        if tensor.numel():
            numbered += pack(torch.arange(start, start + tensor.numel()).reshape(tensor.shape), role)
            start += tensor.numel()
    masks = []
    for batch in layout.fill(numbered):
        mask = np.zeros(batch.shape, np.bool_)
        mask.reshape(-1)[np.unique(batch.numpy(), return_index=True)[1]] = True
        masks.append(mask)
    return masks


class PlaneStore:
    """Opened planes.

    Args:
        folder: as `write_planes` left it.

    Attributes:
        index: all canvases.
        scenarios: what they were made from: id, version, data revision, numbers of samples and elements.
        digest: identifies scenarios, data and the way planes are made.

    Raises:
        DataError: if the folder is damaged.
    """

    def __init__(self, folder: Path) -> None:
        try:
            content: dict[str, Any] = json.loads((folder / INDEX_FILE).read_text())
            self.index = [StoredPlane(*row) for row in content["planes"]]
            self.scenarios: list[dict[str, Any]] = content["scenarios"]
            self.digest: str = content["digest"]
            self._bytes = np.memmap(folder / PLANES_FILE, np.uint8, "r", shape=(content["bytes"],))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the planes in {folder} are damaged ({error}); delete the folder") from error

    def read(self, plane: StoredPlane) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Indices, uint8 ``[height, width]``, and which of them are not padding."""
        count, shape = plane.height * plane.width, (plane.height, plane.width)
        indices = self._bytes[plane.offset : plane.offset + count].reshape(shape)
        if plane.mask_offset < 0:
            return indices, np.ones(shape, np.bool_)
        packed = self._bytes[plane.mask_offset : plane.mask_offset + -(-count // 8)]
        return indices, np.unpackbits(packed, count=count).astype(np.bool_).reshape(shape)
