"""Which tensor of a published tree is which of a scenario's, in every spelling that the published files use.

========================  ==========================================================================================
tensor                    spellings; an item of a list or tuple is ``.0``, ``.1``, ... behind the list's key
========================  ==========================================================================================
``block.9``               ``backbone.blocks.9``, ``encoder.backbone.blocks.9``,
                          ``segmentation_model.0.backbone.blocks.9``, ``layer.9``
``key.0``, ``value.0``    ``key.0``, ``layer.0.k_cache``, ``model.layers.0.0``; of the split's layer
                          ``model.layers.4.1.0``
``ssm_state.0``, ...      ``ssm_state.0``, ``layer.0.ssm_state``
``hidden``                ``output``, ``layer.4.output``, ``model.layers.4.0``
``clip_l.pooled.*``, ...  ``text_encoder-item0.clip_pooled_prompt_embeds`` or ``.clip_pooled``
``vae_encoder.0``         ``vae.encoder.vae.encoder_f0``, ``vae.encoder_f0``
``latent``                ``vae.decoder``
========================  ==========================================================================================

A number may follow on ``vae.encoder`` and ``vae.decoder``, as ``-item6``. Files of features before coding are such a
tree; those after coding hold it as ``features``, beside ``metadata``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch

from dataset_builders.full.published.pickles import TensorRecord
from lamofcbench.errors import DataError, shown
from lamofcbench.features import TORCH_DTYPES
from lamofcbench.scenarios.base import Axis, Scenario, TensorSpec

MAX_NODES = 100_000
MAX_DEPTH = 8

_SHORTER = (torch.float16, torch.bfloat16)
_NUMBERED_VAE = re.compile(r"^(vae\.(?:en|de)coder)-item\d+")
_BLOCKS = ("backbone.blocks", "encoder.backbone.blocks", "segmentation_model.0.backbone.blocks", "layer")
_LAYERS = ("layer", "layers", "model.layers")
_CACHES = {"key": ("k_cache", 0), "value": ("v_cache", 1)}
_ENCODERS = {
    "clip_l": ("text_encoder-item{}", (0, 3)),
    "clip_g": ("text_encoder_2-item{}", (1, 4)),
    "t5": ("text_encoder_3-item{}", (2, 5)),
}
_EMBEDDINGS = {
    ("clip", "pooled"): ("clip_pooled_prompt_embeds", "clip_pooled"),
    ("clip", "hidden"): ("clip_prompt_embeds", "clip_prompt"),
    ("t5", "hidden"): ("t5_prompt_embeds", "t5_prompt"),
}


class PublishedSample(NamedTuple):
    """What one file holds.

    Attributes:
        tensors: by our names, in the scenario's order, without a leading axis of one sample.
        metadata: of features after coding; None where they are those before.
    """

    tensors: dict[str, TensorRecord]
    metadata: Mapping[str, Any] | None


def read_tree(tree: Any, scenario: Scenario) -> PublishedSample:
    """Finds a scenario's tensors in a published tree; what else is there is not looked at.

    Raises:
        DataError: naming the first tensor that is missing, found twice, or not as the scenario declares it.
    """
    if not isinstance(tree, dict):
        raise DataError(f"holds {shown(tree)} instead of a dict of tensors")
    metadata = None
    if "features" in tree:
        metadata = tree.get("metadata", {})
        if not isinstance(metadata, dict):
            raise DataError("holds metadata that are no dict")
        tree = tree["features"]
    leaves: dict[str, TensorRecord] = {}
    for path, record in _leaves(tree):
        path = _NUMBERED_VAE.sub(r"\1", path)
        if leaves.setdefault(path, record) is not record:
            raise DataError(f"holds {shown(path)} twice")
    found = {spec.name: _find(spec, scenario, leaves) for spec in scenario.tensors}
    sizes: dict[str, int] = {}
    return PublishedSample({spec.name: _fitting(spec, found[spec.name], sizes) for spec in scenario.tensors}, metadata)


def spellings(name: str, split: int) -> Iterator[str]:
    """The published names of one of our tensors.

    Args:
        name: ours.
        split: the layer after which a decoder is split, which has its output beside its caches.
    """
    stem, _, last = name.rpartition(".")
    if name == "hidden":
        yield "output"
        yield f"layer.{split}.output"
        yield from (f"{layers}.{split}.0" for layers in _LAYERS)
    elif name == "latent":
        yield "vae.decoder"
    elif stem == "block":
        yield from (f"{blocks}.{last}" for blocks in _BLOCKS)
    elif stem in _CACHES:
        cache, place = _CACHES[stem]
        yield name
        yield f"layer.{last}.{cache}"
        yield from (f"{layers}.{last}.{'1.' if int(last) == split else ''}{place}" for layers in _LAYERS)
    elif stem in ("ssm_state", "conv_state"):
        yield name
        yield f"layer.{last}.{stem}"
    elif stem == "vae_encoder":
        yield f"vae.encoder.vae.encoder_f{last}"
        yield f"vae.encoder_f{last}"
    elif name.count(".") == 2:
        encoder, kind, prompt = name.split(".")
        pattern, items = _ENCODERS[encoder]
        key = pattern.format(items[prompt == "negative"])
        yield from (f"{key}.{embedding}" for embedding in _EMBEDDINGS[encoder.partition("_")[0], kind])


def _leaves(tree: Any) -> Iterator[tuple[str, TensorRecord]]:
    """The tensors of a tree by their paths. A pickle may refer to one list from many places, so nodes are counted."""
    waiting: list[tuple[str, Any, int]] = [("", tree, 0)]
    for _ in range(MAX_NODES):
        if not waiting:
            return
        path, node, depth = waiting.pop()
        if isinstance(node, TensorRecord):
            yield path, node
        elif isinstance(node, dict | list | tuple):
            if depth == MAX_DEPTH:
                raise DataError(f"nests dicts and lists more than {MAX_DEPTH} deep")
            items = node.items() if isinstance(node, dict) else enumerate(node)
            if len(node) > MAX_NODES:
                break
            waiting += [(f"{path}.{key}" if path else str(key), item, depth + 1) for key, item in items]
    raise DataError("holds more entries than any sample")


def _find(spec: TensorSpec, scenario: Scenario, leaves: Mapping[str, TensorRecord]) -> TensorRecord:
    known = list(spellings(spec.name, scenario.splits[0] if scenario.splits else 0))
    paths = [path for key in known for path in (key, f"{key}.0") if path in leaves and f"{key}.1" not in leaves]
    if not paths:
        there = ", ".join(sorted(leaves)) or "no tensor"
        raise DataError(f"holds no tensor {spec.name!r} ({' or '.join(known[:2])}); it holds {shown(there, 200)}")
    if len(paths) > 1:
        raise DataError(f"holds tensor {spec.name!r} twice, as {' and '.join(map(shown, paths[:2]))}")
    return leaves[paths[0]]


def _fitting(spec: TensorSpec, record: TensorRecord, sizes: dict[str, int]) -> TensorRecord:
    """The record with the shape that the scenario declares."""
    if len(record.shape) == len(spec.shape) + 1 and record.shape[0] == 1:
        record = TensorRecord(record.storage, record.offset, record.shape[1:], record.stride[1:])
    fits = len(record.shape) == len(spec.shape) and all(
        sizes.setdefault(axis.name, size) == size <= axis.limit if isinstance(axis, Axis) else size == axis
        for axis, size in zip(spec.shape, record.shape, strict=True)
    )
    dtype = record.storage.dtype
    exact = dtype is TORCH_DTYPES[spec.dtype] or (spec.dtype == "float32" and dtype in _SHORTER)
    if not fits or not exact:
        shape = ", ".join(f"{n.name}<={n.limit}" if isinstance(n, Axis) else str(n) for n in spec.shape)
        raise DataError(
            f"holds tensor {spec.name!r} as {str(dtype).removeprefix('torch.')} {list(record.shape)}; the scenario "
            f"declares {spec.dtype} [{shape}]"
        )
    return record
