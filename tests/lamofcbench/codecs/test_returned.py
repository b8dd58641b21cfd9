"""What authors' methods may return: whatever can be meant is converted, anything else is one line."""

from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.saving import read_config
from lamofcbench.errors import BitstreamError, CodecError, LaMoFCBenchError
from lamofcbench.features import TORCH_DTYPES, FeatureSet
from lamofcbench.scenarios.base import DTypeName, FeatureSpecs, TensorSpec

STORED_DTYPES = get_args(DTypeName)
SHAPE = (2, 3)
VALUES = [[0.0, 1.0, -2.0], [0.5, 4.0, -8.0]]


def specs_of(dtype):
    return FeatureSpecs(tensors=(TensorSpec(name="x", role="hidden", shape=SHAPE, dtype=dtype),))


def features_of(dtype):
    return FeatureSet({"x": torch.tensor(VALUES, dtype=TORCH_DTYPES[dtype])})


def codec_returning(encoded=b"", decoded=None, dtype="float32", lossless=False, joins=False, learned=None):
    """A codec whose methods return what they are told to."""

    class Told(Codec):
        needs_calibration = learned is not None

        def learn(self, calibration):
            return learned()

        def quantise_features(self, features):
            return None if decoded is None else {"x": decoded()}

    if joins:
        Told.encode_features = lambda self, features: encoded
        Told.decode_features = lambda self, payload, shapes: decoded()
    else:
        Told.encode_tensor = lambda self, spec, tensor: encoded
        Told.decode_tensor = lambda self, spec, payload, shape: decoded()
    Told.lossless = lossless
    return Told(specs_of(dtype))


def coded(codec, dtype="float32"):
    return codec.decode(codec.encode(features_of(dtype)))["x"]


# ----------------------------------------------------------------------------------------------------------- decoding

