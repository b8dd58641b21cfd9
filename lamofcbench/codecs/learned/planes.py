"""Feature sets as planes of k-means indices, and back.

Each tensor name has a table of 256 points; a plane holds ``index / 256`` in [0, 1). Decoded planes are rounded to the
nearest index again, as the published pipeline does (arXiv 2506.16495).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lamofcbench.codecs.kmeans import Assignment, Points, Quantiser
from lamofcbench.codecs.learned.folding import CanvasLayout, Packing
from lamofcbench.features import FeatureSet, pack, plane_shape, unpack
from lamofcbench.scenarios.base import FeatureSpecs, TensorSpec

LEVELS = 256


class IndexPlanes:
    """Turns the feature sets of one scenario into canvases and back.

    Args:
        specs: of the tensors.
        points: of each tensor in the specs' order, float32 ``[256]`` ascending.
        assignment: how values get their point, see `lamofcbench.codecs.kmeans.KmeansParams`.
        packing: how planes lie on canvases, see `lamofcbench.codecs.learned.folding`.
    """

    def __init__(self, specs: FeatureSpecs, points: Sequence[Points], assignment: Assignment, packing: Packing) -> None:
        self._specs, self._packing = specs, packing
        self._quantisers = [Quantiser(row, assignment) for row in points]

    def layout(self, shapes: Mapping[str, tuple[int, ...]]) -> CanvasLayout:
        """Where the planes of tensors of these shapes lie."""
        planes = [shape for spec in self._specs.tensors for shape in _plane_shapes(spec, shapes[spec.name])]
        return CanvasLayout(planes, self._packing)

    def canvases(self, features: FeatureSet) -> list[Tensor]:
        """Batches of canvases, float32 ``[B, 1, H, W]`` in [0, 1)."""
        planes: list[Tensor] = []
        for spec, quantiser in zip(self._specs.tensors, self._quantisers, strict=True):
            tensor = features[spec.name]
            if tensor.numel():
                planes += pack(torch.from_numpy(quantiser.indices(tensor)).to(torch.uint8), spec.role)
        layout = self.layout({name: tuple(tensor.shape) for name, tensor in features.tensors.items()})
        return [canvas.unsqueeze(1).float().div_(LEVELS) for canvas in layout.fill(planes)]

    def tensors(self, canvases: Sequence[Tensor], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """The tensors of reconstructed canvases, float32; any values, even NaN, give points."""
        indices = [
            torch.nan_to_num(canvas.squeeze(1) * LEVELS).round_().clamp_(0, LEVELS - 1).to(torch.uint8)
            for canvas in canvases
        ]
        planes = iter(self.layout(shapes).cut(indices))
        tensors = {}
        for spec, quantiser in zip(self._specs.tensors, self._quantisers, strict=True):
            shape = shapes[spec.name]
            own = [next(planes) for _ in _plane_shapes(spec, shape)]
            points = torch.from_numpy(quantiser.points)
            tensors[spec.name] = points[unpack(own, spec.role, shape).int()] if own else torch.zeros(shape)
        return tensors


def _plane_shapes(spec: TensorSpec, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    elements = math.prod(shape)
    if not elements:
        return []
    height, width = plane_shape(spec.role, shape)
    return [(height, width)] * (elements // (height * width))
