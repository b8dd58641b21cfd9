"""ADE20K: ``images/validation/STEM.jpg`` with ``annotations/validation/STEM.png``, and ``training`` in its place.

Without a list the samples are the first by name. Calibration takes training pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

MASK_END = ".png"


class ADE20KBuilder(PictureBuilder):
    """A sample's reference is its mask, as its file has it."""

    name: ClassVar[str] = "cvu-ade20k"

    def chosen(self, split: Split) -> Sequence[Sample]:
        """The samples of a split, with their masks."""
        repository = published("vision/ade20kval_dinov3seg") if split == "test" else None
        what = "folders images and annotations"
        root = self.raw.folder(split, repository, what)
        files = self.raw.files(split, root, PICTURE_ENDS, what)
        found, masks = pictures_and_masks(root, sorted(files, key=lambda path: path.stem))
        listed = sample_names(self.raw.samples) if split == "test" else None
        names = None if listed is None else [PurePosixPath(name).stem for name in listed]
        return [
            Sample(id, path.read_bytes(), _mask(masks.get(id), path))
            for id, path in in_order(found, self.counts[split], names, f"{split} pictures")
        ]


def pictures_and_masks(root: Path, files: Iterable[Path]) -> tuple[dict[str, Path], dict[str, Path]]:
    """The pictures in folders ``images`` and the masks in folders ``annotations`` below a folder, by stem."""
    pictures: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    for path in files:
        folders, end = path.relative_to(root).parts[:-1], path.suffix.lower()
        if "images" in folders and end in PICTURE_ENDS:
            pictures[path.stem] = path
        if "annotations" in folders and end == MASK_END:
            masks[path.stem] = path
    return pictures, masks


def _mask(path: Path | None, picture: Path) -> bytes:
    if path is None:
        raise DataError(f"{picture} has no mask in a folder annotations")
    data = path.read_bytes()
    try:
        decode_mask(data)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return data