VALUES_AS = {
    "float16": lambda: torch.tensor(VALUES).half(),
    "bfloat16": lambda: torch.tensor(VALUES).bfloat16(),
    "float32": lambda: torch.tensor(VALUES),
    "float64": lambda: torch.tensor(VALUES).double(),
    "float8_e4m3fn": lambda: torch.tensor(VALUES).to(torch.float8_e4m3fn),
    "float8_e5m2": lambda: torch.tensor(VALUES).to(torch.float8_e5m2),
    "float8_e4m3fnuz": lambda: torch.tensor(VALUES).to(torch.float8_e4m3fnuz),
    "a gradient": lambda: torch.tensor(VALUES, requires_grad=True),
    "a parameter": lambda: torch.nn.Parameter(torch.tensor(VALUES)),
    "a strided view": lambda: torch.tensor(VALUES).t().contiguous().t(),
    "an expanded view": lambda: torch.tensor(VALUES)[:, None].expand(2, 1, 3)[:, 0],
    "a negated view": lambda: torch._neg_view(torch.tensor(VALUES).neg()),
    "numpy": lambda: np.array(VALUES, np.float32),
    "numpy half": lambda: np.array(VALUES, np.float16),
    "numpy long double": lambda: np.array(VALUES, np.longdouble),
    "numpy big endian": lambda: np.array(VALUES, ">f4"),
    "numpy backwards": lambda: np.array(VALUES)[::-1, ::-1][::-1, ::-1],
    "numpy negative strides": lambda: np.array([row[::-1] for row in VALUES])[:, ::-1],
    "numpy in columns": lambda: np.asfortranarray(VALUES),
    "numpy read-only": lambda: np.frombuffer(np.array(VALUES, np.float32).tobytes(), np.float32).reshape(SHAPE),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", STORED_DTYPES)
@pytest.mark.parametrize("decoded", VALUES_AS.values(), ids=VALUES_AS)
def test_any_floating_tensor_or_array_is_cast_to_the_stored_dtype(decoded, dtype):
    for lossless in (False, True):
        tensor = coded(codec_returning(decoded=decoded, dtype=dtype, lossless=lossless), dtype)
        assert tensor.dtype is TORCH_DTYPES[dtype] and tensor.is_contiguous() and not tensor.requires_grad
        assert tensor.tolist() == VALUES


def test_a_numpy_scalar_is_a_tensor_of_no_axes():
    class Scalar(Codec):
        def encode_tensor(self, spec, tensor):
            return b""

        def decode_tensor(self, spec, payload, shape):
            return np.float32(3.0)

    specs = FeatureSpecs(tensors=(TensorSpec(name="x", role="other", shape=(), dtype="float16"),))
    codec = Scalar(specs)
    assert codec.decode(codec.encode(FeatureSet({"x": torch.tensor(1.0).half()})))["x"].item() == 3.0


@pytest.mark.parametrize(
    ("source", "dtype"),
    [
        *((torch.float64, dtype) for dtype in STORED_DTYPES),
        *((torch.float32, dtype) for dtype in ("float16", "bfloat16")),
        (torch.bfloat16, "float16"),
        (torch.float8_e5m2, "float16"),
    ],
)
def test_finite_values_beyond_the_stored_range_become_its_largest(source, dtype):
    def extremes():
        limits = torch.finfo(source)
        return torch.tensor([[limits.max, limits.min, 0.0]] * 2, dtype=torch.float64).to(source)

    tensor = coded(codec_returning(decoded=extremes, dtype=dtype), dtype)
    largest = min(torch.finfo(TORCH_DTYPES[dtype]).max, torch.finfo(source).max)
    assert tensor.tolist() == [[largest, -largest, 0.0]] * 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("source", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dtype", STORED_DTYPES)
def test_a_lossy_decode_that_is_not_finite_is_an_error_that_names_the_tensor(value, source, dtype):
    def decoded():
        return torch.tensor([[0.0, 1.0, value]] * 2).to(source)

    with pytest.raises(BitstreamError, match="codec 'told' decoded tensor 'x' to NaN or infinity"):
        coded(codec_returning(decoded=decoded, dtype=dtype), dtype)
    with pytest.raises(CodecError, match="codec 'told' quantised tensor 'x' to NaN or infinity"):
        codec_returning(decoded=decoded, dtype=dtype).quantised(features_of(dtype))
    tensor = coded(codec_returning(decoded=decoded, dtype=dtype, lossless=True), dtype)
    assert str(tensor[0, 2].item()) == str(value)


NOT_TENSORS = {
    "None": (lambda: None, "to None, not a tensor"),
    "a list": (lambda: VALUES, "to a list, not a tensor"),
    "integers": (
        lambda: torch.tensor(VALUES).int(),
        "to int32 values; return floating ones, which are kept as float32",
    ),
    "booleans": (
        lambda: torch.tensor(VALUES) > 0,
        "to bool values; return floating ones, which are kept as float32",
    ),
    "numpy integers": (lambda: np.array(VALUES).astype(np.int8), "to int8 values"),
    "numpy objects": (lambda: np.array(VALUES, object), "to numpy values of dtype 'object'"),
    "numpy text": (lambda: np.array([["a"] * 3] * 2), "to numpy values of dtype 'str32'"),
    "complex": (lambda: torch.tensor(VALUES).cfloat(), "to a complex tensor, not a real one"),
    "numpy complex": (lambda: np.array(VALUES, complex), "to numpy values of dtype 'complex128'"),
    "sparse": (lambda: torch.tensor(VALUES).to_sparse(), r"to a sparse tensor; call its to_dense\(\)"),
    "meta": (lambda: torch.empty(SHAPE, device="meta"), "to a meta tensor"),
    "another shape": (lambda: torch.tensor(VALUES).t(), r"to shape \[3, 2\], not \[2, 3\]"),
    "one axis more": (lambda: torch.tensor([VALUES]), r"to shape \[1, 2, 3\], not \[2, 3\]"),
}


@pytest.mark.parametrize(("decoded", "message"), NOT_TENSORS.values(), ids=NOT_TENSORS)
def test_anything_else_is_one_line_that_names_the_tensor(decoded, message):
    codec = codec_returning(decoded=decoded)
    with pytest.raises(BitstreamError, match=f"codec 'told' decoded tensor 'x' {message}") as caught:
        coded(codec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("decoded", "message"),
    [
        (lambda: None, "decoded the set to None, not to named tensors"),
        (lambda: [torch.zeros(SHAPE)], "decoded the set to a list, not to named tensors"),
        (lambda: {}, r"decoded the set to tensors \[\], not to \['x'\]"),
        (lambda: {"x": torch.zeros(SHAPE), 1: None}, r"decoded the set to tensors \['x', 1\], not to \['x'\]"),
        (lambda: {"x": None}, "decoded tensor 'x' to None"),
        (lambda: {"y" * 10_000: None}, "decoded the set to tensors"),
    ],
)
def test_a_decoded_set_must_be_the_named_tensors(decoded, message):
    with pytest.raises(BitstreamError, match=message) as caught:
        coded(codec_returning(decoded=decoded, joins=True))
    assert len(str(caught.value)) < 300


def test_decoded_tensors_share_no_memory_with_the_codec():
    buffer = torch.zeros(SHAPE)
    codec = codec_returning(decoded=lambda: buffer.add_(1.0))
    data = codec.encode(features_of("float32"))
    first, second = codec.decode(data)["x"], codec.decode(data)["x"]
    assert first.unique().item() == 1.0 and second.unique().item() == 2.0


@pytest.mark.parametrize("data", [None, "text", 3, [1]])
def test_what_is_decoded_must_be_bytes(data):
    codec = codec_returning(decoded=lambda: torch.zeros(SHAPE))
    with pytest.raises(BitstreamError, match="bitstream is bytes, not"):
        codec.decode(data)


def test_any_bytes_are_decoded():
    codec = codec_returning(decoded=lambda: torch.zeros(SHAPE))
    data = codec.encode(features_of("float32"))
    for kind in (bytearray, memoryview):
        assert codec.decode(kind(data))["x"].shape == SHAPE


# ----------------------------------------------------------------------------------------------------------- encoding


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: memoryview(data + data)[::2]])
def test_anything_bytes_like_is_a_payload(kind, joins):
    codec = codec_returning(kind(b"\5\5\5\5"), lambda: torch.zeros(SHAPE), joins=joins)
    [section] = codec._encode_sections(features_of("float32"))
    assert section == b"\5\5\5\5" and type(section) is bytes


