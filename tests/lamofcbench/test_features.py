import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lamofcbench.errors import ScenarioError
from lamofcbench.features import (
    FeatureSet,
    all_finite,
    check_features,
    equal_bits,
    mosaic_grid,
    pack,
    plane_shape,
    tensor_bytes,
    unpack,
)
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def numbered(shape, dtype):
    """A tensor whose bits tell every element from its neighbours, NaN and infinities among them."""
    count = torch.Size(shape).numel()
    if dtype is torch.float32:
        return torch.arange(count, dtype=torch.int32).mul(0x01234567).view(dtype).reshape(shape)
    return torch.arange(count, dtype=torch.int16).mul(0x0123).view(dtype).reshape(shape)


def same_bits(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and tensor_bytes(a) == tensor_bytes(b)


# The layouts of the benchmark: role, a sample's shape, the shape of each plane, how many planes.
LAYOUTS = [
    ("hidden", (7, 4096), (7, 4096), 1),
    ("hidden", (2, 7, 40), (7, 40), 2),
    ("hidden", (3, 5, 40), (5, 40), 3),
    ("key", (8, 9, 128), (9, 1024), 1),
    ("value", (4, 9, 128), (9, 512), 1),
    ("ssm_state", (8192, 16), (8192, 16), 1),
    ("conv_state", (8192, 4), (8192, 4), 1),
    ("embedding", (77, 768), (77, 768), 1),
    ("pooled", (768,), (1, 768), 1),
    ("latent", (32, 16, 12), (64, 96), 1),
    ("latent", (16, 16, 12), (64, 48), 1),
    # Fewer axes than the role has: by the last two.
    ("key", (9, 128), (9, 128), 1),
    ("value", (9,), (1, 9), 1),
    ("latent", (16, 12), (16, 12), 1),
    ("key", (), (1, 1), 1),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("role", "shape", "plane", "count"), LAYOUTS)
def test_every_layout_is_exact_both_ways(role, shape, plane, count, dtype):
    tensor = numbered(shape, dtype)
    planes = pack(tensor, role)
    assert [tuple(p.shape) for p in planes] == [plane] * count
    assert plane_shape(role, shape) == plane
    assert all(p.dtype is dtype for p in planes)
    assert same_bits(unpack(planes, role, shape), tensor)


def test_heads_lie_side_by_side_in_a_cache_plane():
    tensor = numbered((3, 5, 4), torch.float32)
    [plane] = pack(tensor, "key")
    for head in range(3):
        assert same_bits(plane[:, 4 * head : 4 * head + 4], tensor[head])


@pytest.mark.parametrize(
    ("tiles", "grid"), [(32, (4, 8)), (16, (4, 4)), (1, (1, 1)), (7, (1, 7)), (12, (3, 4)), (0, (1, 0))]
)
def test_latents_are_a_mosaic(tiles, grid):
    assert mosaic_grid(tiles) == grid
    tensor = numbered((tiles, 3, 2), torch.float32)
    [plane] = pack(tensor, "latent")
    for tile in range(tiles):
        row, column = divmod(tile, grid[1])
        assert same_bits(plane[3 * row : 3 * row + 3, 2 * column : 2 * column + 2], tensor[tile])


ROLES = ["hidden", "embedding", "key", "value", "ssm_state", "conv_state", "pooled", "latent", "anything"]


@settings(deadline=None)
@given(role=st.sampled_from(ROLES), dtype=st.sampled_from(DTYPES), data=st.data())
def test_odd_shapes_are_exact_both_ways(role, dtype, data):
    least = 3 if role in ("key", "value", "latent") else 1
    shape = tuple(data.draw(st.lists(st.integers(0, 9), min_size=least, max_size=least + 2)))
    tensor = numbered(shape, dtype)
    planes = pack(tensor, role)
    assert all(tuple(p.shape) == plane_shape(role, shape) for p in planes)
    if planes:
        assert same_bits(unpack(planes, role, shape), tensor)
    else:
        assert tensor.numel() == 0


def test_packing_copies_nothing_it_can_view_and_changes_nothing():
    tensor = numbered((2, 5, 4), torch.float32)
    before = tensor_bytes(tensor)
    assert pack(tensor, "hidden")[0].data_ptr() == tensor.data_ptr()
    pack(tensor, "key")
    assert tensor_bytes(tensor) == before


def test_no_planes_of_an_empty_leading_axis_is_a_clear_error():
    assert pack(torch.zeros(0, 3, 4), "hidden") == []
    with pytest.raises(ValueError, match="empty leading axis"):
        unpack([], "hidden", (0, 3, 4))


# --------------------------------------------------------------------------------------------- the feature set

T = Axis(name="tokens", limit=100)
SPECS = FeatureSpecs(
    tensors=(
        TensorSpec(name="hidden", role="hidden", shape=(T, 4), dtype="float32"),
        TensorSpec(name="key.0", role="key", shape=(2, T, 3), dtype="bfloat16"),
    ),
    side=("height",),
)


def features(tokens=5, keys=None, dtype=torch.float32, side=None):
    tensors = {"hidden": torch.zeros(tokens, 4, dtype=dtype)}
    tensors["key.0"] = torch.zeros(2, tokens if keys is None else keys, 3, dtype=torch.bfloat16)
    return FeatureSet(tensors, {"height": 1} if side is None else side)


def test_features_that_match_give_the_sizes_of_ragged_axes():
    assert check_features(features(5), SPECS) == {"tokens": 5}
    assert check_features(features(0), SPECS) == {"tokens": 0}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (features(101), "'hidden'"),
        (features(5, keys=6), "'key.0'"),
        (features(dtype=torch.float64), "dtype"),
        (features(side={}), "side information"),
        (features(side={"height": 1, "width": 2}), "side information"),
        (FeatureSet({"hidden": torch.zeros(5, 4)}, {"height": 1}), "declares"),
        (FeatureSet(dict(reversed(features().tensors.items())), {"height": 1}), "in this order"),
        (FeatureSet({**features().tensors, "hidden": torch.zeros(5, 4, 1)}, {"height": 1}), "shape"),
    ],
)
def test_features_that_do_not_match_are_named(wrong, message):
    with pytest.raises(ScenarioError, match=message):
        check_features(wrong, SPECS)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
