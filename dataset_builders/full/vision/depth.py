"""NYU Depth v2: folders of scenes with ``rgb_N.*`` and, beside it, ``sync_depth_N.png`` in millimetres.

A sample is ``SCENE-rgb_N``. Without a list the samples are the first of each scene in turn, by name: pictures of one
scene look alike. Calibration takes the scenes of the training split, a folder of the same layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from dataset_builders.full.builder import in_order
from dataset_builders.full.pictures import PICTURE_ENDS, picture_bytes
from dataset_builders.full.raw import published
from dataset_builders.full.sample_lists import sample_names
from dataset_builders.full.vision._encoded import PictureBuilder
from lamofcbench.builders import Sample, Split
from lamofcbench.errors import DataError
from lamofcbench.rasters import decode_png, encode_map

PICTURE, DEPTH = "rgb_", "sync_depth_"
"""How names of files begin."""


class NYUv2Builder(PictureBuilder):
    """A sample's reference is its depth map in metres."""

    name: ClassVar[str] = "cvu-nyuv2"

    def chosen(self, split: Split) -> Sequence[Sample]:
        """The samples of a split, with their depth maps."""
        repository = published("vision/nyudepthv2test_dinov3dep") if split == "test" else None
        what = "scenes with rgb_N.jpg and sync_depth_N.png"
        files = self.raw.files(split, self.raw.folder(split, repository, what), PICTURE_ENDS, what)
        scenes: dict[str, list[Path]] = {}
        for path in files:
            if path.stem.startswith(PICTURE):
                scenes.setdefault(path.parent.name, []).append(path)
        turns = [path for turn in zip_longest(*scenes.values()) for path in turn if path is not None]
        found = {_id(PurePosixPath(path.as_posix())): path for path in turns}
        listed = sample_names(self.raw.samples) if split == "test" else None
        names = None if listed is None else [_id(PurePosixPath(name)) for name in listed]
        return [
            Sample(id, path.read_bytes(), depth_of(path))
            for id, path in in_order(found, self.counts[split], names, f"{split} pictures")
        ]


def _id(path: PurePosixPath) -> str:
    return f"{path.parent.name}-{path.stem}" if path.parent.name else path.name.removesuffix(path.suffix)


def depth_of(picture: Path) -> bytes:
    """The encoded depth map beside a picture, in metres.

    Raises:
        DataError: if there is none, or it is no grey PNG.
    """
    path = picture.with_name(f"{picture.stem.replace(PICTURE, DEPTH, 1)}.png")
    if not path.is_file():
        raise DataError(f"{picture} has no depth map {path.name} beside it")
    return encode_map(metres_of(path))


def metres_of(path: Path) -> np.ndarray:
    """The depths of a map in millimetres, float32 ``[H, W]`` in metres.

    Raises:
        DataError: if it cannot be read, or is no grey PNG.
    """
    try:
        millimetres = decode_png(picture_bytes(path))
    except DataError as error:
        raise DataError(f"{path} is no depth map: {error}") from error
    if millimetres.ndim != 2:
        raise DataError(f"{path} is a picture in colour, not a depth map")
    return millimetres.astype(np.float32) / 1000
