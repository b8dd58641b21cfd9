"""The side of the comparison that runs CompressAI 1.2.8; its environment is made by `compressai_comparison.py`.

The pipeline around the networks is the published one (arXiv 2506.16495): k-means indices / 256, zero padding at the
bottom and at the right to multiples of 64, one plane at a time.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from protocol import serve, timed
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/lamofcbench/codecs/learned"))
from reference_weights import reference_planes, reference_state

# torchvision's compiled part does not load beside a CPU build of torch; its Python part needs only that these exist.
_OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
for _operator in ("nms", "qnms"):
    _OPERATORS.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

warnings.simplefilter("ignore")
from compressai.entropy_models import EntropyBottleneck, EntropyModel, GaussianConditional  # noqa: E402
from compressai.models import Elic2022Official, ScaleHyperprior  # noqa: E402

MODELS: dict[str, Any] = {}
PIPELINE: dict[str, Any] = {}


def new_model(codec: str, channels: int, latent_channels: int) -> Any:
    """A network of CompressAI with its first and last convolution changed to one channel, as published."""
    model: Any = (ScaleHyperprior if codec == "hyperprior" else Elic2022Official)(N=channels, M=latent_channels)
    model.g_a[0] = nn.Conv2d(1, channels, 5, 2, 2)
    model.g_s[-1] = nn.ConvTranspose2d(channels, 1, 5, 2, 2, output_padding=1)
    return model.eval()


def make_model(codec: str, channels: int, latent_channels: int, planes: str, state: str, recipe: str, seed: int) -> Any:
    """Makes a network with random weights, scaled so that its latents spread, and writes its state and its recipe.

    The recipe, all that is needed to make the weights again from their names, is a file of the gains (as tensors of
    one element, under ``gain:NAME``) and of the weights that are not made from names.
    """
    model = MODELS[codec] = new_model(codec, channels, latent_channels)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict({**model.state_dict(), **reference_state(shapes, {}, {}, seed)})
    with torch.no_grad():
        calibration = Calibration(model, codec, load_file(planes)["planes"])
        calibration.run()
    model.update(force=True)
    save_file(model.state_dict(), state)
    gains = {f"gain:{name}": torch.tensor([gain]) for name, gain in calibration.gains.items()}
    save_file({**gains, **calibration.overrides}, recipe)
    return shapes


class Calibration:
    """Scales weights by powers of two, and sets biases, so that latents, scales and planes have a natural spread."""

    def __init__(self, model: Any, codec: str, planes: Tensor) -> None:
        self.model, self.codec, self.planes = model, codec, planes
        self.gains: dict[str, float] = {}
        self.overrides: dict[str, Tensor] = {}

    def run(self) -> None:
        """Goes through the network from the planes to the reconstruction."""
        model, prefix = self.model, "" if self.codec == "hyperprior" else "latent_codec.hyper."
        hyper = model if self.codec == "hyperprior" else model.latent_codec.hyper
        last = 6 if self.codec == "hyperprior" else 13
        self.gain(f"g_a.{last}.weight", lambda: model.g_a(self.planes).std(), 4.0)
        y = model.g_a(self.planes)
        hyper_input = y.abs() if self.codec == "hyperprior" else y
        self.gain(f"{prefix}h_a.4.weight", lambda: hyper.h_a(hyper_input).std(), 2.0)
        hyper.entropy_bottleneck._update_quantiles(search_radius=1e3)
        name = f"{prefix}entropy_bottleneck.quantiles"
        self.overrides[name] = (hyper.entropy_bottleneck.quantiles * 64).round() / 64
        hyper.entropy_bottleneck.quantiles.data = self.overrides[name]
        z_hat = hyper.entropy_bottleneck(hyper.h_a(hyper_input))[0]
        spreads = y.std(dim=(0, 2, 3))
        spreads[7::16] /= 4  # too narrow for what they code, so that symbols beyond the tables occur
        if self.codec == "hyperprior":
            self.gain("h_s.4.weight", lambda: model.h_s(z_hat).std(), float(spreads.mean()) / 8)
            self.bias("h_s.4.bias", spreads)
        else:
            self.elic_parameters(y, hyper.h_s(z_hat), spreads)
        y_hat = y.round()
        self.gain(f"g_s.{len(model.g_s) - 1}.weight", lambda: model.g_s(y_hat).std(), 0.125)
        self.bias(f"g_s.{len(model.g_s) - 1}.bias", torch.tensor([0.5]))

    def elic_parameters(self, y: Tensor, side: Tensor, spreads: Tensor) -> None:
        """Scales near the spread of each channel, means that are a fraction of it."""
        codec = self.model.latent_codec.y
        groups, decoded = self.model.groups, []
        for k, (part, spread) in enumerate(zip(y.split(groups, 1), spreads.split(groups), strict=True)):
            prefix = f"latent_codec.y.latent_codec.y{k}.entropy_parameters.4"
            context = codec._get_ctx_params(k, side, decoded)
            board = codec.latent_codec[f"y{k}"]
            merged = torch.cat([board.context_prediction(part.round()), context], 1)
            self.gain(f"{prefix}.weight", lambda b=board, m=merged: b.entropy_parameters(m).std(), spread.mean() / 8)
            self.bias(f"{prefix}.bias", torch.cat([spread, part.mean(dim=(0, 2, 3))]))
            decoded.append(part.round())

    def gain(self, name: str, spread: Any, target: float | Tensor) -> None:
        """Multiplies a weight by the power of two that brings a spread closest to its target."""
        gain = float(2.0 ** torch.log2(target / spread()).round())
        self.model.get_parameter(name).mul_(gain)
        self.gains[name] = gain

    def bias(self, name: str, values: Tensor) -> None:
        """Sets a bias, rounded so that it is written exactly."""
        self.overrides[name] = (values * 256).round() / 256
        self.model.get_parameter(name).copy_(self.overrides[name])


def load_model(codec: str, state: str) -> Any:
    """Loads the state of a network strictly; CompressAI's own `load_state_dict` resizes the tables."""
    tensors = load_file(state)
    latent = "g_a.6.weight" if codec == "hyperprior" else "g_a.13.weight"
    MODELS[codec] = new_model(codec, tensors["g_a.0.weight"].shape[0], tensors[latent].shape[0])
    return str(MODELS[codec].load_state_dict(tensors))


