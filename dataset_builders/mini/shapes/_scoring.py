"""How well generated images follow their captions and their edges."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataset_builders.mini.shapes.edges import canny, edge_image
from dataset_builders.mini.shapes.features import ATTRIBUTES, load_features, read_attributes
from dataset_builders.mini.shapes.scenes import Part, Scene, draw, scenes
from lamofcbench.features import FeatureSet
from lamofcbench.models.sd3 import ControlledPrompt, SD3ControlNetSplitModel
from lamofcbench.scenarios.mini_ctti_shapes import MINI_CTTI_SHAPES

BATCH = 8


def generated(model: SD3ControlNetSplitModel, captioned: Sequence[Scene], drawn: Sequence[Scene]) -> NDArray[np.uint8]:
    """Images of some scenes' captions along others' edges, uint8 ``[N, 32, 32, 3]``; features are stored in fp16."""
    specs = MINI_CTTI_SHAPES.specs
    prompts = [
        ControlledPrompt(caption.caption, "", edge_image(draw(scene)), seed)
        for seed, (caption, scene) in enumerate(zip(captioned, drawn, strict=True))
    ]
    features: list[FeatureSet] = [model.front(prompt).cast(specs) for prompt in prompts]
    batches = [features[start : start + BATCH] for start in range(0, len(features), BATCH)]
    return np.stack([image for batch in batches for image in model.tail(batch)])


def attribute_accuracies(images: NDArray[np.uint8], expected: Sequence[Scene]) -> dict[str, float]:
    """The share of images whose attribute the feature network reads as expected, by attribute; and of all at once."""
    seen = read_attributes(load_features(), images)
    right = {
        name: [found[name] == getattr(scene, name) for found, scene in zip(seen, expected, strict=True)]
        for name in ATTRIBUTES
    }
    together = np.all(list(right.values()), axis=0)
    return {**{name: float(np.mean(values)) for name, values in right.items()}, "all": float(together.mean())}


def edge_agreement(images: NDArray[np.uint8], expected: Sequence[Scene]) -> float:
    """How well the images' edges are those expected: harmonic mean of precision and recall, one pixel apart or less."""
    hits = found = wanted = recalled = 0
    for image, scene in zip(images, expected, strict=True):
        edges, truth = canny(image) > 0, canny(draw(scene)) > 0
        hits += int((edges & _grown(truth)).sum())
        recalled += int((truth & _grown(edges)).sum())
        found += int(edges.sum())
        wanted += int(truth.sum())
    precision, recall = hits / max(found, 1), recalled / max(wanted, 1)
    return 2 * precision * recall / max(precision + recall, 1e-9)


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(mask, 1)
    height, width = mask.shape
    shifts = itertools.product(range(3), range(3))
    return np.any([padded[row : row + height, column : column + width] for row, column in shifts], axis=0)


def scores(folder: Path, part: Part, count: int) -> dict[str, float]:
    """Accuracies and edge agreement of a stored pipeline on a part's first pictures, with two baselines.

    The baselines are images of another picture's caption, or along another picture's edges, judged as before.

    Args:
        folder: of the pipeline.
        part: whose pictures.
        count: how many.
    """
    model = SD3ControlNetSplitModel.load(MINI_CTTI_SHAPES, folder, "cpu")
    chosen = list(itertools.islice(scenes(part), count))
    others = [*chosen[1:], chosen[0]]
    images = generated(model, chosen, chosen)
    miscaptioned, misdrawn = generated(model, others, chosen), generated(model, chosen, others)
    return {
        **attribute_accuracies(images, chosen),
        "edges": edge_agreement(images, chosen),
        "colour_of_other_caption": attribute_accuracies(miscaptioned, chosen)["colour"],
        "edges_of_other_edges": edge_agreement(misdrawn, chosen),
    }
