"""What `klt-task` promises beyond the conformance suite."""

import math

import numpy as np
import pytest
import torch

from lamofcbench.codecs import conformance, sensitivity
from lamofcbench.codecs.klt import KltCodec
from lamofcbench.codecs.klt_task import KltTaskCodec
from lamofcbench.codecs.sensitivity import SensitivitySums, sensitivity_of
from lamofcbench.codecs.transform import fitting
from lamofcbench.codecs.transform.profiles import FIRST, LAST, MIDDLE
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=4096)
WIDTHS = 20, 12
WIDTH = sum(WIDTHS)
RAGGED = FeatureSpecs(
    tensors=tuple(
        TensorSpec(name=f"x{i}", role="hidden", shape=(T, width), dtype="float32") for i, width in enumerate(WIDTHS)
    )
)
FIXED = FeatureSpecs(
    tensors=tuple(
        TensorSpec(name=f"x{i}", role="hidden", shape=(9, width), dtype="float32") for i, width in enumerate(WIDTHS)
    )
)


def feature_set(rows):
    parts = np.split(rows.astype(np.float32), [WIDTHS[0]], axis=1)
    return FeatureSet({f"x{i}": torch.from_numpy(np.ascontiguousarray(part)) for i, part in enumerate(parts)})


def features(samples, seed, specs=RAGGED):
    mixing = np.random.default_rng(100).normal(size=(WIDTH, WIDTH)) * np.geomspace(1, 0.1, WIDTH)[:, None]
    draw = np.random.default_rng(seed)
    counts = [9] * samples if specs is FIXED else [20 + i % 7 for i in range(samples)]
    return [feature_set(draw.normal(size=(count, WIDTH)) @ mixing) for count in counts]


DIRECTIONS = np.random.default_rng(9).normal(size=(2, WIDTH))


def known(samples, specs=RAGGED, directions=DIRECTIONS, places=None, of_last=1.0):
    """Gradients in a few directions, the same for all rows, but for the last by a factor."""
    places = (9 if specs is FIXED else 0) if places is None else places
    halves = [SensitivitySums(specs, [places], [np.ones(WIDTH, np.float32)]) for _ in range(2)]
    for number, sample in enumerate(samples):
        draw = np.random.default_rng([3, number])
        rows = draw.normal(size=(len(sample["x0"]), len(directions))) @ directions
        rows[-1] *= of_last
        halves[number % 2].add(feature_set(rows), 1.0)
    return sensitivity_of(halves)


def points(codec_class, specs, calibration, test, steps, *more):
    """Bytes, and the errors in the directions that count and in all."""
    found = []
    for step in steps:
        codec = codec_class(specs, {"step": step}).fit(calibration, *more)
        coded = [codec.encode(sample) for sample in test]
        left = [np.concatenate([(d[n] - s[n]).double().numpy() for n in ("x0", "x1")], 1)
                for d, s in zip(map(codec.decode, coded), test, strict=True)]  # fmt: skip
        left = np.concatenate(left)
        found.append((sum(map(len, coded)), np.square(left @ DIRECTIONS.T).mean(), np.square(left).mean()))
    return np.array(found)


@pytest.mark.parametrize("specs", [RAGGED, FIXED], ids=["ragged", "fixed"])
def test_at_the_same_rate_less_is_lost_of_what_counts(specs):
    calibration, test = features(40, 0, specs), features(12, 1, specs)
    steps = 2.0 ** np.arange(-3, 3)
    plain = points(KltCodec, specs, calibration, test, steps)
    aware = points(KltTaskCodec, specs, calibration, test, steps, known(calibration, specs))
    for error in plain[1:4, 1]:
        rates = [np.interp(math.log(error), np.log(p[:, 1]), p[:, 0]) for p in (plain, aware)]
        assert rates[1] < 0.8 * rates[0]