@pytest.mark.parametrize(
    ("encoded", "kind"),
    [
        (None, "None"),
        ("text", "a str"),
        (3, "an int"),
        ([1, 2], "a list"),
        (np.zeros(3, np.uint8), r"a numpy array, not to bytes; call its tobytes\(\)"),
        (torch.zeros(3), "a Tensor"),
        ((b"", b""), "a tuple"),
    ],
)
def test_anything_else_is_one_line_that_names_the_codec_and_the_tensor(encoded, kind):
    with pytest.raises(CodecError, match=f"codec 'told' encoded tensor 'x' to {kind}"):
        codec_returning(encoded).encode(features_of("float32"))
    with pytest.raises(CodecError, match=f"codec 'told' encoded the set to {kind}"):
        codec_returning(encoded, joins=True).encode(features_of("float32"))


def test_what_a_method_raises_names_the_codec_the_tensor_and_the_line_of_its_file():
    class Failing(Codec):
        needs_calibration = True

        def learn(self, calibration):
            return {}["steps"]

        def encode_tensor(self, spec, tensor):
            raise RuntimeError("two\nlines")

    codec = Failing(specs_of("float32"), state={"steps": torch.ones(1)})
    place = r" \(test_returned\.py, line \d+\)$"
    with pytest.raises(CodecError, match=r"codec 'failing' cannot encode tensor 'x': RuntimeError: two" + place):
        codec.encode(features_of("float32"))
    with pytest.raises(
        CodecError, match=r"codec 'failing' cannot learn from calibration samples: KeyError: 'steps'" + place
    ):
        codec.fit([features_of("float32")])


def test_a_codec_without_methods_says_what_to_write():
    class Unwritten(Codec):
        pass

    with pytest.raises(CodecError, match="encode_tensor or encode_features"):
        Unwritten(specs_of("float32")).encode(features_of("float32"))


# ----------------------------------------------------------------------------------------------------------- learning


def fitted(learned):
    return codec_returning(decoded=lambda: torch.zeros(SHAPE), learned=learned).fit([features_of("float32")])


TIED = torch.arange(6.0).reshape(2, 3)

STATES = {
    "tied": (lambda: {"a": TIED, "b": TIED}, torch.float32, TIED.tolist()),
    "views of one": (lambda: {"a": TIED.view(2, 3), "b": TIED[0]}, torch.float32, TIED.tolist()),
    "strided": (lambda: {"a": TIED.t()}, torch.float32, TIED.t().tolist()),
    "a gradient": (lambda: {"a": TIED.clone().requires_grad_()}, torch.float32, TIED.tolist()),
    "numpy": (lambda: {"a": TIED.numpy()[::-1]}, torch.float32, TIED.flip(0).tolist()),
    "numpy big endian": (lambda: {"a": np.array([1, 2], ">i2")}, torch.int16, [1, 2]),
    "unsigned numpy": (lambda: {"a": np.array([2**64 - 1], np.uint64)}, torch.uint64, [2**64 - 1]),
    "a float": (lambda: {"a": 0.1}, torch.float64, 0.1),
    "a numpy float": (lambda: {"a": np.float32(0.5)}, torch.float32, 0.5),
    "an integer": (lambda: {"a": 3}, torch.int64, 3),
    "a bool": (lambda: {"a": True}, torch.bool, True),
    "float8": (lambda: {"a": torch.ones(2).to(torch.float8_e4m3fn)}, torch.float8_e4m3fn, [1.0, 1.0]),
    "an empty tensor": (lambda: {"a": torch.zeros(0, 3)}, torch.float32, []),
}


