"""Rows: what describes the same thing stands side by side, whatever it is called."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs.rotary import with_positions
from lamofcbench.codecs.transform.rows import row_groups
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import SCENARIOS, Axis, FeatureSpecs, TensorSpec

T, V = Axis(name="tokens", limit=100), Axis(name="views", limit=9)


def spec(name, role, *shape, **more):
    return TensorSpec(name=name, role=role, shape=shape, dtype="float32", **more)


def groups(*tensors):
    return [[member.name for member in group.specs] for group in row_groups(FeatureSpecs(tensors=tensors))]


def test_all_that_a_token_leaves_is_one_row():
    cache = spec("a", "key", 2, T, 8), spec("b", "value", 2, T, 8)
    assert groups(*cache, spec("c", "hidden", T, 16), spec("d", "embedding", T, 3)) == [["a", "b", "c", "d"]]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (spec("a", "hidden", T, 4), spec("b", "hidden", V, 4)),
        (spec("a", "hidden", T, 4), spec("b", "hidden", V, T, 4)),
        (spec("a", "embedding", 12, 4), spec("b", "embedding", 77, 4)),
        (spec("a", "latent", 4, 8, 8), spec("b", "hidden", 8, 8, 4)),
        (spec("a", "pooled", 4), spec("b", "ssm_state", 8, 4)),
        (spec("a", "ssm_state", 8, 4), spec("b", "ssm_state", 8, 4)),  # channel 3 of one layer is not that of another
    ],
)
def test_rows_of_different_things_stand_apart(first, second):
    assert groups(first, second) == [["a"], ["b"]]


def test_halves_of_a_guidance_pair_are_joined():
    assert groups(spec("a", "latent", 4, 8, 8), spec("p", "pooled", 7), spec("b", "latent", 4, 8, 8)) == [
        ["a", "b"],
        ["p"],
    ]


@pytest.mark.parametrize("id", ["mini-clu-facts", "mini-clu-facts-mamba", "mini-cvu-scenes", "mini-ctti-shapes"])
def test_scattering_undoes_gathering(id):
    specs = SCENARIOS.get(id).specs
    generator = torch.Generator().manual_seed(0)
    sizes = {axis.name: 5 for axis in specs.axes}
    tensors = {s.name: torch.randn(s.sized(sizes), generator=generator) for s in specs.tensors}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    again = {}
    for group in row_groups(specs):
        rows = group.gather(FeatureSet(tensors))
        assert rows.shape == (int(np.prod(group.row_shape(shapes))), group.width)
        again |= group.scatter(rows, shapes)
    for name, tensor in tensors.items():
        assert torch.allclose(again[name], tensor, atol=1e-5), name


def test_keys_are_gathered_as_they_were_before_their_rotation():
    group = row_groups(FeatureSpecs(tensors=(spec("k", "key", 2, T, 8, rotary_base=100.0),)))[0]
    still = np.broadcast_to(np.arange(16, dtype=np.float32).reshape(2, 1, 8), (2, 30, 8))
    rows = group.gather(FeatureSet({"k": torch.from_numpy(with_positions(still, 100.0))}))
    assert np.allclose(rows, np.arange(16), atol=1e-4)


@pytest.mark.parametrize("shape", [(), (4,), (0, 4), (3, 0), (T, 4, V), (T,)])
@pytest.mark.parametrize("role", ["hidden", "key", "latent", "conv_state", "strange"])
def test_odd_shapes_have_rows_too(role, shape):
    specs = FeatureSpecs(tensors=(spec("x", role, *shape),))
    tensor = torch.rand(specs["x"].sized({"tokens": 3, "views": 2}))
    group = row_groups(specs)[0]
    back = group.scatter(group.gather(FeatureSet({"x": tensor})), {"x": tuple(tensor.shape)})
    assert back["x"].shape == tensor.shape and torch.equal(back["x"], tensor)