def test_gradients_that_say_nothing_leave_the_transform_of_features_alone():
    calibration = features(16, 0)
    alike = known(calibration, directions=np.eye(WIDTH))  # in all directions
    codec = KltTaskCodec(RAGGED, {"step": 0.5}).fit(calibration, alike)
    assert "0.analyses" not in codec.state
    plain = KltCodec(RAGGED, {"step": 0.5}).fit(calibration)
    lengths = [len(each.encode(calibration[0])) for each in (codec, plain)]
    assert abs(lengths[0] - lengths[1]) < 0.05 * lengths[1]  # steps mean the same


def test_a_tail_that_answers_to_nothing_is_coded_all_the_same():
    calibration = features(8, 0)
    silent = known(calibration, directions=0 * DIRECTIONS)
    codec = KltTaskCodec(RAGGED, {"step": 0.5}).fit(calibration, silent)
    decoded = codec.decode(codec.encode(calibration[0]))
    assert (decoded["x0"] - calibration[0]["x0"]).abs().max() < calibration[0]["x0"].std()


@pytest.mark.parametrize("specs", [RAGGED, FIXED], ids=["ragged", "fixed"])
@pytest.mark.parametrize("rank", [1, 8, None])
def test_fine_steps_are_near_lossless_even_at_a_small_rank(specs, rank):
    calibration = features(30, 0, specs)
    codec = KltTaskCodec(specs, {"step": 1e-4, "rank": rank}).fit(calibration, known(calibration, specs))
    decoded = codec.decode(codec.encode(calibration[0]))
    for name, tensor in decoded.tensors.items():
        assert (tensor - calibration[0][name]).abs().max() < 0.02 * calibration[0][name].std()


def test_foreign_samples_are_coded_as_without_weights():
    calibration = features(30, 0)
    codec = KltTaskCodec(RAGGED, {"step": 0.5}).fit(calibration, known(calibration))
    plain = KltCodec(RAGGED, {"step": 0.5}).fit(calibration)
    foreign = FeatureSet({name: 4 * tensor for name, tensor in features(1, 7)[0].tensors.items()})
    lengths, errors = [], []
    for each in (codec, plain):
        coded = each.encode(foreign)
        lengths.append(len(coded))
        errors.append(float((each.decode(coded)["x0"] - foreign["x0"]).square().mean()))
    assert abs(lengths[0] - lengths[1]) < 0.1 * lengths[1]
    assert errors[0] == pytest.approx(errors[1], rel=0.1)


def test_rank_bounds_the_state():
    calibration = features(30, 0)
    codec = KltTaskCodec(RAGGED, {"step": 0.01, "rank": 5}).fit(calibration, known(calibration))
    assert codec.state["0.analyses"].shape == codec.state["0.syntheses"].shape == (3, 5, WIDTH)
    assert codec.state["0.analyses"].dtype is torch.float16


TRANSFORMS = ("analysis", "analyses", "syntheses", "foreign_analysis")


@pytest.mark.parametrize("step", [0.001, 2.0])
@pytest.mark.parametrize(("widest", "transforms"), [(sensitivity.MAX_MATRIX_WIDTH, 3), (8, 1)], ids=["exact", "wide"])
def test_without_a_rank_transforms_take_the_room_there_is_for_all_of_them(widest, transforms, step, monkeypatch):
    monkeypatch.setattr(sensitivity, "MAX_MATRIX_WIDTH", widest)
    calibration, rank = features(30, 0), 9
    room = (2 * transforms + 1) * WIDTH * rank
    monkeypatch.setattr(fitting, "STATE_VALUES", room)
    state = KltTaskCodec(RAGGED, {"step": step}).fit(calibration, known(calibration)).state
    assert state["0.analyses"].shape == state["0.syntheses"].shape
    taken = sum(state[f"0.{name}"].numel() for name in TRANSFORMS if f"0.{name}" in state)
    assert taken <= room
    assert taken >= room - 3 * WIDTH * rank or step > 1