@pytest.mark.parametrize(("learned", "dtype", "values"), STATES.values(), ids=STATES)
def test_what_is_learned_is_stored_as_dense_tensors_of_their_own(learned, dtype, values, tmp_path):
    codec = fitted(learned)
    assert codec.state["a"].dtype is dtype and codec.state["a"].tolist() == values
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in codec.state.values())
    codec.save(tmp_path)
    assert type(codec).from_config(read_config(tmp_path), tmp_path).fingerprint == codec.fingerprint


def test_a_state_given_by_hand_is_saved_whatever_it_shares(tmp_path):
    class Held(Codec):
        needs_calibration = True

    Held(specs_of("float32"), state={"a": TIED, "b": TIED[0], "c": TIED.t()}).save(tmp_path)
    assert load_file(tmp_path / "model.safetensors")["c"].tolist() == TIED.t().tolist()


@pytest.mark.parametrize(
    ("learned", "message"),
    [
        (lambda: None, "has learned None; learn must return what to store"),
        (lambda: [torch.ones(1)], "has learned a list; learn must"),
        (lambda: {}, "has learned no tensors; learn must"),
        (lambda: {1: torch.ones(1)}, "a tensor named 1, which cannot be stored"),
        (lambda: {"\ud800": torch.ones(1)}, "which cannot be stored"),
        (lambda: {"__metadata__": torch.ones(1)}, "a tensor named '__metadata__', which cannot be stored"),
        (lambda: {"a": None}, "has learned 'a' as None, not a tensor"),
        (lambda: {"a": "text"}, "has learned 'a' as a str, not a tensor"),
        (lambda: {"a": [1.0]}, "has learned 'a' as a list, not a tensor"),
        (lambda: {"a": 2**70}, "has learned 'a' as numpy values of dtype 'object'"),
        (lambda: {"a": torch.tensor([1.0, float("nan")])}, "has learned 'a' as NaN or infinity"),
        (lambda: {"a": float("inf")}, "has learned 'a' as NaN or infinity"),
        (lambda: {"a": torch.tensor([float("nan")]).to(torch.float8_e5m2)}, "has learned 'a' as NaN or infinity"),
        (lambda: {"a": np.array([np.nan], np.float16)}, "has learned 'a' as NaN or infinity"),
        (lambda: {"a": torch.eye(2).to_sparse()}, r"has learned 'a' as a sparse tensor; call its to_dense\(\)"),
        (lambda: {"a": torch.eye(2).to_sparse_csr()}, "has learned 'a' as a sparse tensor"),
        (lambda: {"a": torch.ones(1).cfloat()}, "has learned 'a' as a complex tensor"),
        (lambda: {"a": torch.empty(1, device="meta")}, "has learned 'a' as a meta tensor"),
        (lambda: {"a": torch.ones(1, dtype=torch.float8_e8m0fnu)}, "float8_e8m0fnu, which a saved codec cannot hold"),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_a_state_that_is_not_finite_dense_and_real_is_one_line(learned, message):
    with pytest.raises(CodecError, match=message) as caught:
        fitted(learned)
    assert "codec 'told'" in str(caught.value) and "\n" not in str(caught.value)


def test_the_codecs_own_tensors_may_change_after_fitting():
    steps = torch.ones(2)
    codec = fitted(lambda: {"steps": steps})
    steps.fill_(7.0)
    assert codec.state["steps"].tolist() == [1.0, 1.0]


# ------------------------------------------------------------------------------------------------------------- naming


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "../up", "a\nb", "a\0b", " a", "a b", "a:b", "a=b", "-a"]
)
def test_names_that_are_no_folder_names_are_refused_at_definition(name):
    with pytest.raises(LaMoFCBenchError, match=r"Odd\.name is ") as caught:
        type("Odd", (Codec,), {"name": name})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [None, 3, "x" * 65, "ü" * 40, property(lambda self: "x")])
def test_names_that_are_no_short_text_are_refused_at_definition(name):
    with pytest.raises(LaMoFCBenchError, match=r"Odd\.name is ") as caught:
        type("Odd", (Codec,), {"name": name})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["a", "he-2022.elic+v2", "_private", "größe", "x" * 64])
def test_other_names_are_taken(name):
    assert type("Fine", (Codec,), {"name": name}).name == name
