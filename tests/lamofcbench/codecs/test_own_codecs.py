"""Codecs from a user's own file, SPECs, saving and loading."""

import json
import textwrap

import numpy as np
import pytest
import torch

from lamofcbench.codecs import conformance
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.calibration import as_float32
from lamofcbench.codecs.quantising import Quantiser
from lamofcbench.codecs.rans.words import LANES_FROM
from lamofcbench.codecs.registry import CODECS, load_saved, make_codecs, parse_codec_spec
from lamofcbench.codecs.saving import CONFIG_FILE
from lamofcbench.codecs.uniform import UniformCodec
from lamofcbench.errors import BitstreamError, CodecError, PluginError, UnknownNameError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

SOURCE = '''
import dataclasses
import numpy as np
import torch
from lamofcbench.codecs.base import Codec


@dataclasses.dataclass(frozen=True)
class Params:
    step: float = 0.5


class MyCodec(Codec):
    """Rounds to multiples of a step, 32 bits each."""

    Params = Params
    rate_points = ({"step": 0.1}, {"step": 1.0})

    def encode_tensor(self, spec, tensor):
        limit = 2.0**31 - 1
        return np.rint(tensor.double().numpy() / self.params.step).clip(-limit, limit).astype("<i4").tobytes()

    def decode_tensor(self, spec, payload, shape):
        return torch.from_numpy(np.frombuffer(payload, "<i4") * self.params.step).reshape(shape)
'''


@pytest.fixture
def my_codec(tmp_path):
    file = tmp_path / "my_codec.py"
    file.write_text(SOURCE)
    return file


def test_a_codec_in_a_users_own_file_runs_with_no_registration(my_codec):
    [codec] = make_codecs(f"{my_codec}:MyCodec:step=0.25", conformance.SPECS)
    features = conformance.make_sample("typical", 6, 1)
    decoded = codec.decode(codec.encode(features))
    assert codec.name == "my" and codec.params.step == 0.25
    assert (decoded["hidden"] - features["hidden"]).abs().max() <= 0.125


def test_without_parameters_its_ladder_runs(my_codec):
    codecs = make_codecs(f"{my_codec}:MyCodec", conformance.SPECS)
    assert [codec.params.step for codec in codecs] == [0.1, 1.0]


def test_it_passes_the_conformance_suite_that_its_author_can_call(my_codec):
    conformance.check_codec(CODECS.get(f"{my_codec}:MyCodec"), {"step": 0.1})


def test_it_is_saved_with_its_source_which_runs_only_when_trusted(my_codec, tmp_path):
    [codec] = make_codecs(f"{my_codec}:MyCodec:step=0.25", conformance.SPECS)
    data = codec.encode(conformance.make_sample("typical", 3, 0))
    folder = codec.save(tmp_path / "saved")
    my_codec.unlink()
    with pytest.raises(CodecError, match="trust-code"):
        load_saved(folder)
    loaded = load_saved(folder, trust_code=True)
    assert conformance.digest(loaded.decode(data)) == conformance.digest(codec.decode(data))
    [again] = make_codecs(str(folder), conformance.SPECS, trust_code=True)
    assert again.fingerprint == codec.fingerprint


def test_changed_source_is_another_codec(my_codec):
    [before] = make_codecs(f"{my_codec}:MyCodec:step=0.25", conformance.SPECS)
    data = before.encode(conformance.make_sample("typical", 3, 0))
    my_codec.write_text(SOURCE + "\n# better\n")
    [after] = make_codecs(f"{my_codec}:MyCodec:step=0.25", conformance.SPECS)
    with pytest.raises(BitstreamError, match="another codec"):
        after.decode(data)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("unifrom", UnknownNameError, "did you mean 'uniform'"),
        ("no/such/file.py:MyCodec", PluginError, "no file"),
        ("uniform:stp=1", CodecError, "did you mean 'step'"),
        ("uniform:step=1,step=2", CodecError, "step=2"),
        *(
            (f"{name}:step={step}", CodecError, "greater than 0")
            for name in ("uniform", "channel", "klt")
            for step in (0, -1)
        ),
        ("uniform:step=", CodecError, "step"),
        ("uniform:=1", CodecError, "key=value"),
        ("kmeans:points=1", CodecError, "points"),
        ("kmeans:assignment=furthest", CodecError, "nearest"),
        ("", UnknownNameError, "unknown codec ''; `lamofcbench codecs` lists the"),
        ("./nosaved", UnknownNameError, "`lamofcbench codecs` lists the .* a saved folder"),
        ("identity:x=1", CodecError, "unknown parameter"),
    ],
)
def test_wrong_specs_end_with_one_clear_line(spec, error, message):
    with pytest.raises(error, match=message) as caught:
        make_codecs(spec, conformance.SPECS)
    assert "\n" not in str(caught.value)


