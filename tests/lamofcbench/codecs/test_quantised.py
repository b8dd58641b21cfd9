"""`Codec.quantised`: the features after the quantiser alone, for codecs that can tell."""

import pytest
import torch

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.conformance import digest, fitted
from lamofcbench.codecs.conformance_samples import SPECS, test_samples
from lamofcbench.codecs.kmeans import KmeansCodec
from lamofcbench.codecs.uniform import UniformCodec
from lamofcbench.errors import CodecError


def test_a_codec_that_codes_its_indices_losslessly_loses_to_the_quantiser_alone():
    codec = fitted(KmeansCodec, {"points": 8})
    for what, features in test_samples():
        before = digest(features)
        assert digest(codec.quantised(features)) == digest(codec.decode(codec.encode(features))), what
        assert digest(features) == before


def test_by_default_a_codec_cannot_tell():
    _, features = next(iter(test_samples()))
    assert fitted(UniformCodec, {"step": 0.5}).quantised(features) is None


def test_an_unfitted_codec_refuses():
    _, features = next(iter(test_samples()))
    with pytest.raises(CodecError, match="fit"):
        KmeansCodec(SPECS).quantised(features)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda tensors: {name: tensor[None] for name, tensor in tensors.items()},
            r"tensor 'hidden' to shape \[1, 0, 24\], not \[0, 24\]",
        ),
        (lambda tensors: dict(list(tensors.items())[1:]), "quantised the set to tensors"),
    ],
)
def test_other_tensors_than_were_given_are_refused(change, message):
    class BrokenCodec(Codec):
        def quantise_features(self, features):
            return change(dict(features.tensors))

    _, features = next(iter(test_samples()))
    with pytest.raises(CodecError, match=message):
        BrokenCodec(SPECS).quantised(features)


def test_values_are_cast_to_the_stored_dtype_without_overflow():
    class LoudCodec(Codec):
        def quantise_features(self, features):
            return {name: torch.full(t.shape, 1e38) for name, t in features.tensors.items()}

    _, features = next(iter(test_samples()))
    for name, tensor in LoudCodec(SPECS).quantised(features).tensors.items():
        assert tensor.dtype == features[name].dtype
        assert torch.isfinite(tensor).all()
