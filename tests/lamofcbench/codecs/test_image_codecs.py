"""What the image and video codecs promise beyond the conformance suite; a family's tests skip where it cannot run."""

import functools
import importlib.util
import stat
import sys
import zlib

import numpy as np
import pytest
import torch

from lamofcbench.codecs import base, conformance, vvc
from lamofcbench.codecs.avif import DELIMITER, AvifCodec
from lamofcbench.codecs.hevc import TYPICAL_SETS, HevcCodec
from lamofcbench.codecs.images import codec as image_codec
from lamofcbench.codecs.images import headers, page_layout
from lamofcbench.codecs.images.codec import deflate_header
from lamofcbench.codecs.images.nal_units import START_CODE
from lamofcbench.codecs.jpeg2000 import TYPICAL_STEPS, Jpeg2000Codec
from lamofcbench.codecs.jpeg_xl import SIGNATURE, JpegXlCodec
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.codecs.vvc import TYPICAL_HEADER, VvcCodec
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

FAMILIES = [JpegXlCodec, Jpeg2000Codec, AvifCodec, HevcCodec, VvcCodec]
T = Axis(name="tokens", limit=4096)
SPECS = FeatureSpecs(
    tensors=(
        TensorSpec(name="hidden", role="hidden", shape=(T, 64), dtype="float32"),
        TensorSpec(name="state", role="ssm_state", shape=(128, 8), dtype="float32"),
    )
)


def sample(tokens, seed=0):
    generator = np.random.default_rng(seed)
    scales = np.exp(np.random.default_rng(9).normal(0, 1, 64))
    tensors = {
        "hidden": torch.from_numpy(generator.normal(0, 1, (tokens, 64)) * scales + scales),
        "state": torch.from_numpy(generator.standard_t(6, (128, 8))),
    }
    return FeatureSet(tensors).cast(SPECS)


def fitted(family, **params):
    if reason := family.unavailable():
        pytest.skip(reason)
    return family(SPECS, params).fit([sample(30 + seed, 100 + seed) for seed in range(4)])


def relative_error(codec, features):
    decoded = codec.decode(codec.encode(features))
    before, after = (torch.cat([f[name].flatten() / f[name].std() for name in features]) for f in (features, decoded))
    return ((after - before).square().mean() / before.var()).item()


each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


# ------------------------------------------------------------------------------------------------ rate and distortion


@each_family
def test_ladder_falls_from_near_lossless_to_coarse(family):
    features = sample(48)
    codecs = [fitted(family, **point) for point in family.rate_points]
    rates = [8 * len(codec.encode(features)) / features.elements for codec in codecs]
    errors = [relative_error(codec, features) for codec in codecs]
    assert 5 <= len(rates) <= 8
    assert rates == sorted(rates, reverse=True) and errors == sorted(errors)
    assert errors[0] < 2e-3
    assert rates[-1] < 1.0 and errors[-1] > 0.2


@each_family
@pytest.mark.parametrize("quantiser", ["kmeans", "affine"])
def test_each_quantiser_codes(family, quantiser):
    assert relative_error(fitted(family, **family.rate_points[0], quantiser=quantiser), sample(20)) < 0.02


def test_the_quantisers_share_of_the_error_is_small_and_known():
    codec, features = fitted(HevcCodec, qp=30), sample(40)
    quantised = codec.quantise_features(features)
    share = (quantised["hidden"] - features["hidden"]).square().mean() / features["hidden"].var()
    assert 0 < share < 1e-3 < relative_error(codec, features)


@each_family
def test_headers_cost_little(family):
    codec = fitted(family, **family.rate_points[-1])
    assert len(codec.encode_image(np.full((64, 64), 500, np.int16))) < 72


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(page_layout, "MAX_SIDE", 64)
    page_layout._lay_out.cache_clear()
    yield
    page_layout._lay_out.cache_clear()


@each_family
def test_a_sample_of_many_pages_is_coded(family, small_pages):
    codec, features = fitted(family, **family.rate_points[0]), sample(200)
    data = codec.encode(features)
    assert len(page_layout.lay_out(SPECS, {n: tuple(t.shape) for n, t in features.tensors.items()}).pages) == 4
    assert relative_error(codec, features) < 2e-3
    payload = codec.encode_features(features)
    for crafted in (payload[:-1], payload + b"\0", b"\xff" * 4 + payload[4:], payload[:4], b""):
        conformance.check_refused_or_valid(codec, (200,), [crafted])
    assert codec.decode(data)["hidden"].shape == (200, 64)


# ------------------------------------------------------------------------------------------------------ hostile bytes


def forbid_decoding(monkeypatch):
    """From here on a decoding library that is called at all fails the test."""
    for package, name in (
        ("imagecodecs", "jpegxl_decode"),
        ("imagecodecs", "jpeg2k_decode"),
        ("av", "CodecContext"),
    ):
        monkeypatch.setattr(f"{package}.{name}", None)
    with pytest.raises(TypeError):
        sys.modules["imagecodecs"].jpegxl_decode(b"")