def test_wrong_names_in_a_users_file_list_what_is_there(my_codec):
    with pytest.raises(UnknownNameError, match="did you mean 'MyCodec'"):
        make_codecs(f"{my_codec}:MyCodek", conformance.SPECS)
    with pytest.raises(PluginError, match="not a concrete subclass of Codec"):
        make_codecs(f"{my_codec}:Params", conformance.SPECS)


def test_spec_text_is_parsed_into_id_and_parameters():
    assert parse_codec_spec("kmeans:tables=a/b.json,backbone=qwen").params == {"tables": "a/b.json", "backbone": "qwen"}
    assert parse_codec_spec("./dir.d/my.py:Mine:step=0.1").id == "./dir.d/my.py:Mine"
    assert parse_codec_spec("org/name").params is None


def test_saved_codec_has_no_parameters_and_one_scenario(tmp_path):
    folder = conformance.fitted(CODECS.get("uniform")).save(tmp_path / "saved")
    with pytest.raises(CodecError, match="fixed"):
        make_codecs(f"{folder}:step=1", conformance.SPECS)
    other = FeatureSpecs(tensors=conformance.SPECS.tensors)
    with pytest.raises(CodecError, match="other tensors"):
        make_codecs(str(folder), other)


@pytest.mark.parametrize("config", ["", "[]", "{}", '{"codec": "uniform"}', "null"])
def test_folders_that_are_no_codec_are_refused(tmp_path, config):
    (tmp_path / CONFIG_FILE).write_text(config)
    with pytest.raises(CodecError, match="no saved codec"):
        load_saved(tmp_path)


def test_saved_config_is_readable_and_names_everything(tmp_path):
    codec = conformance.fitted(CODECS.get("channel"), {"step": 0.2})
    config = json.loads((codec.save(tmp_path) / CONFIG_FILE).read_text())
    assert config["codec"] == "channel" and config["codec_params"] == {"step": 0.2}
    assert FeatureSpecs.model_validate(config["feature_specs"]) == codec.specs
    assert config["fingerprint"] == codec.fingerprint.hex()


def test_codec_with_changed_state_and_adapted_fingerprint_is_still_checked(tmp_path):
    codec = conformance.fitted(CODECS.get("uniform"))
    hostile = type(codec)(
        codec.specs, codec.params, {**codec.state, "frequencies": torch.zeros(1, 3, dtype=torch.int32)}
    )
    hostile.save(tmp_path)
    with pytest.raises(CodecError, match="table"):
        load_saved(tmp_path)


def test_every_registered_codec_documents_itself():
    for codec_class in CODECS:
        assert codec_class.__doc__ and codec_class.rate_points
        assert codec_class.paper.startswith("https://") or codec_class.name in ("identity", "mean")
        for point in codec_class.rate_points:
            codec_class.make_params({key: str(value) for key, value in point.items()})  # as the command line gives it


# ------------------------------------------------------------------------------------- what the base class adds

TOKENS = Axis(name="tokens", limit=4096)
LAYERS, HEADS, DIM, WIDTH = 5, 4, 16, 64
KV_SET = FeatureSpecs(
    tensors=(
        *(
            TensorSpec(name=f"{role}.{layer}", role=role, shape=(HEADS, TOKENS, DIM), dtype="bfloat16")
            for role in ("key", "value")
            for layer in range(LAYERS)
        ),
        TensorSpec(name="hidden", role="hidden", shape=(TOKENS, WIDTH), dtype="bfloat16"),
    )
)


class FixedRateToy(Codec):
    """A per-tensor codec that sends a byte a value."""

    def encode_tensor(self, spec, tensor):
        return bytes(tensor.numel())

    def decode_tensor(self, spec, payload, shape):
        return torch.zeros(shape)


class VariableRateToy(FixedRateToy):
    """A per-tensor codec whose sections differ as those of entropy-coded layers do: by a tenth between tensors."""

    def encode_tensor(self, spec, tensor):
        rate = 0.5 * np.exp(np.random.default_rng(sum(spec.name.encode())).normal(0, 0.1))
        return bytes(int(rate * tensor.numel()))


