"""COCO's captions and Canny edges: a list of captions, and a folder of pictures.

The list is the authors' ``data_infos.json``, objects of ``image_name`` and ``caption``, or COCO's own
``captions_*.json``, of which each picture's first caption counts. A sample is a picture's stem; they stand by name, and
without a list of samples the first are taken. Calibration takes other pictures of COCO.

The control image is the picture, made to cover the model's square and cut to it, in grey, its edges by OpenCV's Canny
detector with thresholds 50 and 150. The reference is the image that the tail makes of the uncoded features.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dataset_builders.full.builder import FullBuilder, in_order
from dataset_builders.full.pictures import PICTURE_ENDS, decoded_image
from dataset_builders.full.raw import published
from dataset_builders.full.sample_lists import sample_names
from lamofcbench.builders import Sample, Split
from lamofcbench.errors import DataError, PluginError, first_line
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.models.sd3 import ControlledPrompt
from lamofcbench.rasters import encode_image
from lamofcbench.scenarios.base import Scenario

SEED = 42
LOW, HIGH = 50, 150
MAX_LIST_BYTES = 2**30


class Captioned(NamedTuple):
    """A picture with its caption.

    Attributes:
        caption: of the picture.
        picture: bytes of its file.
        position: the sample's place in the run.
    """

    caption: str
    picture: bytes
    position: int


class CocoCannyBuilder(FullBuilder):
    """A sample's inputs are a caption and the edges of its picture."""

    name: ClassVar[str] = "ctti-coco-canny"
    side: int = 1024

    def check(self, scenario: Scenario) -> None:
        """Takes over the size of the scenario's images, and refuses to begin without OpenCV."""
        self.side = int(scenario.backbone.options["height"])
        control_image(np.zeros((1, 1, 3), np.uint8), 8)

    def chosen(self, split: Split) -> Sequence[Sample]:
        """The captions of a split, with their pictures."""
        repository = published("controllable_synthesis") if split == "test" else None
        root = self.raw.folder(split, repository, "captions (data_infos.json or captions_*.json) and pictures of COCO")
        found = captions(root, split)
        files = {path.stem: path for path in sorted(root.rglob("*")) if path.suffix.lower() in PICTURE_ENDS}
        there = {stem: (caption, files[stem]) for stem, caption in sorted(found.items()) if stem in files}
        listed = sample_names(self.raw.samples) if split == "test" else None
        stems = None if listed is None else [PurePosixPath(name).stem for name in listed]
        return [
            Sample(stem, Captioned(caption, path.read_bytes(), place), b"")
            for place, (stem, (caption, path)) in enumerate(
                in_order(there, self.counts[split], stems, f"{split} captions with a picture")
            )
        ]

    def model_inputs(self, inputs: Captioned) -> ControlledPrompt:
        """The prompt with its control image."""
        edges = control_image(decoded_image(inputs.picture), self.side)
        return ControlledPrompt(inputs.caption, "", edges, SEED, inputs.position)

    def content_hash(self, sample: Sample) -> str:
        """The hex sha256 of the picture's file, whatever its caption."""
        return hashlib.sha256(sample.inputs.picture).hexdigest()

    def reference_digest(self, sample: Sample) -> str:
        """The hex sha256 of the caption, which decides the image beside the weights."""
        return hashlib.sha256(sample.inputs.caption.encode()).hexdigest()

    def references(self, model: SplitModel, batch: Sequence[Sample], features: Sequence[FeatureSet]) -> list[bytes]:
        """The images that uncoded features give."""
        return [encode_image(image) for one in features for image in model.tail([one])]


def captions(root: Path, split: Split) -> dict[str, str]:
    """The captions of a folder's list by the stems of their pictures.

    Raises:
        DataError: if there is no list, or it cannot be read.
    """
    part = "val" if split == "test" else "train"
    patterns = ("data_infos.json", f"captions_{part}*.json", "captions_*.json")
    lists = next((found for pattern in patterns if (found := sorted(root.rglob(pattern)))), [])
    if not lists:
        raise DataError(f"{root} holds no data_infos.json and no captions_*.json")
    try:
        if lists[0].stat().st_size > MAX_LIST_BYTES:
            raise ValueError(f"it is larger than {MAX_LIST_BYTES} bytes")
        content = json.loads(lists[0].read_text(encoding="utf-8"))
        return _published_captions(content) if isinstance(content, list) else _coco_captions(content)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"cannot read the captions of {lists[0]}: {first_line(error)}") from error


def _published_captions(content: list[Any]) -> dict[str, str]:
    return {PurePosixPath(str(one["image_name"])).stem: str(one["caption"]) for one in content}


def _coco_captions(content: dict[str, Any]) -> dict[str, str]:
    if "annotations" not in content:
        return {PurePosixPath(name).stem: str(caption) for name, caption in content.items()}
    stems = {one["id"]: PurePosixPath(str(one["file_name"])).stem for one in content["images"]}
    found: dict[str, str] = {}
    for one in sorted(content["annotations"], key=lambda one: one["id"]):
        found.setdefault(stems[one["image_id"]], str(one["caption"]))
    return found


def control_image(picture: np.ndarray, side: int) -> np.ndarray:
    """The edges of a picture's middle square, uint8 ``[side, side, 3]``.

    Args:
        picture: uint8 ``[H, W, 3]``.
        side: in pixels.

    Raises:
        PluginError: if OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise PluginError(
            "the published control images are edges by OpenCV; pip install 'lamofcbench[generation]'"
        ) from error
    height, width = picture.shape[:2]
    scale = side / min(height, width)
    size = (math.ceil(width * scale), math.ceil(height * scale))
    covering = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    top, left = (size[1] - side) // 2, (size[0] - side) // 2
    grey = cv2.cvtColor(covering[top : top + side, left : left + side], cv2.COLOR_RGB2GRAY)
    return np.repeat(cv2.Canny(grey, LOW, HIGH)[:, :, None], 3, axis=2)
