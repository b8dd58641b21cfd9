"""ImageNet-1k validation, ImageNet-A and ImageNet-R: pictures in folders of their WordNet ids, or Parquet files.

A sample is ``WNID-STEM``. Without a list the samples are the first by their file's name without its WordNet id, and by
WordNet id where these are the same. What then is left says nothing of classes in ImageNet's files, of training
(``n01440764_10026.JPEG``) as of validation, and in ImageNet-A's, and those of ImageNet-R begin with ``art_0`` of every
class, so that the first hundred are of many classes in all of them.

The test samples of all three are pictures that ImageNet's training did not see, and calibration takes training
pictures. A folder that is named may hold pictures of any kind, such as NYUv2's, which is what the published tables were
made from; those without a class get the reference -1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import ClassVar

from dataset_builders.full.builder import in_order
from dataset_builders.full.pictures import PICTURE_ENDS, TABLE_END, Picture, pictures
from dataset_builders.full.raw import Repository, published
from dataset_builders.full.sample_lists import sample_names
from dataset_builders.full.vision._encoded import PictureBuilder
from lamofcbench.builders import Sample, Split
from lamofcbench.errors import DataError
from lamofcbench.imagenet.classes import class_of, wnids

NO_CLASS = -1
_WNID = r"n\d{8}"
_IMAGENET = "ILSVRC/imagenet-1k"
_TEST = ("val", "validation", "test", "testing")
"""Names of the test samples; what ImageNet itself calls its test split has no classes."""


class ImageNetBuilder(PictureBuilder):
    """A builder of one of the three tracks and of its shallow variant.

    Attributes:
        repository: of the test samples.
    """

    repository: ClassVar[Repository]

    def chosen(self, split: Split) -> Sequence[Sample]:
        """The samples of a split, with their classes."""
        what = "pictures by class"
        training = Repository(_IMAGENET, ("data/train-00000-of-*.parquet",))
        root = self.raw.folder(split, self.repository if split == "test" else training, what)
        files = self.raw.files(split, root, (*PICTURE_ENDS, TABLE_END), what, _TEST if split == "test" else ())
        found = {picture_id(picture): picture for picture in sorted(pictures(files), key=_order)}
        names = None
        if split == "test":
            listed = sample_names(self.raw.samples)
            names = None if listed is None else [picture_id(Picture(PurePosixPath(n), None, bytes)) for n in listed]
        return [
            Sample(id, picture.read(), self._class(picture, split))
            for id, picture in in_order(found, self.counts[split], names, f"{split} pictures")
        ]

    def _class(self, picture: Picture, split: Split) -> int:
        wnid = wnid_of(picture)
        if wnid is not None:
            return class_of(wnid)
        if split == "calibration":
            return NO_CLASS
        raise DataError(f"{picture.path}: neither its folder nor its name is a WordNet id, so its class is not known")


def wnid_of(picture: Picture) -> str | None:
    """The WordNet id that a picture's folder, name or label tells; None where none does.

    Example:
        >>> wnid_of(Picture(PurePosixPath("val/n01440764/ILSVRC2012_val_00000293.JPEG"), None, bytes))
        'n01440764'
        >>> wnid_of(Picture(PurePosixPath("ILSVRC2012_val_00000293_n01440764.JPEG"), None, bytes))
        'n01440764'
    """
    stem, folder = picture.path.stem, picture.path.parent.name
    for match in (re.fullmatch(_WNID, folder), re.match(rf"{_WNID}(?=[-_])", stem), re.search(rf"{_WNID}$", stem)):
        if match is not None:
            return match[0]
    numbered = picture.label is not None and 0 <= picture.label < len(wnids())
    return wnids()[picture.label] if numbered else None  # type: ignore[index]


def picture_id(picture: Picture) -> str:
    """``WNID-STEM``, the stem without the WordNet id that may be in it; the stem alone where there is no class.

    Example:
        >>> picture_id(Picture(PurePosixPath("ILSVRC2012_val_00000293_n01440764.JPEG"), None, bytes))
        'n01440764-ILSVRC2012_val_00000293'
    """
    wnid, stem = wnid_of(picture), _stem(picture)
    return stem if wnid is None else f"{wnid}-{stem}"


def _stem(picture: Picture) -> str:
    stem = picture.path.name
    if picture.path.suffix.lower() in PICTURE_ENDS:
        stem = picture.path.stem
    wnid = wnid_of(picture)
    return stem if wnid is None else stem.removeprefix(f"{wnid}-").removesuffix(f"_{wnid}")


def _order(picture: Picture) -> tuple[str, str]:
    wnid = wnid_of(picture)
    return _stem(picture).removeprefix(f"{wnid}_"), wnid or str(picture.path.parent)


class ImageNetValBuilder(ImageNetBuilder):
    """ImageNet-1k validation."""

    name: ClassVar[str] = "cvu-imagenet-val"
    repository: ClassVar[Repository] = Repository(_IMAGENET, ("data/validation-*.parquet",))


class ImageNetABuilder(ImageNetBuilder):
    """ImageNet-A."""

    name: ClassVar[str] = "cvu-imagenet-a"
    repository: ClassVar[Repository] = published("vision/imagenet-a_dinov3cls")


class ImageNetRBuilder(ImageNetBuilder):
    """ImageNet-R."""

    name: ClassVar[str] = "cvu-imagenet-r"
    repository: ClassVar[Repository] = published("vision/imagenet-r_dinov3cls")
