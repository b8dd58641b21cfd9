"""One batch: what becomes of decoded features that are not finite, and of codecs that write to what they are given."""

import pytest
import torch

from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.digests import digest
from lamofcbench.errors import BitstreamError, NonFiniteError, PluginError
from lamofcbench.features import FeatureSet


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("is_lossless", [True, False])
def test_a_decode_that_is_not_finite_is_an_error_that_names_sample_and_tensor(make_runner, toy, value, is_lossless):
    class Broken(IdentityCodec):
        lossless = is_lossless

        def decode_tensor(self, spec, payload, shape):
            values = super().decode_tensor(spec, payload, shape).clone()
            if spec.name == "key.0" and shape[1] == 4:
                values[1, 2, 3] = float(value)
            return values

    runner = make_runner()
    # A lossy codec is never given NaN, so its own contract refuses it; of a lossless one the original has to tell.
    error = NonFiniteError if is_lossless else BitstreamError
    done = "decodes 1 of 32 values of" if is_lossless else "decoded"
    message = rf"sample 2 \(test-2\): codec 'broken' {done} tensor 'key.0' to NaN or infinity"
    with pytest.raises(error, match=message):
        runner.run_codec(Broken(toy.specs))
    assert not list(runner.settings.results.rglob("result.json"))


@pytest.fixture
def pipeline(make_runner, toy, tmp_path):
    codec = IdentityCodec(toy.specs)
    return make_runner().pipeline(codec, codec.save(tmp_path / "codec"))


def test_what_was_not_finite_before_may_come_back_so(pipeline):
    before, after = torch.zeros(2, 8), torch.zeros(2, 8)
    before[0, 0], before[1, 1] = float("nan"), float("inf")
    after[0, 0], after[1, 1] = float("nan"), float("nan")
    errors = pipeline._squared_errors(0, FeatureSet({"hidden": before}), FeatureSet({"hidden": after}))
    assert str(errors["hidden"]) == "nan"


def test_not_a_number_elsewhere_than_before_is_an_error(pipeline):
    before, after = torch.zeros(2, 8), torch.zeros(2, 8)
    before[0, 0] = after[0, 0] = after[0, 1] = float("nan")
    with pytest.raises(NonFiniteError, match="decodes 1 of 16 values of tensor 'hidden'"):
        pipeline._squared_errors(0, FeatureSet({"hidden": before}), FeatureSet({"hidden": after}))


def by_torch(tensor):
    tensor.div_(4).round_().mul_(4)


def by_numpy(tensor):
    values = tensor.view(torch.uint8).numpy()
    values[:] = values & 0xF0


@pytest.mark.parametrize("quantise", [by_torch, by_numpy])
def test_a_codec_that_writes_to_what_it_encodes_is_refused_and_the_next_one_reads_what_is_stored(
    make_runner, toy, quantise
):
    class InPlace(IdentityCodec):
        """Its error would be none, as it would be compared with what it wrote."""

        def encode_tensor(self, spec, tensor):
            if spec.name == "hidden":
                quantise(tensor)
            return super().encode_tensor(spec, tensor)

    runner = make_runner(limit=4)
    stored = runner.test.features(0).clone()
    message = r"sample 0 \(test-0\): codec 'in-place' changes tensor 'hidden' as it encodes; write to a clone of it"
    with pytest.raises(PluginError, match=message):
        runner.run_codec(InPlace(toy.specs))
    assert digest(runner.test.features(0)) == digest(stored)
    coded = runner.run_codec(IdentityCodec(toy.specs)).folder / "bitstreams/0.bin"
    assert coded.read_bytes() == IdentityCodec(toy.specs).encode(stored)


def test_a_first_quantiser_may_write_to_what_it_is_given(make_runner, toy):
    class Rounds(IdentityCodec):
        def quantise_features(self, features):
            return {name: tensor.round_() for name, tensor in features.tensors.items()}

    result = make_runner(limit=4).run_codec(Rounds(toy.specs)).result
    assert result.mse == 0 and result.tensors["hidden"].quantiser_mse > 0