@pytest.mark.parametrize("family", [JpegXlCodec, AvifCodec, HevcCodec], ids=lambda family: family.name)
def test_an_image_of_another_size_is_refused_before_it_is_decoded(family, monkeypatch):
    codec = fitted(family)
    data = codec.encode_image(np.zeros((256, 128), np.int16))
    assert codec.decode_image(data, 256, 128).shape == (256, 128)
    forbid_decoding(monkeypatch)
    for height, width in ((256, 136), (264, 128), (128, 256)):
        with pytest.raises(BitstreamError, match="claims 256x128"):
            codec.decode_image(data, height, width)


def jpeg_xl_size(height, width):
    """A size header, the least significant bit first: no multiples of 8, 30 bits a side, no ratio."""
    number = 0 | 3 << 1 | (height - 1) << 3 | 0 << 33 | 3 << 36 | (width - 1) << 38
    return number.to_bytes(9, "little")


def test_a_giant_jpeg_xl_image_is_refused_before_it_is_decoded(monkeypatch):
    fitted(JpegXlCodec)
    forbid_decoding(monkeypatch)
    with pytest.raises(BitstreamError, match="claims 1073741824x1073741824"):
        headers.check_jpeg_xl(SIGNATURE + jpeg_xl_size(2**30, 2**30) + bytes(20), 64, 64, 10)


def test_jpeg_xl_images_of_other_kinds_are_refused():
    codec = fitted(JpegXlCodec)
    imagecodecs = pytest.importorskip("imagecodecs")
    gray = np.zeros((64, 64), np.uint16)
    encode = functools.partial(imagecodecs.jpegxl_encode, distance=1.0, usecontainer=False, bitspersample=codec.bits)
    others = {
        "bits": encode(gray, bitspersample=12),
        "animation": encode(np.stack([gray] * 5), photometric="gray"),
        "extra": encode(np.stack([gray] * 2, axis=-1)),
        "signature": encode(gray, usecontainer=True),
    }
    for what, data in others.items():
        with pytest.raises(BitstreamError, match=what):
            headers.check_jpeg_xl(bytes(data), 64, 64, codec.bits)


def test_the_size_of_a_jpeg2000_image_cannot_be_claimed():
    codec = fitted(Jpeg2000Codec)
    data = codec.encode_image(np.arange(64 * 32, dtype=np.int16).reshape(64, 32) % 1024)
    decoded = codec.decode_image(data, 64, 32)
    assert decoded.shape == (64, 32)
    for size in ((128, 64), (32, 32), (4096, 4096)):
        try:
            assert codec.decode_image(data, *size).shape == size
        except BitstreamError:
            continue


@pytest.mark.parametrize("length", [0, 1, 2, 4, 34, 39, 1000])
def test_jpeg2000_quantiser_steps_of_odd_length_are_refused(length, monkeypatch):
    codec = fitted(Jpeg2000Codec)
    forbid_decoding(monkeypatch)
    with pytest.raises(BitstreamError, match="steps"):
        codec.decode_image(image_codec.deflate_header(bytes(length), TYPICAL_STEPS), 64, 64)


def test_av1_streams_of_several_units_are_refused(monkeypatch):
    codec = fitted(AvifCodec)
    data = codec.encode_image(np.zeros((64, 64), np.int16))
    forbid_decoding(monkeypatch)
    for crafted in (data + data, DELIMITER + data, data[:-1], data + b"\x32", data + b"\x32\xff\xff\xff\xff\xff", b""):
        with pytest.raises(BitstreamError, match="AV1"):
            codec.decode_image(crafted, 64, 64)


def test_hevc_streams_of_several_pictures_are_refused(monkeypatch):
    codec = fitted(HevcCodec)
    data = codec.encode_image(np.zeros((64, 64), np.int16))
    header, picture = image_codec.inflate_header(data, TYPICAL_SETS)
    forbid_decoding(monkeypatch)
    for sets, pictures in (
        (header, picture + START_CODE + picture),
        (header + START_CODE + header, picture),
        (b"", picture),
        (header, b""),
        (header, b"\x02" + picture),
    ):
        with pytest.raises(BitstreamError, match="HEVC"):
            codec.decode_image(image_codec.deflate_header(sets, TYPICAL_SETS) + pictures, 64, 64)


def test_a_header_that_inflates_without_end_is_refused():
    bomb = image_codec.deflate_header(bytes(10**6), b"")
    with pytest.raises(BitstreamError, match="too long"):
        image_codec.inflate_header(bomb, b"")
    with pytest.raises(BitstreamError, match=r"damaged|cut off"):
        image_codec.inflate_header(b"\xff\xff\xff", b"")


@each_family
def test_state_of_a_stranger_is_checked(family):
    codec = fitted(family)
    knots = codec.state["knots"]
    for damaged in (knots[:1], knots.flip(1), torch.full_like(knots, torch.nan), knots[:, :1], knots[0]):
        with pytest.raises(CodecError, match="knots"):
            family(SPECS, {}, {"knots": damaged}).check_state()


