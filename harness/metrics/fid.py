"""Fréchet inception distance (Heusel et al., arXiv 1706.08500) between generated images and reference images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from harness.metrics.base import Metric
from lamofcbench.errors import DataError, PluginError

Network = Callable[[Any], Any]
"""From uint8 images, a tensor ``[B, 3, h, w]``, to features, a tensor ``[B, D]``."""

MAX_REMEMBERED = 1024
"""Images whose features are kept."""

MAX_KEPT_BYTES = 256 * 2**20
"""What the fits of the references' draws may take."""

ROUNDING = 1e-10
SMALL = 256
"""Features up to which a matrix is small for a library that spreads it over threads."""


class FrechetInceptionDistance(Metric):
    """Distance of two Gaussians, fitted to the features of predictions and to those of references.

    With means m and unbiased covariances S it is ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))``. A single sample has
    no covariance and counts with its mean alone. Fewer samples than features are no obstacle to computing it, but the
    figure depends on their number: compare what has equal numbers of samples.

    Args:
        features: the network: ``inception`` is Inception-v3 as the published figures use it (the optional extra
            ``inception``; it fetches its weights at first use); ``shapes`` is the mini edition's own, whose features
            are standardised over its training pictures.
        side: the height and width to which both images are resized before the network sees them, by Pillow's bicubic
            filter on bytes; None for the images as they are. The published figures have 299.
    """

    name = "fid"
    direction = "down"
    range = (0.0, 100.0)
    accepts = ("image",)

    def __init__(self, features: str = "inception", side: int | None = None) -> None:
        super().__init__(features=features, side=side)
        if side is not None and (isinstance(side, bool) or not isinstance(side, int) or side < 1):
            raise DataError(f"fid: side is {side!r}; give a number of pixels, or None")
        self.side = side
        if features not in NETWORKS:
            raise DataError(f"no feature network {features!r} for the FID; there are {', '.join(NETWORKS)}")
        self.features = features
        self._remembered: dict[bytes, NDArray[np.float64]] = {}
        self._kept: tuple[bytes, list[Gaussian]] | None = None

    def check_reference(self, reference: Any) -> None:
        """Raises DataError for a reference that is no image."""
        try:
            _pixels(reference)
        except DataError as error:
            raise DataError(f"the reference is no image: {error}") from error

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """The features of both images, float64 ``[D]``: ``prediction`` and ``reference``."""
        return {"prediction": self._features(prediction), "reference": self._features(reference)}

    def score(self, statistics: Mapping[str, np.ndarray]) -> float:
        """The distance between all predictions and all references."""
        with _few_threads(statistics["prediction"]):
            return frechet_distance(statistics["prediction"], statistics["reference"])

    def score_draws(self, statistics: Mapping[str, np.ndarray], indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """The distance of each draw, about the score.

        A draw repeats samples, so its covariances have fewer directions and its distance is larger than that of the
        samples themselves, by as much as a codec may cost. How far draws scatter is what they tell; their mean is moved
        to the score (the bootstrap's estimate of bias, taken away; Efron and Tibshirani, An Introduction to the
        Bootstrap, chapter 10).
        """
        with _few_threads(statistics["prediction"]):
            references = self._fit_references(statistics["reference"], indices)
            pairs = zip(_fit_draws(statistics["prediction"], indices), references, strict=True)
            draws = np.array([distance(*pair) for pair in pairs], dtype=np.float64)
        return draws - draws.mean() + self.score(statistics) if len(draws) else draws

    def _fit_references(self, features: NDArray[np.float64], indices: NDArray[np.int64]) -> Iterable[Gaussian]:
        """The fit of each draw, kept where memory allows: the references come again with every codec."""
        fits, (samples, size) = _fit_draws(features, indices), features.shape
        if 8 * len(indices) * min(samples, size) * size > MAX_KEPT_BYTES:
            return fits
        key = hashlib.sha256(features.tobytes() + indices.tobytes()).digest()
        if self._kept is None or self._kept[0] != key:
            self._kept = key, list(fits)
        return self._kept[1]

    def _features(self, image: Any) -> NDArray[np.float64]:
        pixels = _pixels(image)
        # The references come again with every codec, and a deep network takes its time.
        key = hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).digest()
        if key not in self._remembered:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = self._computed(pixels)
        return self._remembered[key]

    def _computed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        import torch

        if self.side is not None:
            pixels = _resized(pixels, self.side)
        with torch.no_grad():
            features = self._network(torch.from_numpy(pixels).permute(2, 0, 1)[None])
        computed: NDArray[np.float64] = features[0].double().cpu().numpy()
        return computed

    @cached_property
    def _network(self) -> Network:
        return NETWORKS[self.features]()