def kv_sample(tokens):
    return FeatureSet({s.name: torch.zeros(s.sized({"tokens": tokens}), dtype=torch.bfloat16) for s in KV_SET.tensors})


@pytest.mark.parametrize("tokens", [1, 20, 300, 4000])
def test_container_of_eleven_tensors_takes_24_bytes_at_a_fixed_rate(tokens):
    codec = FixedRateToy(KV_SET)
    features = kv_sample(tokens)
    assert len(codec.encode(features)) - features.elements <= conformance.OVERHEAD_BYTES


@pytest.mark.parametrize(("tokens", "limit"), [(10, 24), (30, 26), (300, 32)])
def test_container_of_eleven_tensors_at_a_variable_rate_takes_what_their_lengths_need(tokens, limit):
    codec = VariableRateToy(KV_SET)
    features = kv_sample(tokens)
    assert len(codec.encode(features)) - sum(map(len, codec._encode_sections(features))) <= limit


@pytest.mark.parametrize("step", [0.1, 1.0, 6.0])
@pytest.mark.parametrize("tokens", [1, 20, 300])
def test_container_and_the_end_of_the_stream_take_at_most_nine_bytes_together(tokens, step):
    generator = np.random.default_rng(tokens)

    def normal(size):
        shapes = {name: tuple(tensor.shape) for name, tensor in kv_sample(size).tensors.items()}
        return FeatureSet({n: torch.from_numpy(generator.normal(size=s)).bfloat16() for n, s in shapes.items()})

    samples = [normal(size) for size in (tokens, 10, 15, 20)]
    codec = UniformCodec(KV_SET, {"step": step}).fit(samples[1:])
    bits = 0.0
    for tensor, own_step, table in zip(samples[0].tensors.values(), codec._steps, codec._tables, strict=True):
        tokens_of_tensor = Quantiser.plain(own_step).tokens(as_float32(tensor).reshape(1, -1))
        bits += (24 - np.log2(table.frequencies[tokens_of_tensor.symbols])).sum()
        bits += sum(width * len(values) for width, values in tokens_of_tensor.extras)
    data = codec.encode(samples[0])
    # 14 bits of precision cost a long stream a little, and four lanes, which large ones have, twelve bytes.
    assert len(data) <= np.ceil(bits / 8 * 1.0003) + (9 if len(data) < LANES_FROM else 21)


def test_values_beyond_the_stored_dtype_are_clamped_to_its_largest():
    class TooLarge(Codec):
        def encode_features(self, features):
            return b""

        def decode_features(self, payload, shapes):
            return {name: torch.full(shape, 1e38, dtype=torch.float64) for name, shape in shapes.items()}

    specs = FeatureSpecs(
        tensors=(
            TensorSpec(name="half", role="pooled", shape=(2,), dtype="float16"),
            TensorSpec(name="brain", role="pooled", shape=(2,), dtype="bfloat16"),
        )
    )
    codec = TooLarge(specs)
    decoded = codec.decode(
        codec.encode(FeatureSet({"half": torch.zeros(2).half(), "brain": torch.zeros(2).bfloat16()}))
    )
    assert decoded["half"].tolist() == [65504.0] * 2 and torch.isfinite(decoded["brain"]).all()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return {name: torch.zeros(1, 1) for name in shapes}", "decoded tensor 'half' to shape"),
        ("raise RuntimeError('odd')", "cannot decode the set: RuntimeError: odd"),
        ("return {}", "half"),
    ],
)
def test_failing_decoders_are_bitstream_errors(body, message):
    namespace: dict = {}
    source = f"""
    class Broken(Codec):
        def encode_features(self, features):
            return b""

        def decode_features(self, payload, shapes):
            {body}
    """
    exec(textwrap.dedent(source), {"Codec": Codec, "torch": torch}, namespace)
    specs = FeatureSpecs(tensors=(TensorSpec(name="half", role="pooled", shape=(2,), dtype="float16"),))
    codec = namespace["Broken"](specs)
    with pytest.raises(BitstreamError, match=message):
        codec.decode(codec.encode(FeatureSet({"half": torch.zeros(2).half()})))


def test_claims_of_billions_of_elements_are_refused_at_once():
    axes = [Axis(name=name, limit=2**24) for name in ("a", "b")]
    codec = FixedRateToy(
        FeatureSpecs(tensors=(TensorSpec(name="x", role="hidden", shape=tuple(axes), dtype="float32"),))
    )
    with pytest.raises(BitstreamError, match="elements"):
        codec.decode(conformance.craft(codec, (2**24, 2**24), [b""]))