# ------------------------------------------------------------------------------------------------------ what is missing


@pytest.mark.parametrize("family", FAMILIES[:-1], ids=lambda family: family.name)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(family, monkeypatch):
    monkeypatch.setattr(base, "_installed", lambda package: False)
    with pytest.raises(CodecError, match=r"pip install 'lamofcbench\[image\]'"):
        make_codecs(family.name, SPECS)


# --------------------------------------------------------------------------------------------------------------- VVC


@pytest.fixture
def no_ffmpeg(monkeypatch, tmp_path):
    """An empty PATH, and no package that brings an ffmpeg."""
    monkeypatch.setenv("PATH", str(tmp_path))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "imageio_ffmpeg" else find(name))


def test_what_vvc_needs_is_named(no_ffmpeg):
    with pytest.raises(CodecError, match=r"vvencapp and vvdecapp on the PATH, or .* pip install 'lamofcbench\[vvc\]'"):
        make_codecs("vvc", SPECS)


FAKE_ENCODER = """
size = options["--size"].split("x")
video = open(options["--input"], "rb").read()
assert len(video) == int(size[0]) * int(size[1]) * 3, "size"
assert set(memoryview(video[len(video) * 2 // 3 :]).cast("H")) == {512}, "chroma"
assert options["--format"] == "yuv420_10" and options["--frames"] == "1" and options["--threads"] == "1"
parameters, picture = bytes([0, 15 << 3]) + b"parameters", bytes([0, 8 << 3]) + zlib.compress(video).hex().encode()
open(options["--output"], "wb").write(bytes([0, 0, 0, 1]) + parameters + bytes([0, 0, 1]) + picture)
"""
FAKE_DECODER = """
parameters, data = open(options["--bitstream"], "rb").read().split(bytes([0, 0, 1]))[1:]
assert parameters.endswith(b"parameters")
if data == b"huge":
    bytearray(2**34)
while data == b"endless":
    pass
if data == b"long":
    open(options["--output"], "wb").write(bytes(10**6))
open(options["--output"], "wb").write(b"few" if data == b"few" else zlib.decompress(bytes.fromhex(data[2:].decode())))
"""


@pytest.fixture
def fake_vvc(tmp_path, no_ffmpeg):
    """Programs of the names and options of VVenC's and VVdeC's that compress without loss."""
    for name, body in (("vvencapp", FAKE_ENCODER), ("vvdecapp", FAKE_DECODER)):
        program = tmp_path / name
        head = "import sys, zlib\noptions = dict(zip(sys.argv[1::2], sys.argv[2::2]))"
        program.write_text(f"#!{sys.executable} -SE\n{head}\n{body}")
        program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return fitted(VvcCodec)


def test_vvc_codes_through_its_own_programs_where_they_are(fake_vvc):
    assert relative_error(fake_vvc, sample(20)) < 1e-3


@pytest.mark.parametrize(
    "picture", [b"huge", b"endless", b"long", b"few", b"junk", zlib.compress(bytes(30)).hex().encode()]
)
def test_what_the_vvc_decoder_makes_of_hostile_bytes_is_refused(fake_vvc, picture, monkeypatch):
    monkeypatch.setattr(vvc, "DECODER_SECONDS", 1)
    payload = deflate_header(bytes([0, 15 << 3]) + b"parameters", TYPICAL_HEADER) + picture
    with pytest.raises(BitstreamError, match="vvdecapp"):
        fake_vvc.decode_image(payload, 64, 64)


@pytest.mark.parametrize("payload", [b"", b"junk", bytes(100)])
def test_what_is_no_vvc_header_reaches_no_decoder(fake_vvc, payload):
    with pytest.raises(BitstreamError, match="header"):
        fake_vvc.decode_image(payload, 64, 64)


def test_a_failing_vvc_encoder_is_quoted(fake_vvc, tmp_path):
    (tmp_path / "vvencapp").write_text(f"#!{sys.executable} -SE\nraise SystemExit('no such preset')")
    with pytest.raises(CodecError, match="vvencapp cannot encode: no such preset"):
        fake_vvc.encode(sample(3))


def test_an_image_of_another_size_is_refused_by_what_the_vvc_decoder_writes():
    codec = fitted(VvcCodec)
    image = codec.encode_image(np.full((64, 128), 500, np.int16))
    with pytest.raises(BitstreamError, match="the shapes need"):
        codec.decode_image(image, 128, 128)
    with pytest.raises(BitstreamError):
        codec.decode_image(image, 64, 64)


def test_parameter_sets_of_vvc_take_few_bytes():
    codec = fitted(VvcCodec, qp=47)
    for shape in ((64, 64), (64, 128), (128, 128), (192, 64), (832, 64), (256, 320)):
        assert len(codec.encode_image(np.full(shape, 500, np.int16))) < 60, shape  # the sets alone have 54 to 60
