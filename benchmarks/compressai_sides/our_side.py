"""The side of the comparison that runs this repository's codecs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from protocol import serve, timed
from safetensors.torch import load_file, save_file
from samples import specs_of
from torch import Tensor

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.learned.latent_coders import make_coder
from lamofcbench.codecs.learned.networks import NETWORKS
from lamofcbench.codecs.registry import load_saved, make_codecs
from lamofcbench.features import FeatureSet, pack
from lamofcbench.scenarios.base import FeatureSpecs

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/lamofcbench/codecs/learned"))
from coded_integers import coded_integers

PIPELINE: dict[str, Any] = {}


def new_state(codec: str, channels: int, latent_channels: int, state: str) -> Any:
    """Writes the state of a new network, for the other side to load."""
    network = NETWORKS[codec](channels, latent_channels)
    network.update_tables()
    save_file(network.state_dict(), state)


@torch.no_grad()
def numbers(codec: str, state: str, planes: str, output: str) -> Any:
    """Writes what the other side's `numbers` writes, and returns the bytes of the payload."""
    weights, inputs = load_file(state), load_file(planes)["planes"]
    evaluated = NETWORKS[codec].from_state_dict(weights)(inputs)
    coder = make_coder(NETWORKS[codec].from_state_dict(weights))
    integers, payload = coded_integers(coder, inputs)
    batch, _, height, width = inputs.shape
    decoded = coder.decode(payload, [(batch, height, width)])[0].clamp(0, 1)
    tensors = {
        "y_likelihoods": evaluated.likelihoods["y"],
        "z_likelihoods": evaluated.likelihoods["z"],
        "reconstruction": evaluated.reconstruction,
        "decoded": decoded.reshape(inputs.shape),
        **integers,
    }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, output)
    return len(payload)


def prepare(
    codec: str, state: str, layout: str, features: str, planes: str, points: str, settings: str, folder: str
) -> Any:
    """Makes a codec for a layout, fitted to its features, and saves it; writes planes and points for the other side."""
    specs = specs_of(layout)
    sample = read_sample(specs, features)
    (made,) = make_codecs(f"{codec}:weights={state},{settings}", specs)
    fitted: Codec = made.fit([sample])
    fitted.save(folder)
    PIPELINE.update(codec=fitted, sample=sample)
    packed = {spec.name: pack(sample[spec.name], spec.role) for spec in specs.tensors}
    save_file({f"{n}/{i}": plane.contiguous() for n, parts in packed.items() for i, plane in enumerate(parts)}, planes)
    tables = points_of(fitted)
    save_file({f"{n}/{i}": tables[n].clone() for n, parts in packed.items() for i in range(len(parts))}, points)
    return sample.elements


def load_codec(folder: str, layout: str, features: str) -> Any:
    """Loads a saved codec and a sample."""
    PIPELINE.update(codec=load_saved(folder), sample=read_sample(specs_of(layout), features))


def read_sample(specs: FeatureSpecs, features: str) -> FeatureSet:
    """A feature set from its file."""
    tensors = load_file(features)
    return FeatureSet({spec.name: tensors[spec.name] for spec in specs.tensors})


def points_of(codec: Codec) -> Mapping[str, Tensor]:
    """The quantiser's points of each tensor name."""
    points = codec.state["points"].float()
    return {spec.name: row for spec, row in zip(codec.specs.tensors, points, strict=True)}


def encode() -> Any:
    """Encodes the sample; the bytes are those of the whole bitstream."""
    PIPELINE["coded"], times = timed(lambda: PIPELINE["codec"].encode(PIPELINE["sample"]))
    return {**times, "bytes": len(PIPELINE["coded"])}


def decode() -> Any:
    """Decodes what was encoded last; the error is that of the features, the mean over planes."""
    decoded, times = timed(lambda: PIPELINE["codec"].decode(PIPELINE["coded"]))
    errors = [((decoded[name] - tensor) ** 2).mean().item() for name, tensor in PIPELINE["sample"].tensors.items()]
    return {**times, "mse": sum(errors) / len(errors)}


if __name__ == "__main__":
    serve({task.__name__: task for task in (new_state, numbers, prepare, load_codec, encode, decode)})
