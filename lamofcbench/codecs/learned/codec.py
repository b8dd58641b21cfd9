"""What the learned codecs share: quantiser, planes, network, entropy coding, and what of them is stored."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.kmeans import FIT_SAMPLES, Assignment, collect_values, kmeans_points
from lamofcbench.codecs.knowledge import Knowledge
from lamofcbench.codecs.learned.checkpoints import find_checkpoint, load_network
from lamofcbench.codecs.learned.folding import Packing
from lamofcbench.codecs.learned.latent_coders import LatentCoder, make_coder
from lamofcbench.codecs.learned.networks import LAMBDAS
from lamofcbench.codecs.learned.planes import LEVELS, IndexPlanes
from lamofcbench.codecs.learned.stored_state import network_from_state, state_of_network
from lamofcbench.codecs.published_tables import read_published_tables
from lamofcbench.codecs.sensitivity import Sensitivity
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import FeatureSet

POINTS = "points"
_HASHED = "sha256:"


@dataclass(frozen=True)
class LearnedParams:
    """Parameters of both learned codecs.

    Attributes:
        lmbda: the rate point: the weight of distortion in the training loss.
        weights: a file of weights, or a folder with ``<lmbda>.safetensors``, in place of the shipped ones: what
            ``lamofcbench train`` wrote, or a published ``.pth.tar`` checkpoint. Fitting replaces it by ``sha256:`` and
            the hash of the weights.
        packing: ``folded`` lets small and narrow planes share a canvas, ``published`` pads each with zeros to multiples
            of 64.
        assignment: of values to points, see `lamofcbench.codecs.kmeans.KmeansParams`.
        tables: path of a published ``mapping.json`` whose k-means tables are taken instead of fitting; fitting replaces
            it by ``sha256:`` and the hash of what was read.
        backbone: which of the mapping's backbones, needed with ``tables``.
    """

    lmbda: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    weights: str = ""
    packing: Packing = "folded"
    assignment: Assignment = "nearest"
    tables: str = ""
    backbone: str = ""


class LearnedCodec(Codec):
    """Codes the k-means indices of all tensors as images, with a network that was trained before.

    Fitting learns the quantiser's 256 points a tensor name, on the first ten calibration samples, and takes the
    network's weights and integer tables into the state; the network itself sees no sample of the scenario.
    """

    Params = LearnedParams
    rate_points = tuple({"lmbda": lmbda} for lmbda in sorted(LAMBDAS, reverse=True))
    needs_calibration = True
    revision = 2

    @property
    @abstractmethod
    def network_name(self) -> str:
        """The key in `lamofcbench.codecs.learned.networks.NETWORKS`."""

    def fit(self, calibration: Iterable[FeatureSet], sensitivity: Sensitivity | None = None) -> LearnedCodec:
        """A codec with points and weights; what identifies it is their content, not their paths."""
        fitted = super().fit(calibration, sensitivity)
        hashed: dict[str, Any] = {}
        if self.params.weights:
            weights = {name: tensor for name, tensor in fitted.state.items() if name != POINTS}
            hashed["weights"] = _HASHED + _digest(weights)
        if self.params.tables:
            hashed["tables"] = _HASHED + _digest({POINTS: fitted.state[POINTS]})
        return type(self)(self.specs, dataclasses.replace(self.params, **hashed), fitted.state)

    def learn(self, calibration: Iterable[FeatureSet]) -> Mapping[str, Tensor]:
        """``points``, float32 ``[tensors, 256]`` ascending, and the network's state dict under ``network.``."""
        for name in ("weights", "tables"):
            if str(getattr(self.params, name)).startswith(_HASHED):
                raise CodecError(f"the {name} of this codec were read from a file not named any more; give {name}=PATH")
        path = find_checkpoint(self.network_name, self.params.lmbda, self.params.weights)
        network = load_network(self.network_name, path)
        if self.params.tables:
            names = [spec.name for spec in self.specs.tensors]
            tables = read_published_tables(Path(self.params.tables).expanduser(), self.params.backbone, names)
            points = np.stack([tables[name] for name in names])
        else:
            values = collect_values(itertools.islice(iter(calibration), FIT_SAMPLES), len(self.specs.tensors))
            points = np.stack([kmeans_points(v, LEVELS) for v in values])
        return {POINTS: torch.from_numpy(points), **state_of_network(network)}

    def check_state(self) -> None:
        """Each tensor has finite ascending points, and the network's weights and tables fit together."""
        points = self.state[POINTS]
        ascending = bool(torch.isfinite(points).all()) and bool((points.diff(dim=1) >= 0).all())
        if tuple(points.shape) != (len(self.specs.tensors), LEVELS) or not ascending:
            raise CodecError(f"codec {self.name!r} has no {LEVELS} ascending points for each tensor")
        _ = self._coder

    @property
    def trained_on(self) -> Knowledge:
        """What the network was trained on: samples of other scenarios too, as far as anybody knows."""
        return "other data"

    @functools.cached_property
    def _planes(self) -> IndexPlanes:
        points = list(self.state[POINTS].float().numpy())
        return IndexPlanes(self.specs, points, self.params.assignment, self.params.packing)

    @functools.cached_property
    def _coder(self) -> LatentCoder:
        return make_coder(network_from_state(self.network_name, self.state))

    def __getstate__(self) -> dict[str, Any]:
        """Without what is made from the state, which is several times as large."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_planes", "_coder")}

    def encode_features(self, features: FeatureSet) -> bytes:
        """The latents of all canvases in one stream."""
        canvases = self._planes.canvases(features)
        return self._coder.encode(canvases) if canvases else b""

    def decode_features(self, payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        """The points of the decoded indices."""
        sizes = self._planes.layout(shapes).canvases
        if not sizes and payload:
            raise BitstreamError("bytes were coded for features that are empty")
        decoded = self._coder.decode(payload, sizes) if sizes else []
        return self._planes.tensors(decoded, shapes)

    def quantise_features(self, features: FeatureSet) -> Mapping[str, Tensor]:
        """Each value's point, before the network."""
        shapes = {name: tuple(tensor.shape) for name, tensor in features.tensors.items()}
        return self._planes.tensors(self._planes.canvases(features), shapes)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
