"""Fréchet inception distance (Heusel et al., arXiv 1706.08500) between generated images and reference images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.base import Metric
from lamofcbench.errors import DataError, PluginError

Network = Callable[[Any], Any]
"""From uint8 images, a tensor ``[B, 3, h, w]``, to features, a tensor ``[B, D]``."""

MAX_REMEMBERED = 1024
ROUNDING = 1e-10


class FrechetInceptionDistance(Metric):
    """Distance of two Gaussians, fitted to the features of predictions and to those of references.

    With means m and unbiased covariances S it is ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))``. A single sample has
    no covariance and counts with its mean alone. Fewer samples than features are no obstacle to computing it, but the
    figure depends on their number: compare what has equal numbers of samples.

    Args:
        features: the network: ``inception`` is Inception-v3 as the published figures use it (the optional extra
            ``inception``; it fetches its weights at first use); ``shapes`` is the mini edition's own, whose features
            are standardised over its training pictures.
    """

    name = "fid"
    direction = "down"
    range = (0.0, 100.0)
    accepts = ("image",)

    def __init__(self, features: str = "inception") -> None:
        super().__init__(features=features)
        if features not in NETWORKS:
            raise DataError(f"no feature network {features!r} for the FID; there are {', '.join(NETWORKS)}")
        self.features = features
        self._remembered: dict[bytes, NDArray[np.float64]] = {}

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """The features of both images, float64 ``[D]``: ``prediction`` and ``reference``."""
        return {"prediction": self._features(prediction), "reference": self._features(reference)}

    def score(self, statistics: Mapping[str, np.ndarray]) -> float:
        """The distance between all predictions and all references."""
        return frechet_distance(statistics["prediction"], statistics["reference"])

    def _features(self, image: Any) -> NDArray[np.float64]:
        pixels = np.asarray(image)
        whole = pixels.dtype.kind in "ui" and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0
        if not whole or int(pixels.min()) < 0 or int(pixels.max()) > 255:
            raise DataError(f"the FID compares images, 0 to 255, [h, w, 3], not {pixels.dtype} {list(pixels.shape)}")
        pixels = np.ascontiguousarray(pixels, dtype=np.uint8)
        # The references come again with every codec, and a deep network takes its time.
        key = hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).digest()
        if key not in self._remembered:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = self._computed(pixels)
        return self._remembered[key]

    def _computed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        import torch

        with torch.no_grad():
            features = self._network(torch.from_numpy(pixels).permute(2, 0, 1)[None])
        computed: NDArray[np.float64] = features[0].double().cpu().numpy()
        return computed

    @cached_property
    def _network(self) -> Network:
        return NETWORKS[self.features]()


def frechet_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The squared Fréchet distance of the Gaussians fitted to two sets of vectors.

    The trace of the root of the covariances' product is the sum of the singular values of ``A1^T A2``, for any A with
    ``A A^T = S``. So no root of a nearly singular matrix is taken, and few samples do no harm.

    Args:
        first: ``[n, D]``.
        second: ``[n, D]``, as many.
    """
    means = first.mean(axis=0), second.mean(axis=0)
    distance = float(np.square(means[0] - means[1]).sum())
    count, size = first.shape
    if count < 2:
        return distance
    centred = [(vectors - mean) / np.sqrt(count - 1) for vectors, mean in zip((first, second), means, strict=True)]
    total = sum(float(np.square(vectors).sum()) for vectors in centred)
    if count > size:
        centred = [np.linalg.qr(vectors, mode="r") for vectors in centred]
    shared = float(np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum())
    apart = distance + total - 2 * shared
    # Equal sets differ by rounding alone, and that is no distance.
    return apart if apart > ROUNDING * (distance + total) else 0.0


def _inception() -> Network:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise PluginError(
            "the FID with Inception features needs an optional extra: pip install 'lamofcbench[inception]'"
        ) from error
    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    return lambda images: network(images)[0]


def _shapes() -> Network:
    import torch

    from dataset_builders.mini.shapes.features import load_features

    # In float64, so that scoring again on another machine gives the same figures.
    return load_features(dtype=torch.float64).standardised


NETWORKS: dict[str, Callable[[], Network]] = {"inception": _inception, "shapes": _shapes}