@dataclass
class Recorded:
    """What passes through the entropy models while a network compresses.

    Attributes:
        calls: the model, its symbols and its indexes, in order.
        margins: how far values were from being rounded to another integer, and scales, relatively, to another index.
    """

    calls: list[tuple[EntropyModel, Tensor, Tensor]] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)


@contextmanager
def recorded_symbols() -> Iterator[Recorded]:
    """Records what passes through every entropy model."""
    recorded = Recorded()
    compress, build_indexes = EntropyModel.compress, GaussianConditional.build_indexes

    def compress_recorded(self: EntropyModel, inputs: Tensor, indexes: Tensor, means: Tensor | None = None) -> Any:
        centred = inputs if means is None else inputs - means
        recorded.calls.append((self, self.quantize(inputs, "symbols", means), indexes))
        recorded.margins.append(float((centred - centred.floor() - 0.5).abs().min()))
        return compress(self, inputs, indexes, means)

    def build_indexes_recorded(self: GaussianConditional, scales: Tensor) -> Tensor:
        inner = scales[scales > 0.12][:, None]
        recorded.margins.append(float((inner / self.scale_table[1:-1] - 1).abs().min()))
        return build_indexes(self, scales)

    EntropyModel.compress, GaussianConditional.build_indexes = compress_recorded, build_indexes_recorded
    try:
        yield recorded
    finally:
        EntropyModel.compress, GaussianConditional.build_indexes = compress, build_indexes


@torch.no_grad()
def numbers(codec: str, planes: str, output: str) -> Any:
    """Writes all that is to be reproduced, and returns the bytes of the strings."""
    tensors, size, _ = all_numbers(codec, load_file(planes)["planes"])
    save_file(tensors, output)
    return size


