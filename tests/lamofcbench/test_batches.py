"""Ragged feature sets become a padded batch with lengths, and come back as they were."""

from __future__ import annotations

import functools

import pytest
import torch
from torch.utils.data import DataLoader

from lamofcbench.batches import collate, separate
from lamofcbench.errors import ScenarioError
from lamofcbench.features import FeatureSet, equal_bits
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

ROWS, COLUMNS = Axis(name="rows", limit=8), Axis(name="columns", limit=8)
SPECS = FeatureSpecs(
    tensors=(
        TensorSpec(name="key.0", role="key", shape=(2, ROWS, 3), dtype="bfloat16"),
        TensorSpec(name="map", role="latent", shape=(4, ROWS, COLUMNS), dtype="float32"),
        TensorSpec(name="pooled", role="pooled", shape=(5,), dtype="float32"),
    ),
    side=("seed",),
)


def sample(rows: int, columns: int, seed: int) -> FeatureSet:
    tensors = {
        "key.0": torch.randn(2, rows, 3).bfloat16(),
        "map": torch.randn(4, rows, columns),
        "pooled": torch.randn(5),
    }
    return FeatureSet(tensors, {"seed": seed})


SAMPLES = [sample(2, 5, 7), sample(4, 1, -1), sample(0, 3, 2**40)]


@pytest.mark.parametrize("padding", ["left", "right"])
def test_what_was_collated_comes_back(padding):
    batch = collate(SAMPLES, SPECS, padding=padding)
    for before, after in zip(SAMPLES, separate(batch, SPECS), strict=True):
        assert all(equal_bits(before[name], after[name]) for name in before) and before.side == after.side


@pytest.mark.parametrize("padding", ["left", "right"])
def test_padding_is_zero_and_told_by_masks(padding):
    batch = collate(SAMPLES, SPECS, padding=padding)
    assert batch.tensors["map"].shape == (3, 4, 4, 5) and batch.tensors["pooled"].shape == (3, 5)
    assert batch.lengths["rows"].tolist() == [2, 4, 0] and batch.mask("rows").sum(1).tolist() == [2, 4, 0]
    inside = batch.mask("rows")[:, None, :, None] & batch.mask("columns")[:, None, None, :]
    assert not batch.tensors["map"][~inside.expand_as(batch.tensors["map"])].any()
    assert batch.mask("rows")[0].tolist() == [padding == "right"] * 2 + [padding == "left"] * 2


def test_a_data_loader_takes_it():
    loader = DataLoader(SAMPLES, batch_size=2, collate_fn=functools.partial(collate, specs=SPECS))
    assert [len(batch.tensors["pooled"]) for batch in loader] == [2, 1]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ScenarioError, match="one feature set at least"):
        collate([], SPECS)
    with pytest.raises(ScenarioError, match="tensor 'map' has shape"):
        collate([sample(2, 9, 0)], SPECS)