def test_one_value_that_is_not_finite_is_found_wherever_it_lies(dtype):
    values = torch.arange(-40.0, 41.0).to(dtype)
    assert all_finite(values) and all_finite(values[:0]) and all_finite(torch.zeros(3, 0, dtype=dtype))
    assert all_finite(torch.tensor([torch.finfo(dtype).max, torch.finfo(dtype).min], dtype=dtype))
    for value in (float("nan"), float("inf"), float("-inf")):
        for place in range(len(values)):
            odd = values.clone()
            odd[place] = value
            assert not all_finite(odd)
            assert not all_finite(torch.stack([values, odd], dim=1).t()[:, place : place + 1])


@pytest.mark.parametrize("value", [0, -(2**63), 2**63 - 1, np.int8(-3), np.uint64(7), torch.tensor(5)])
def test_side_information_is_integers_of_any_kind(value):
    side = FeatureSet({}, {"seed": value}).side
    assert side["seed"] == int(value) and type(side["seed"]) is int


@pytest.mark.parametrize(
    ("value", "message"),
    [
        *((value, "must be an integer") for value in (1.5, 1.0, np.float32(1), True, np.True_, None, "1", [1], 1j)),
        *((value, "must fit 64 bits") for value in (2**63, -(2**63) - 1, np.uint64(2**63))),
        pytest.param(10**5000, "must fit 64 bits", id="too long to be written"),
    ],
)
def test_side_information_that_is_no_integer_of_64_bits_is_named(value, message):
    with pytest.raises(ScenarioError, match=f"side information 'seed' is .*{message}") as caught:
        FeatureSet({"x": torch.zeros(1)}, {"seed": value})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.zeros((2, 3), np.float32), "tensor 'hidden' is ndarray; features are dense torch tensors"),
        (None, "tensor 'hidden' is NoneType"),
        (torch.zeros(2, 3).to_sparse(), "tensor 'hidden' is a torch.sparse_coo"),
    ],
)
def test_what_is_no_dense_tensor_is_named(tensor, message):
    specs = FeatureSpecs(tensors=(TensorSpec(name="hidden", role="hidden", shape=(2, 3), dtype="float32"),))
    with pytest.raises(ScenarioError, match=message):
        check_features(FeatureSet({"hidden": tensor}), specs)
    with pytest.raises(ScenarioError, match="features are a FeatureSet, not"):
        check_features({"hidden": tensor}, specs)


def test_elements_and_bits_are_sums_over_tensors():
    assert (features(5).elements, features(5).raw_bits) == (20 + 30, 20 * 32 + 30 * 16)


def test_cast_gives_stored_dtypes_in_order_and_contiguous():
    loose = FeatureSet({"key.0": torch.ones(5, 2, 3).transpose(0, 1), "hidden": torch.ones(5, 4).half()}, {"height": 1})
    stored = loose.cast(SPECS)
    assert list(stored) == ["hidden", "key.0"]
    assert stored["hidden"].dtype is torch.float32 and stored["key.0"].dtype is torch.bfloat16
    assert all(t.is_contiguous() for t in stored.tensors.values())
    check_features(stored, SPECS)


def test_feature_sets_cannot_be_rebound():
    sample = features()
    with pytest.raises(TypeError):
        sample.tensors["hidden"] = torch.zeros(1)
    with pytest.raises(TypeError):
        sample.side["height"] = 2


def test_bytes_of_a_tensor_do_not_depend_on_its_strides():
    tensor = numbered((4, 6), torch.bfloat16)
    assert tensor_bytes(tensor.t().contiguous().t()) == tensor_bytes(tensor)
    one = torch.stack([tensor, tensor], -1)[:1, :1, 0]  # contiguous by torch's rule, with a stride of two
    assert tensor_bytes(one) == tensor_bytes(tensor)[:2]
    assert tensor_bytes(torch.zeros(0, 3)) == b""


def test_tensors_of_other_bits_dtypes_or_shapes_are_not_equal():
    tensor = numbered((4, 6), torch.bfloat16)  # NaN among its values
    assert equal_bits(tensor, tensor.t().contiguous().t()) and equal_bits(torch.zeros(0, 3), torch.zeros(0, 3))
    for other in (-tensor, tensor.float(), tensor.t(), tensor[:3], tensor.to(torch.float16)):
        assert not equal_bits(tensor, other)


def test_a_clone_is_the_same_in_memory_of_its_own():
    sample = features()
    copy = sample.clone()
    assert list(copy) == list(sample) and copy.side == sample.side
    for name, tensor in sample.tensors.items():
        assert equal_bits(copy[name], tensor) and copy[name].data_ptr() != tensor.data_ptr()