def _pixels(image: Any) -> NDArray[np.uint8]:
    """An image as it is compared, uint8 ``[h, w, 3]``, in one piece."""
    pixels = np.asarray(image)
    whole = pixels.dtype.kind in "ui" and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0
    if not whole or int(pixels.min()) < 0 or int(pixels.max()) > 255:
        raise DataError(f"the FID compares images, 0 to 255, [h, w, 3], not {pixels.dtype} {list(pixels.shape)}")
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def _resized(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An image, uint8 ``[h, w, 3]``, as uint8 ``[side, side, 3]``."""
    from PIL import Image

    return np.array(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


def _few_threads(features: NDArray[np.float64]) -> threadpool_limits:
    """One thread for small matrices, on which several wait for each other more than they compute."""
    return threadpool_limits(1 if features.shape[1] <= SMALL else None, "blas")


class Gaussian(NamedTuple):
    """A normal distribution in D dimensions.

    Attributes:
        mean: ``[D]``.
        root: ``[K, D]``, any matrix with ``root^T root`` the covariance.
    """

    mean: NDArray[np.float64]
    root: NDArray[np.float64]


def fit(vectors: NDArray[np.float64], counts: NDArray[np.int64] | None = None) -> Gaussian:
    """The Gaussian of the vectors' mean and unbiased covariance; a single vector's covariance is zero.

    Args:
        vectors: ``[n, D]``.
        counts: how often each vector is in the set, ``[n]``; once where None.
    """
    rows, size = vectors.shape
    counts = np.ones(rows, dtype=np.int64) if counts is None else counts
    count = int(counts.sum())
    mean = counts @ vectors / count
    centred = np.sqrt(counts / max(count - 1, 1))[:, None] * (vectors - mean)
    root: NDArray[np.float64] = np.asarray(np.linalg.qr(centred, mode="r")) if rows > size else centred
    return Gaussian(mean, root)


def _fit_draws(features: NDArray[np.float64], indices: NDArray[np.int64]) -> Iterator[Gaussian]:
    """The Gaussian of each draw; a sample that is drawn again counts again, but is factored once."""
    for chosen in indices:
        rows, counts = np.unique(chosen, return_counts=True)
        yield fit(features[rows], counts)


def distance(first: Gaussian, second: Gaussian) -> float:
    """The squared Fréchet distance of two Gaussians.

    The trace of the root of the covariances' product is the sum of the singular values of ``A1 A2^T``, for any A with
    ``A^T A = S``. So no root of a nearly singular matrix is taken, and few samples do no harm.
    """
    apart = float(np.square(first.mean - second.mean).sum())
    spread = float(np.square(first.root).sum() + np.square(second.root).sum())
    shared = float(np.linalg.svd(first.root @ second.root.T, compute_uv=False).sum())
    # Equal sets differ by rounding alone, and that is no distance.
    found = apart + spread - 2 * shared
    return found if found > ROUNDING * (apart + spread) else 0.0


def frechet_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The squared Fréchet distance of the Gaussians fitted to two sets of vectors, ``[n, D]`` each."""
    return distance(fit(first), fit(second))


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
