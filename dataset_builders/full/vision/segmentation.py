"""ADE20K: ``images/validation/STEM.jpg`` with ``annotations/validation/STEM.png``, and ``training`` in its place.

Without a list the samples are the first by name. Calibration takes training pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

from dataset_builders.full.builder import in_order
from dataset_builders.full.pictures import PICTURE_ENDS
from dataset_builders.full.raw import published
from dataset_builders.full.sample_lists import sample_names
from dataset_builders.full.vision._encoded import PictureBuilder
from lamofcbench.builders import Sample, Split
from lamofcbench.errors import DataError
from lamofcbench.rasters import decode_mask


class ADE20KBuilder(PictureBuilder):
    """A sample's reference is its mask, as its file has it."""

    name: ClassVar[str] = "cvu-ade20k"

    def chosen(self, split: Split) -> Sequence[Sample]:
        """The samples of a split, with their masks."""
        repository = published("vision/ade20kval_dinov3seg") if split == "test" else None
        files = self.raw.files(split, PICTURE_ENDS, repository, "folders images and annotations")
        masks = {path.stem: path for path in files if "annotations" in path.parts and path.suffix.lower() == ".png"}
        found = {path.stem: path for path in sorted(files, key=lambda path: path.stem) if "images" in path.parts}
        listed = sample_names(self.raw.samples) if split == "test" else None
        names = None if listed is None else [PurePosixPath(name).stem for name in listed]
        return [
            Sample(id, path.read_bytes(), _mask(masks.get(id), path))
            for id, path in in_order(found, self.counts[split], names, f"{split} pictures")
        ]


def _mask(path: Path | None, picture: Path) -> bytes:
    if path is None:
        raise DataError(f"{picture} has no mask in a folder annotations")
    data = path.read_bytes()
    try:
        decode_mask(data)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return data