def test_where_room_is_scarce_all_kinds_of_rows_share_a_transform_at_fine_steps(monkeypatch):
    calibration, test = features(40, 0), features(10, 1)
    monkeypatch.setattr(fitting, "STATE_VALUES", 7 * WIDTH * 11)
    bounded = [KltTaskCodec(RAGGED, {"step": 0.02, "rank": rank}) for rank in (11, None)]
    apart, shared = (codec.fit(calibration, known(calibration)) for codec in bounded)
    assert apart.state["0.analyses"].shape == (3, 11, WIDTH)
    assert shared.state["0.analyses"].shape == shared.state["0.syntheses"].shape == (1, WIDTH, WIDTH)
    assert shared.state["0.gains"].shape == shared.state["0.lifts"].shape == (3, WIDTH)
    sizes = [sum(len(codec.encode(sample)) for sample in test) for codec in (apart, shared)]
    assert sizes[1] < 0.9 * sizes[0]
    again = KltTaskCodec(shared.specs, shared.params, shared.state)
    again.check_state()
    for sample in test:
        decoded = again.decode(shared.encode(sample))
        assert (decoded["x0"] - sample["x0"]).abs().max() < 0.1 * sample["x0"].std()


def test_a_shared_transform_takes_finer_steps_for_the_kinds_of_rows_that_count(monkeypatch):
    calibration = features(40, 0)
    monkeypatch.setattr(fitting, "STATE_VALUES", 7 * WIDTH * 11)
    codec = KltTaskCodec(RAGGED, {"step": 0.02}).fit(calibration, known(calibration, of_last=4.0))
    gains = codec.state["0.gains"].numpy()
    assert gains[LAST] / gains[MIDDLE] == pytest.approx(4.0, rel=0.3)
    assert gains[FIRST] / gains[MIDDLE] == pytest.approx(1.0, rel=0.3)
    assert np.allclose(codec.state["0.lifts"].numpy() * gains, codec.state["0.lifts"].numpy()[:1] * gains[:1])


def test_samples_of_other_lengths_than_the_sensitivity_saw_are_fitted_on():
    calibration = features(20, 0, FIXED)
    elsewhere = known(calibration, FIXED, places=3)  # the pattern of places is another
    codec = KltTaskCodec(FIXED, {"step": 0.5}).fit(calibration, elsewhere)
    assert codec.state["0.analyses"].shape[0] == 1 and "0.back" not in codec.state
    codec.decode(codec.encode(calibration[0]))


@pytest.mark.parametrize("codec_class", [KltCodec, KltTaskCodec])
def test_values_whose_deviations_are_no_floats_are_refused_in_one_line(codec_class):
    calibration = features(12, 0)
    for sample in calibration:
        sample["x0"][:, ::7] = 3.4e38 * torch.sign(sample["x0"][:, ::7])
    more = [known(calibration)] if codec_class is KltTaskCodec else []
    with pytest.raises(CodecError, match="too large for a transform; look for masks among the features"):
        codec_class(RAGGED, {"step": 0.5}).fit(calibration, *more)


def test_wide_rows_need_no_matrix(monkeypatch):
    calibration, test = features(40, 0), features(10, 1)
    steps = 2.0 ** np.arange(-3, 3)
    plain = points(KltCodec, RAGGED, calibration, test, steps)
    monkeypatch.setattr(sensitivity, "MAX_MATRIX_WIDTH", 8)
    wide = known(calibration)
    assert wide.groups[0].is_factored
    aware = points(KltTaskCodec, RAGGED, calibration, test, steps, wide)
    rates = [np.interp(math.log(plain[2, 1]), np.log(p[:, 1]), p[:, 0]) for p in (plain, aware)]
    assert rates[1] < 0.8 * rates[0]


