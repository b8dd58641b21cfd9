"""Words that calibration has not are coded as what they are: by what first rows of names look like."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs.klt import KltCodec
from lamofcbench.codecs.klt_task import KltTaskCodec
from lamofcbench.codecs.sensitivity import SensitivitySums, sensitivity_of
from lamofcbench.codecs.transform import fitting, unnamed
from lamofcbench.codecs.transform.blocks import Block
from lamofcbench.codecs.transform.dictionary import NONE
from lamofcbench.codecs.transform.estimate import FOLDS
from lamofcbench.codecs.transform.ingredients import Ingredients
from lamofcbench.codecs.transform.preparing import Samples, prepare
from lamofcbench.codecs.transform.profiles import FIRST, MIDDLE
from lamofcbench.codecs.transform.rows import row_groups
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=4096)
WIDTHS = 300, 20
SPECS = FeatureSpecs(
    tensors=tuple(
        TensorSpec(name=f"x{i}", role="hidden", shape=(T, width), dtype="float32") for i, width in enumerate(WIDTHS)
    )
)
WORDS, KNOWN, START = 120, 60, 0
MEANINGS = np.random.default_rng(7).normal(size=(24, WIDTHS[0])) * np.geomspace(1, 0.05, 24)[:, None]
VOCABULARY = np.random.default_rng(8).normal(size=(WORDS, 24))
SPELLINGS = VOCABULARY @ np.random.default_rng(9).normal(size=(24, WIDTHS[1]))
CONTEXT = np.random.default_rng(10).normal(size=(4, WIDTHS[0])) * 0.1


def feature_set(words, draw):
    """A row is its word, in one tensor bit by bit, in the other but for a little context."""
    context = draw.normal(size=(len(words), 4)) @ CONTEXT
    first = (VOCABULARY[words] @ MEANINGS + context).astype(np.float32)
    return FeatureSet({"x0": torch.from_numpy(first), "x1": torch.from_numpy(SPELLINGS[words].astype(np.float32))})


def texts(count, seed, lowest=1, highest=KNOWN, start=START):
    """Texts that begin with the same word, unless they do not."""
    draw = np.random.default_rng(seed)
    found = []
    for number in range(count):
        words = draw.integers(lowest, highest, 24 + number % 7)
        words[0] = words[0] if start is None else start
        found.append(feature_set(words, draw))
    return found


CALIBRATION = texts(32, 0)
NEW = texts(6, 1, KNOWN, WORDS)
MIXED = texts(6, 2, 1, WORDS)


class AsAnyOther(KltCodec):
    ingredients = Ingredients(unnamed=False)


def sensitivity(samples):
    halves = [SensitivitySums(SPECS, [0], [np.ones(sum(WIDTHS), np.float32)]) for _ in range(2)]
    for number, sample in enumerate(samples):
        draw = np.random.default_rng(number)
        rows = draw.normal(size=(len(sample["x0"]), 3)) @ np.random.default_rng(5).normal(size=(3, sum(WIDTHS)))
        parts = np.split(rows.astype(np.float32), [WIDTHS[0]], 1)
        halves[number % 2].add(FeatureSet({f"x{i}": torch.tensor(part) for i, part in enumerate(parts)}), 1.0)
    return sensitivity_of(halves)


def fit(codec_class, step=0.3, calibration=CALIBRATION):
    more = [sensitivity(calibration)] if codec_class is KltTaskCodec else []
    return codec_class(SPECS, {"step": step}).fit(calibration, *more)


def size_and_error(codec, samples):
    coded = [codec.encode(sample) for sample in samples]
    pairs = zip(map(codec.decode, coded), samples, strict=True)
    errors = [float((found[n] - sample[n]).square().sum()) for found, sample in pairs for n in ("x0", "x1")]
    return sum(map(len, coded)), sum(errors)


def rows_of(calibration=CALIBRATION):
    return prepare(row_groups(SPECS)[0], Samples.of(calibration))


def test_new_words_cost_much_less_than_as_rows_like_any_other():
    own, as_any_other = (size_and_error(fit(each), NEW) for each in (KltCodec, AsAnyOther))
    assert own[0] < 0.75 * as_any_other[0] and own[1] < 1.2 * as_any_other[1]


def test_words_that_come_again_cost_a_bit_more_for_it_at_most():
    samples = texts(8, 3)
    own, as_any_other = (size_and_error(fit(each), samples) for each in (KltCodec, AsAnyOther))
    assert own[0] <= as_any_other[0] + sum(len(sample["x0"]) for sample in samples) / 8 + 1
    assert own[1] == pytest.approx(as_any_other[1], rel=0.02)


@pytest.mark.parametrize("codec_class", [KltCodec, KltTaskCodec])
def test_known_and_new_words_of_a_text_come_back_each_in_its_place(codec_class):
    codec = fit(codec_class, 0.02)
    for sample in MIXED:
        found = codec.decode(codec.encode(sample))
        for name, tensor in found.tensors.items():
            assert (tensor - sample[name]).abs().max() < 0.1 * sample[name].std()


@pytest.mark.parametrize("codec_class", [KltCodec, KltTaskCodec])
def test_chunks_of_a_text_have_new_words_too(codec_class):
    codec = fit(codec_class, 0.02)
    rows = {name: tensor[5:11] for name, tensor in MIXED[0].tensors.items()}
    chunk, continued = FeatureSet(rows), codec.continuing(5)
    found = continued.decode(continued.encode(chunk))
    for name, tensor in found.tensors.items():
        assert (tensor - chunk[name]).abs().max() < 0.1 * chunk[name].std()


def test_in_the_tails_metric_new_words_are_weighted_and_those_of_foreign_samples_are_not():
    codec = fit(KltTaskCodec)
    assert {"0.unnamed_analyses", "0.unnamed_foreign_tables"} <= codec.state.keys()
    assert "0.unnamed_analysis" not in codec.state


def test_no_fold_knows_a_name_of_another():
    group, (_, rows) = row_groups(SPECS)[0], rows_of()
    parts, spelled = rows.unnamed.rows.centred, group.columns["x1"]
    raw = [np.ascontiguousarray(part[:, spelled]) for part in parts]
    folds = [{row.tobytes() for part in raw[fold::FOLDS] for row in part} for fold in range(FOLDS)]
    assert sum(map(len, folds)) == len(set.union(*folds)) == sum(map(len, parts))
    assert rows.unnamed.most_directions == sum(map(len, folds)) - max(map(len, folds))


def test_rows_that_no_other_sample_can_name_are_set_aside():
    alone = feature_set(np.array([START, 3, 100, 4, 5]), np.random.default_rng(4))
    _, rows = rows_of([*CALIBRATION, alone])
    assert rows.unnamed.where[-1].tolist() == [False, False, True, False, False]
    assert len(rows.unnamed.aside[-1]) == 1 and len(rows.named.centred[-1]) == 4
    assert all(MIDDLE not in places for places in rows.named.index)


@pytest.mark.parametrize("start", [START, None])
def test_first_rows_of_many_names_are_unnamed_those_of_one_are_not(start):
    calibration = texts(32, 0, start=start)
    for sample in calibration:
        sample["x0"][0] += 50.0  # as of an attention sink: their place has a mean of its own
    _, rows = rows_of(calibration)
    first = start is None
    assert rows.unnamed.first is first
    assert any(FIRST in places for places in rows.unnamed.rows.index) is first
    assert any(FIRST in places for places in rows.named.index) is not first
    codec = fit(KltCodec, 0.02, calibration)
    found = codec.decode(codec.encode(calibration[0]))
    assert (found["x0"] - calibration[0]["x0"]).abs().max() < 0.1


def test_too_few_names_tell_nothing_of_others():
    few = texts(32, 0, highest=unnamed.LEAST_NAMES - 1)
    assert rows_of(few)[1].unnamed is None
    sample = NEW[0]
    found = fit(KltCodec, 0.02, few)
    assert (found.decode(found.encode(sample))["x0"] - sample["x0"]).abs().max() < 0.1 * sample["x0"].std()


def test_a_row_that_is_merely_like_an_entry_is_predicted_from_it_and_unnamed():
    """A second spelling of each word, which calibration has not, of nearly the same meaning."""
    (block,) = fit(KltCodec)._blocks
    rows = block.group.gather(texts(1, 5)[0])
    rows += np.random.default_rng(6).normal(0, 0.2, rows.shape) * rows.std(0)
    entries, like = block.find_entries(rows.astype(np.float32))
    assert (like & (entries != NONE)).sum() > 10
    profiles = block.row_profiles(len(rows), entries, like)
    free = block._free(len(rows))
    assert (profiles[free][like] == MIDDLE).all()
    *_, (apart, at) = block.parts(profiles)
    assert apart is not block and set(np.flatnonzero(free)[like]) <= set(at)


def test_state_is_bounded(monkeypatch):
    monkeypatch.setattr(fitting, "_LAST", [None])
    monkeypatch.setattr(unnamed, "MAX_VALUES", 5 * sum(WIDTHS))
    codec = fit(KltCodec, 0.05)
    assert codec.state["0.unnamed_analysis"].shape == (5, sum(WIDTHS))
    size_and_error(codec, NEW)
    monkeypatch.setattr(fitting, "_LAST", [None])


def test_a_sample_of_new_words_alone_has_no_other_part():
    codec = fit(KltCodec)
    (block,) = codec._blocks
    assert isinstance(block, Block)
    everything = np.full(4, MIDDLE, np.intp)
    ((apart, at),) = block.parts(everything)
    assert apart is not block and at.tolist() == [0, 1, 2, 3]
