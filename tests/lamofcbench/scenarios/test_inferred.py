"""Specs of one's own tensors, told from samples."""

import pytest
import torch

from lamofcbench.codecs.registry import CODECS
from lamofcbench.errors import ScenarioError, UnknownNameError
from lamofcbench.features import FeatureSet, check_features
from lamofcbench.scenarios.base import LONGEST_AXIS, Axis
from lamofcbench.scenarios.inferred import infer_specs


def sample(tokens, patches=4, dtype=torch.float32):
    tensors = {
        "key.0": torch.randn(2, tokens, 8, dtype=dtype),
        "patches": torch.randn(patches, 6),
        "pooled": torch.randn(5),
        "hidden": torch.randn(tokens, 16),
    }
    return FeatureSet(tensors, {"seed": tokens})


def test_sizes_that_differ_are_ragged_and_equal_ones_one_axis():
    specs = infer_specs([sample(3), sample(7)])
    tokens = Axis(name="tokens", limit=28)
    assert [spec.shape for spec in specs.tensors] == [(2, tokens, 8), (4, 6), (5,), (tokens, 16)]
    assert [spec.role for spec in specs.tensors] == ["key", "hidden", "pooled", "hidden"]
    assert specs.side == ("seed",) and check_features(sample(28), specs) == {"tokens": 28}


def test_several_axes_have_names_of_their_own_and_limits_are_as_given():
    specs = infer_specs([sample(3, 4), sample(7, 5)], limits={"axis0": 100}, roles={"patches": "latent"})
    assert [(axis.name, axis.limit) for axis in specs.axes] == [("axis0", 100), ("axis1", 20)]
    assert specs["patches"].role == "latent"


def test_a_codec_is_fitted_on_ones_own_tensors():
    samples = [sample(tokens) for tokens in range(4, 12)]
    codec = CODECS.get("uniform")(infer_specs(samples), {"step": 0.01}).fit(samples)
    decoded = codec.decode(codec.encode(sample(9)))
    assert decoded["hidden"].shape == (9, 16) and decoded.side == {"seed": 9}


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        ([], "one sample at least"),
        ([sample(3), sample(3).select(["hidden"])], "hold the same tensors"),
        ([sample(3), sample(3, dtype=torch.bfloat16)], "'key.0' has another dtype"),
        ([sample(3, dtype=torch.float64)], r"'key\.0' is torch\.float64; features are float32"),
    ],
)
def test_samples_that_tell_no_specs_are_refused(samples, why):
    with pytest.raises(ScenarioError, match=why):
        infer_specs(samples)


def test_a_rotary_base_is_of_keys():
    specs = infer_specs([sample(3), sample(7)], rotary_base=1e4)
    assert [spec.rotary_base for spec in specs.tensors] == [1e4, None, None, None]
    named = infer_specs([sample(3), sample(7)], roles={"key.0": "value", "patches": "key"}, rotary_base=5e5)
    assert [spec.rotary_base for spec in named.tensors] == [None, 5e5, None, None]


@pytest.mark.parametrize(
    ("roles", "base", "why"),
    [
        ({}, 1.0, "a rotary base of 1.0 cannot be declared: rotary_base: Input should be greater than 1"),
        ({}, float("nan"), "a rotary base of nan cannot be declared: rotary_base: Input should be"),
        ({}, "many", "a rotary base of 'many' cannot be declared: rotary_base: Input should be a valid number"),
        ({"pooled": "key"}, 1e4, r"cannot be declared: tensor 'pooled': only keys \[..., T, D\] with an even D"),
        ({"key.0": "hidden"}, 1e4, "no tensor has that role; give it by roles"),
    ],
)
def test_a_rotary_base_that_no_key_may_have_is_refused(roles, base, why):
    with pytest.raises(ScenarioError, match=why):
        infer_specs([sample(3), sample(7)], roles=roles, rotary_base=base)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"roles": {"keys.0": "key"}}, "unknown tensor 'keys.0'; did you mean 'key.0'"),
        ({"limits": {"axis0": 9}}, "unknown ragged axis 'axis0'; known: tokens"),
    ],
)
def test_roles_and_limits_of_what_is_not_there_are_refused(named, message):
    with pytest.raises(UnknownNameError, match=message):
        infer_specs([sample(3), sample(7)], **named)


@pytest.mark.parametrize(
    ("names", "options", "why"),
    [
        (["Hidden State"], {}, "tensor 'Hidden State' cannot be declared: name: "),
        (["model.layers[3]"], {}, r"tensor 'model\.layers\[3\]' cannot be declared: name: "),
        (["hidden"], {"roles": {"hidden": "My Role"}}, "tensor 'hidden' cannot be declared: role: "),
        (["hidden"], {"limits": {"tokens": 0}}, "axis 'tokens' is limited to 0, and a sample has 5"),
        (["hidden"], {"limits": {"tokens": 4}}, "axis 'tokens' is limited to 4, and a sample has 5"),
        (["hidden"], {"limits": {"tokens": 2**40}}, "axis 'tokens' cannot be declared: limit: "),
    ],
)
def test_what_cannot_be_declared_is_told_in_a_line(names, options, why):
    samples = [FeatureSet({name: torch.zeros(tokens, 4) for name in names}) for tokens in (3, 5)]
    with pytest.raises(ScenarioError, match=f"^{why}"):
        infer_specs(samples, **options)


def test_headroom_ends_where_axes_do():
    samples = [FeatureSet({"hidden": torch.zeros(tokens, 1, dtype=torch.float16)}) for tokens in (3, 2**22 + 1)]
    (axis, _) = infer_specs(samples)["hidden"].shape
    assert axis.limit == LONGEST_AXIS