def test_what_is_learned_depends_on_the_sensitivity_alone_and_not_on_what_was_fitted_before():
    calibration = features(12, 0)
    one, other = known(calibration), known(calibration, directions=DIRECTIONS[::-1, ::-1])
    first = KltTaskCodec(RAGGED, {"step": 0.5}).fit(calibration, one)
    assert KltTaskCodec(RAGGED, {"step": 0.5}).fit(calibration, other).fingerprint != first.fingerprint
    KltCodec(RAGGED, {"step": 0.5}).fit(calibration)
    assert KltTaskCodec(RAGGED, {"step": 0.5}).fit(calibration, one).fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("0.analyses", lambda t: t[:1]),
        ("0.analyses", lambda t: t[:2]),
        ("0.analyses", lambda t: t[:, 1:]),
        ("0.analyses", lambda t: t.float()),
        ("0.analyses", lambda t: t * math.inf),
        ("0.syntheses", lambda t: t[:, :, 1:]),
        ("0.gains", lambda t: t * math.nan),
        ("0.gains", lambda t: t[:, 1:]),
        ("0.gains", lambda t: t[:2]),
        ("0.lifts", lambda t: t.double()),
        ("0.units_of_steps", lambda t: t * 0),
        ("0.units_of_steps", lambda t: t[1:]),
        ("0.syntheses", None),
        ("0.analyses", None),
        ("0.tables", lambda t: t[:, 1:]),
        ("0.foreign_tables", None),
        ("0.foreign_tables", lambda t: t[:, 1:]),
        ("0.foreign_tables", lambda t: t + 999),
        ("0.foreign_analysis", lambda t: t[1:]),
        ("0.foreign_residual_tables", lambda t: t[1:]),
    ],
)
def test_a_state_from_a_strangers_folder_is_checked(name, change):
    calibration = features(12, 0)
    codec = KltTaskCodec(RAGGED, {"step": 0.3}).fit(calibration, known(calibration))
    state = dict(codec.state)
    if change is None:
        del state[name]
    else:
        state[name] = change(state[name])
    with pytest.raises((CodecError, BitstreamError)):
        KltTaskCodec(codec.specs, codec.params, state).check_state()


@pytest.mark.parametrize("gain", [3e38, -3e38])
def test_gains_of_a_stranger_that_are_too_large_are_refused_before_anything_is_coded(gain):
    calibration = features(12, 0)
    codec = KltTaskCodec(RAGGED, {"step": 0.3}).fit(calibration, known(calibration))
    state = {**codec.state, "0.gains": torch.full_like(codec.state["0.gains"], gain)}
    hostile = KltTaskCodec(codec.specs, codec.params, state)
    hostile.check_state()
    with pytest.raises(CodecError, match="too large to be coded in steps"):
        hostile.encode(calibration[0])


def test_it_keeps_the_contract_with_places_of_both_kinds():
    for specs in (RAGGED, FIXED):
        calibration = features(10, 0, specs)
        codec = KltTaskCodec(specs, {"step": 0.3}).fit(calibration, known(calibration, specs))
        data = codec.encode(calibration[0])
        assert conformance.digest(codec.decode(data)) == conformance.digest(codec.decode(data))


def test_a_continuing_codec_decodes_what_it_encodes_within_the_error_of_coding_at_once():
    calibration, test = features(40, 0), features(4, 1)
    codec = KltTaskCodec(RAGGED, {"step": 0.3}).fit(calibration, known(calibration))
    for sample in test:
        parts = [
            codec.continuing(start).decode(codec.continuing(start).encode(part))
            for start in (0, 8, 16)
            for part in [FeatureSet({name: tensor[start : start + 8] for name, tensor in sample.tensors.items()})]
        ]
        whole = codec.decode(codec.encode(sample))
        for name in sample:
            chunked = torch.cat([part[name] for part in parts])[: len(sample[name])]
            errors = [
                (other - sample[name][: len(chunked)]).square().mean()
                for other in (chunked, whole[name][: len(chunked)])
            ]
            assert errors[0] < 1.5 * errors[1]
