"""Specs of one's own tensors, told from samples."""

import pytest
import torch

from lamofcbench.codecs.registry import CODECS
from lamofcbench.errors import ScenarioError, UnknownNameError
from lamofcbench.features import FeatureSet, check_features
from lamofcbench.scenarios.base import Axis
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