def all_numbers(codec: str, inputs: Tensor) -> tuple[dict[str, Tensor], int, float]:
    """All that is to be reproduced, the bytes of the strings, and the smallest margin."""
    model = MODELS[codec]
    evaluated = model(inputs)
    with recorded_symbols() as recorded:
        compressed = model.compress(inputs)
    decoded = model.decompress(compressed["strings"], compressed["shape"])["x_hat"]
    ((_, z, _),) = [call for call in recorded.calls if isinstance(call[0], EntropyBottleneck)]
    parts = [call[1:] for call in recorded.calls if not isinstance(call[0], EntropyBottleneck)]
    tensors = {
        "z_symbols": z,
        "y_symbols": whole([p[0] for p in parts]),
        "y_indexes": whole([p[1] for p in parts]),
        "y_likelihoods": evaluated["likelihoods"]["y"],
        "z_likelihoods": evaluated["likelihoods"]["z"],
        "reconstruction": evaluated["x_hat"],
        "decoded": decoded,
    }
    size = sum(len(s) for group in compressed["strings"] for s in group)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}, size, min(recorded.margins)


@torch.no_grad()
def write_fixture(codec: str, shape: list[int], seeds: int, recipe: str, output: str) -> Any:
    """Writes a recipe and the numbers of the planes, of those of many seeds, that are farthest from any tie.

    So another machine's convolutions, which differ in their last bits, give the same integers.
    """
    results = {seed: all_numbers(codec, reference_planes(*shape, seed)) for seed in range(seeds)}
    seed = max(results, key=lambda n: results[n][2])
    tensors, size, margin = results[seed]
    small = {"z_symbols": torch.int16, "y_symbols": torch.int16, "y_indexes": torch.uint8}
    tensors = {name: tensor.to(small.get(name, tensor.dtype)) for name, tensor in tensors.items() if name != "decoded"}
    facts = {"shape": shape, "seed": seed, "bytes": size, "margin": margin}
    save_file({**load_file(recipe), **tensors}, output, {name: json.dumps(value) for name, value in facts.items()})
    return facts


def whole(parts: list[Tensor]) -> Tensor:
    """Latents in the order of channels and places: for ELIC, from the two halves of the checkerboard of each group."""
    if len(parts) == 1:
        return parts[0]
    board = next(m for m in MODELS["elic"].modules() if type(m).__name__ == "CheckerboardLatentCodec")
    return torch.cat([board.embed(torch.stack(pair)) for pair in zip(parts[::2], parts[1::2], strict=True)], 1)


def prepare(codec: str, features: str, points: str) -> Any:
    """Loads features, a 2-D float32 plane each, and the quantiser's points of each plane."""
    tables = load_file(points)
    planes = {name: (plane.float(), tables[name]) for name, plane in load_file(features).items()}
    PIPELINE.update(codec=codec, planes=planes)
    return sum(plane.numel() for plane, _ in planes.values())


@torch.no_grad()
def encode() -> Any:
    """Encodes all planes; the bytes are those of the strings."""
    model = MODELS[PIPELINE["codec"]]

    def work() -> dict[str, Any]:
        coded = {}
        for name, (plane, points) in PIPELINE["planes"].items():
            indices = (torch.searchsorted(points, plane, right=True) - 1).clamp_(min=0)
            height, width = plane.shape
            padded = nn.functional.pad(indices.float() / 256, (0, -width % 64, 0, -height % 64))
            coded[name] = (model.compress(padded[None, None]), (height, width))
        return coded

    PIPELINE["coded"], times = timed(work)
    size = sum(len(s) for coded, _ in PIPELINE["coded"].values() for group in coded["strings"] for s in group)
    return {**times, "bytes": size}


@torch.no_grad()
def decode() -> Any:
    """Decodes what was encoded last; the error is that of the features."""
    model = MODELS[PIPELINE["codec"]]

    def work() -> dict[str, Tensor]:
        decoded = {}
        for name, (coded, (height, width)) in PIPELINE["coded"].items():
            plane = model.decompress(coded["strings"], coded["shape"])["x_hat"][0, 0, :height, :width]
            decoded[name] = PIPELINE["planes"][name][1][(plane * 256).round().clamp(0, 255).long()]
        return decoded

    decoded, times = timed(work)
    errors = [((decoded[name] - plane) ** 2).mean().item() for name, (plane, _) in PIPELINE["planes"].items()]
    return {**times, "mse": sum(errors) / len(errors)}


if __name__ == "__main__":
    serve({task.__name__: task for task in (make_model, load_model, numbers, write_fixture, prepare, encode, decode)})
