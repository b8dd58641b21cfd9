"""What every codec is held to, for the built-in ones and for your own.

Use::

    from lamofcbench.codecs.conformance import check_codec
    check_codec(MyCodec, {"step": 0.1})

Each check raises `ConformanceError` with one line that says what broke. The checks know nothing of the codec but its
contract. Another process decodes what this one coded, see `lamofcbench.codecs.conformance_process`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

from lamofcbench.bitstream import BitstreamWriter
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.conformance_process import CODEC_FOLDER, Coded, bitstream_file, code_elsewhere
from lamofcbench.codecs.conformance_samples import (
    SPECS,
    calibration_samples,
    make_sample,
    odd_specs,
    sensitivity,
    test_samples,
)
from lamofcbench.codecs.params import as_text, to_plain
from lamofcbench.codecs.registry import load_saved
from lamofcbench.codecs.saving import CONFIG_FILE, STATE_FILE
from lamofcbench.digests import digest
from lamofcbench.errors import BitstreamError, CodecError, LaMoFCBenchError, NonFiniteError
from lamofcbench.features import FeatureSet, tensor_bytes
from lamofcbench.scenarios.base import FeatureSpecs
from lamofcbench.user_files.modules import sources_of

OVERHEAD_BYTES = 24
"""What the container may take beyond the payload of a codec that joins tensors."""
SECTION_BYTES = 2
"""What the length of each further section may take, where a codec has one a tensor."""


class ConformanceError(LaMoFCBenchError, AssertionError):
    """A codec that breaks its contract."""


def craft(codec: Codec, sizes: Sequence[int], sections: Sequence[bytes], fingerprint: bytes | None = None) -> bytes:
    """A bitstream with a valid container around any payload: what an attacker would send."""
    writer = BitstreamWriter(fingerprint or codec.fingerprint)
    for size in sizes:
        writer.unsigned(size)
    for _ in codec.specs.side:
        writer.signed(0)
    return writer.finish(sections, codec._raw_sizes(_shapes(codec, sizes)))


# -------------------------------------------------------------------------------------------------------- the checks


def check_codec(codec_class: type[Codec], params: Mapping[str, Any] | None = None) -> None:
    """Holds one point of a codec to everything, in this process and in another.

    Raises:
        ConformanceError: saying what broke.
    """
    for case in cases(codec_class, params):
        case.run()


@dataclass(frozen=True)
class Case:
    """One thing that a codec is held to.

    Attributes:
        title: what, in a sentence.
        run: raises where it does not hold.
    """

    title: str
    run: Callable[[], None]


def cases(codec_class: type[Codec], params: Mapping[str, Any] | None = None) -> list[Case]:
    """All that one point of a codec is held to, in this process and in another, one after the other."""
    codec = functools.cache(lambda: fitted(codec_class, params))  # not before the first case that needs it

    def in_folder(check: Callable[[Path], None]) -> Callable[[], None]:
        def run() -> None:
            with tempfile.TemporaryDirectory() as folder:
                check(Path(folder) / "codecs")

        return run

    return [
        Case(_title(check_unfitted), lambda: check_unfitted(codec_class, params)),
        Case(_title(check_params), lambda: check_params(codec_class)),
        Case(_title(check_ladder), lambda: check_ladder(codec_class)),
        Case(_title(check_odd_specs), lambda: check_odd_specs(codec_class, params)),
        *(Case(_title(check), lambda check=check: check(codec())) for check in CHECKS),  # type: ignore[misc]
        Case(_title(check_tampering), in_folder(lambda folder: check_tampering(codec(), folder))),
        Case(_title(check_elsewhere), in_folder(lambda folder: check_elsewhere({"codec": codec()}, folder))),
    ]


def _title(check: Callable[..., None]) -> str:
    return (check.__doc__ or "").partition("\n")[0]


def fitted(codec_class: type[Codec], params: Mapping[str, Any] | None = None, specs: FeatureSpecs = SPECS) -> Codec:
    """The codec, fitted on the calibration samples."""
    return fit(codec_class(specs, codec_class.make_params(params or {})), calibration_samples(specs))


def fit(codec: Codec, samples: Sequence[FeatureSet]) -> Codec:
    """The codec, fitted on samples; beside a sensitivity that is made up, where it needs one."""
    return codec.fit(samples, sensitivity(codec.specs, samples)) if codec.needs_sensitivity else codec.fit(samples)


def check_unfitted(codec_class: type[Codec], params: Mapping[str, Any] | None = None) -> None:
    """A codec that learns refuses to code before it has, and to learn from nothing."""
    codec = codec_class(SPECS, codec_class.make_params(params or {}))
    if not codec_class.needs_calibration:
        return
    sample = make_sample("typical", 3, 1)
    _refuses(CodecError, partial(codec.encode, sample), "encoding before fitting")
    _refuses(CodecError, partial(codec.decode, bytes(32)), "decoding before fitting")
    _refuses(CodecError, partial(fit, codec, []), "fitting on nothing")
    if codec_class.needs_sensitivity:
        _refuses(CodecError, partial(codec.fit, calibration_samples()), "fitting without the tail's sensitivity")
        other = next(specs for _, specs in odd_specs())
        foreign = sensitivity(other, calibration_samples(other))
        _refuses(CodecError, partial(codec.fit, calibration_samples(), foreign), "the sensitivity of other tensors")


def check_params(codec_class: type[Codec]) -> None:
    """Every parameter of the ladder, and every choice of a parameter, can be given as text and comes back the same."""
    points = [dict(point) for point in codec_class.rate_points]
    for field, annotation in get_type_hints(codec_class.Params).items():
        choices = (
            (True, False) if annotation is bool else get_args(annotation) if get_origin(annotation) is Literal else ()
        )
        points += [{**(points or [{}])[0], field: choice} for choice in choices]
    for point in points:
        expected = codec_class(SPECS, point)
        texts = {name: as_text(value) for name, value in to_plain(expected.params).items()}
        for what, given in (("text", texts), ("an object", expected.params), ("plain data", to_plain(expected.params))):
            again = codec_class(SPECS, given)
            _require(again.params == expected.params, f"{point} given as {what} is {again.params}")
            _require(again.fingerprint == expected.fingerprint, f"{point} given as {what} has another fingerprint")


def check_ladder(codec_class: type[Codec]) -> None:
    """The ladder leads from the highest rate to the lowest: its last point takes no more bytes than its first."""
    points = list(codec_class.rate_points)
    if len(points) < 2:
        return
    samples = [make_sample(kind, 33, 2) for kind in ("typical", "heavy")]  # steps may suit large values alone
    ends = (fitted(codec_class, points[at]) for at in (0, -1))
    first, last = (sum(len(codec.encode(features)) for features in samples) for codec in ends)
    what = f"the first rate point, {points[0]}, takes {first} bytes, the last, {points[-1]}, takes {last}"
    _require(last <= first, what)


def check_odd_specs(codec_class: type[Codec], params: Mapping[str, Any] | None = None) -> None:
    """Empty tensors, sets of no or one element, and axes fewer than a role has, are fitted on and coded like others."""
    for what, specs in odd_specs():
        samples = [make_sample("typical", tokens, 0, specs=specs) for tokens in (0, 1, 3)]
        calibration = samples if len(specs.tensors) > 1 else samples[:1]  # of a single ragged tensor: no values at all
        with _about(what):
            codec = fit(codec_class(specs, params), calibration)
            for features in samples:
                decoded = codec.decode(codec.encode(features))
                same = all(decoded[name].shape == tensor.shape for name, tensor in features.tensors.items())
                _require(same, "decoded to other shapes")
                codec.quantised(features)


def check_round_trip(codec: Codec) -> None:
    """Names, order, dtypes, shapes and side information come back; values finite, and bit for bit where lossless."""
    for what, features in test_samples():
        with _about(what):
            decoded = codec.decode(codec.encode(features))
            _require(list(decoded) == list(features), f"tensors came back as {list(decoded)}")
            _require(dict(decoded.side) == dict(features.side), f"side information came back as {dict(decoded.side)}")
            for name, tensor in decoded.tensors.items():
                before = features[name]
                same = tensor.dtype == before.dtype and tensor.shape == before.shape
                _require(same, f"tensor {name!r} came back as {tensor.dtype}{list(tensor.shape)}")
                _require(bool(torch.isfinite(tensor).all()), f"tensor {name!r} came back with NaN or infinity")
                if codec.lossless:
                    _require(tensor_bytes(tensor) == tensor_bytes(before), f"tensor {name!r} lost bits")


def check_inputs_unchanged(codec: Codec) -> None:
    """Encoding and fitting leave features alone, and the codec that is fitted from."""
    for what, features in test_samples():
        before = digest(features)
        with _about(what):
            codec.encode(features)
            _require(digest(features) == before, "encoding changed the features")
    samples = calibration_samples()
    before_fit = [digest(sample) for sample in samples]
    unfitted = type(codec)(codec.specs, codec.params)
    fit(unfitted, samples)
    _require([digest(sample) for sample in samples] == before_fit, "fitting changed the calibration samples")
    _require(not unfitted.state, "fitting changed the unfitted codec instead of returning a new one")


def check_determinism(codec: Codec) -> None:
    """The same features give the same bytes, whatever was coded between, and however the tensors lie in memory."""
    coded = []
    for what, features in test_samples():
        with _about(what):
            first = codec.encode(features)
            coded.append((first, digest(codec.decode(first))))
    for (what, features), (first, decoded) in zip(test_samples(), coded, strict=True):  # after all others in between
        with _about(what):
            scattered = FeatureSet({n: _scattered(t) for n, t in features.tensors.items()}, features.side)
            if codec.encode(scattered) != first:
                _require(codec.encode(features) == first, "encoding twice gave different bytes")
                raise ConformanceError("a strided view gave other bytes than a contiguous tensor")
            _require(digest(codec.decode(first)) == decoded, "decoding twice differs")


def check_pickling(codec: Codec) -> None:
    """A codec in use can be sent to a worker process."""
    features = make_sample("typical", 5, 1)
    with _about("typical features of 5 tokens and 1 frame"):
        data = codec.encode(features)
        copy = pickle.loads(pickle.dumps(codec))
        _require(copy.encode(features) == data, "a pickled copy encodes to other bytes")
        _require(digest(copy.decode(data)) == digest(codec.decode(data)), "a pickled copy decodes to other values")


def check_non_finite(codec: Codec) -> None:
    """A lossless codec keeps every bit of NaN and infinities; a lossy one names the tensor that holds them."""
    for name in [spec.name for spec in codec.specs.tensors]:
        for value in (float("nan"), float("inf"), float("-inf")):
            features = make_sample("typical", 4, 1)
            if not features[name].numel():
                continue
            features[name].view(-1)[-1] = value
            if codec.lossless:
                decoded = codec.decode(codec.encode(features))
                _require(tensor_bytes(decoded[name]) == tensor_bytes(features[name]), f"{value} in {name!r} lost bits")
            else:
                error = _refuses(NonFiniteError, partial(codec.encode, features), f"encoding {value}")
                _require(repr(name) in str(error), f"the error for {value} does not name tensor {name!r}: {error}")


def check_damaged(codec: Codec) -> None:
    """Truncated, extended, flipped, foreign and random bytes raise `BitstreamError`."""
    data = codec.encode(make_sample("heavy", 6, 1))
    stride = max(1, len(data) // 64)
    for length in [*range(0, len(data), stride), len(data) - 1]:
        _refuses(BitstreamError, partial(codec.decode, data[:length]), f"{length} of {len(data)} bytes")
    _refuses(BitstreamError, partial(codec.decode, data + b"\0"), "bytes behind the end")
    for position in range(0, len(data), stride):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        _refuses(BitstreamError, partial(codec.decode, bytes(flipped)), f"a flipped bit in byte {position}")
    foreign = craft(
        codec, (0, 0), [b""] * _section_count(codec), fingerprint=hashlib.sha256(codec.fingerprint).digest()
    )
    _refuses(BitstreamError, partial(codec.decode, foreign), "the bitstream of another codec")
    generator = np.random.default_rng(1)
    for length in (0, 1, 9, 10, 11, 64, 1000):
        noise = generator.bytes(length)
        _refuses(BitstreamError, partial(codec.decode, noise), f"{length} random bytes")


def check_crafted(codec: Codec) -> None:
    """A payload that no encoder wrote, in a valid container, is refused or decodes to finite values of its shapes."""
    generator = np.random.default_rng(2)
    count = _section_count(codec)
    real = codec._encode_sections(make_sample("heavy", 7, 1))
    limits = tuple(axis.limit for axis in codec.specs.axes)
    for length in (0, 1, 3, 4, 8, 50, 400):
        sections = [generator.bytes(length) for _ in range(count)]
        for sizes in ((7, 1), (0, 0), (1, 3)):
            check_refused_or_valid(codec, sizes, sections)
            check_refused_or_valid(codec, sizes, [bytes(length)] * count)
            check_refused_or_valid(codec, sizes, [b"\xff" * length] * count)
        if length in (0, 8, 400):
            check_refused_or_valid(codec, limits, sections)
    for _ in range(50):
        mutated = [bytearray(section) for section in real]
        for section in mutated:
            if section:
                section[int(generator.integers(len(section)))] = int(generator.integers(256))
        check_refused_or_valid(codec, (7, 1), [bytes(section) for section in mutated])
        check_refused_or_valid(codec, (7, 1), [s[: int(generator.integers(len(s) + 1))] for s in real])


def check_refused_or_valid(codec: Codec, sizes: Sequence[int], sections: Sequence[bytes]) -> None:
    """One crafted bitstream."""
    data = craft(codec, sizes, sections)
    try:
        decoded = codec.decode(data)
    except BitstreamError:
        return
    except BaseException as error:
        raise ConformanceError(f"{codec}: a crafted payload raises {type(error).__name__}: {error}") from error
    for name, shape in _shapes(codec, sizes).items():
        tensor = decoded[name]
        _require(tuple(tensor.shape) == shape, f"a crafted payload decodes {name!r} to shape {list(tensor.shape)}")
        finite = codec.lossless or bool(torch.isfinite(tensor).all())
        _require(finite, f"a crafted payload decodes tensor {name!r} to NaN or infinity")


def check_overhead(codec: Codec) -> None:
    """The container takes at most `OVERHEAD_BYTES` beyond the payload, and `SECTION_BYTES` for each further section."""
    limit = OVERHEAD_BYTES + SECTION_BYTES * (_section_count(codec) - 1)
    for what, features in test_samples():
        with _about(what):
            data = codec.encode(features)
            overhead = len(data) - sum(map(len, codec._open(data)[0]))
            _require(overhead <= limit, f"the container takes {overhead} bytes beyond the payload")


def check_tampering(codec: Codec, directory: Path) -> None:
    """A saved folder comes back the same, and is refused once anything in it has changed or gone."""
    trust = sources_of(type(codec)) is not None
    codec.save(directory)
    load = partial(load_saved, directory, trust_code=trust)
    loaded = load()
    _require(loaded.fingerprint == codec.fingerprint, "the loaded codec has another fingerprint than the saved one")

    config = json.loads((directory / CONFIG_FILE).read_text())
    other = {"feature_specs": codec.specs.model_copy(update={"side": ("width",)}).model_dump(mode="json")}
    damages: list[dict[str, Any]] = [
        {"fingerprint": "00" * 32},
        {"codec_params": {"no such": 1}},
        {"codec": "no such"},
        other,
    ]
    for damage in damages:
        (directory / CONFIG_FILE).write_text(json.dumps({**config, **damage}))
        _refuses(LaMoFCBenchError, load, f"a config with {damage}")
    (directory / CONFIG_FILE).write_text(json.dumps(config))

    state = (directory / STATE_FILE).read_bytes()
    flipped = state[:-1] + bytes([state[-1] ^ 1])
    for damage_name, content in (("truncated", state[:-1]), ("empty", b""), ("flipped", flipped)):
        if damage_name == "flipped" and not codec.state:
            continue
        (directory / STATE_FILE).write_bytes(content)
        _refuses(CodecError, load, f"a {damage_name} {STATE_FILE}")
    for name in (STATE_FILE, CONFIG_FILE):
        (directory / name).unlink()
        _refuses(CodecError, load, f"a folder without {name}")


CHECKS = (
    check_round_trip,
    check_inputs_unchanged,
    check_determinism,
    check_pickling,
    check_non_finite,
    check_damaged,
    check_crafted,
    check_overhead,
)
"""The checks that need the fitted codec alone."""


# --------------------------------------------------------------------------------------------------- another process


def check_elsewhere(codecs: Mapping[str, Codec], directory: Path) -> None:
    """Another process, with another thread count, decodes to the same bits and encodes to the same bytes.

    Args:
        codecs: by a name that can be a folder's; one process serves them all.
        directory: where codecs and bitstreams are put.
    """
    expected: dict[str, list[Coded]] = {}
    for name, codec in codecs.items():
        expected[name] = []
        codec.save(directory / name / CODEC_FOLDER)
        for index, (what, features) in enumerate(test_samples()):
            with _about(what):
                data = codec.encode(features)
                bitstream_file(directory / name, index).write_bytes(data)
                expected[name].append(Coded.of(data, codec.decode(data)))
    with _about("another process"):
        found = code_elsewhere(directory)
    for name in codecs:
        for (what, _), here, there in zip(test_samples(), expected[name], found[name], strict=True):
            _require(here.decoded == there.decoded, f"{name}: {what}: another process decodes to other values")
            _require(here.encoded == there.encoded, f"{name}: {what}: another process encodes to other bytes")


# ----------------------------------------------------------------------------------------------------------- helpers


@contextmanager
def _about(what: str) -> Iterator[None]:
    """Names the input that was coded in the message of an error."""
    try:
        yield
    except LaMoFCBenchError as error:
        raise ConformanceError(f"{what}: {error}") from error


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConformanceError(message)


def _refuses(expected: type[Exception], action: Callable[[], object], what: str) -> Exception:
    try:
        action()
    except expected as error:
        return error
    except BaseException as error:
        name = type(error).__name__
        raise ConformanceError(f"{what} raises {name}, not {expected.__name__}: {error}") from error
    raise ConformanceError(f"{what} is accepted; it must raise {expected.__name__}")


def _scattered(tensor: Tensor) -> Tensor:
    """The same values, every second element of a larger storage."""
    if not tensor.numel():
        return tensor
    return torch.stack([tensor, torch.zeros_like(tensor)], dim=-1)[..., 0]


def _shapes(codec: Codec, sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    named = {axis.name: size for axis, size in zip(codec.specs.axes, sizes, strict=True)}
    return {spec.name: spec.sized(named) for spec in codec.specs.tensors}


def _section_count(codec: Codec) -> int:
    return len(codec._raw_sizes(_shapes(codec, [0] * len(codec.specs.axes))))
