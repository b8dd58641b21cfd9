"""A dictionary finds what comes again, and predicts it from other samples alone."""

import numpy as np
import pytest

from lamofcbench.codecs.entropy import SymbolDecoder, SymbolEncoder
from lamofcbench.codecs.transform import dictionary
from lamofcbench.codecs.transform.dictionary import NONE, Dictionary, EntryMeans, Repetition, find_repetition, level_of
from lamofcbench.codecs.transform.profiles import MIDDLE
from lamofcbench.codecs.transform.rows import row_groups
from lamofcbench.errors import BitstreamError
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=1000)
GROUP = row_groups(
    FeatureSpecs(
        tensors=tuple(TensorSpec(name=n, role="hidden", shape=(T, 4), dtype="float32") for n in ("deep", "word"))
    )
)[0]


def samples(count=20, words=6, seed=0, noise=0.1):
    """Rows whose last four columns are one of a few words, and whose first four follow from it, but for noise."""
    draw = np.random.default_rng(seed)
    vocabulary = np.random.default_rng(99).normal(size=(words, 8)).astype(np.float32)
    made = []
    for _ in range(count):
        rows = vocabulary[draw.integers(0, words, 15)]
        rows[:, :4] += draw.normal(0, noise, (15, 4))
        made.append(rows)
    return made


def everything(rows):
    return [np.ones(len(each), bool) for each in rows]


def made(rows):
    repetition = find_repetition(GROUP, rows)
    entries = EntryMeans(rows, repetition, everything(rows))
    return entries.dictionary(np.full(len(entries.order()) + 1, 5)), repetition, entries


def test_the_tensor_whose_rows_come_again_names_them():
    rows = samples()
    repetition = find_repetition(GROUP, rows)
    assert repetition.columns == GROUP.columns["word"] and repetition.count == 6
    first = np.concatenate(rows)[np.concatenate(repetition.names) == 0]
    assert (first[:, 4:] == first[0, 4:]).all()


def test_rows_that_never_come_again_make_no_dictionary():
    assert find_repetition(GROUP, [np.random.default_rng(i).normal(size=(9, 8)) for i in range(4)]) is None
    assert find_repetition(GROUP, [np.zeros((9, 8))] * 4) is None  # one row for all is a mean


def templated(count=20, seed=0, spoken=12):
    """Six rows of a template, the same in all samples, about rows that never come again."""
    template, draw = np.random.default_rng(98).normal(size=(6, 8)), np.random.default_rng(seed)
    made = [np.concatenate((template[:3], draw.normal(size=(spoken, 8)), template[3:])) for _ in range(count)]
    return [rows.astype(np.float32) for rows in made]


def test_of_rows_some_of_which_come_again_those_that_several_samples_have_are_entries():
    rows = templated()
    dictionary, repetition, _ = made(rows)
    assert not repetition.mostly and repetition.met_before == pytest.approx(1 / 3)
    assert len(dictionary.entries) == 6
    unseen = templated(1, seed=5)[0]
    _, near = dictionary.find(unseen)
    assert near[:3].all() and near[-3:].all() and not near[3:-3].any()
    unseen[1] *= 1.2  # near an entry, as any row is near some entry, but another one
    index, near = dictionary.find(unseen)
    assert index[1] != NONE and not near[1]
    assert find_repetition(GROUP, templated(spoken=55)) is None  # fewer than a tenth


def test_an_entry_predicts_the_whole_row():
    dictionary, _, _ = made(samples())
    rows = samples(1, seed=5)[0]
    index, near = dictionary.find(rows)
    assert (index != NONE).all() and near.all()
    assert np.square(rows - dictionary.predictions(index)).mean() < 0.02 * np.square(rows).mean()


def test_a_row_that_no_entry_brings_nearer_has_none():
    dictionary, _, _ = made(samples())
    index, near = dictionary.find(np.zeros((3, 8), np.float32))
    assert index.tolist() == [NONE] * 3 and not near.any()
    assert not dictionary.predictions(np.array([NONE])).any()


def test_a_row_that_is_much_like_an_entry_is_told_from_one_of_it():
    dictionary, _, _ = made(samples())
    rows = np.concatenate(samples(1, seed=5))[:4]
    like = rows + np.random.default_rng(0).normal(0, 0.3, rows.shape).astype(np.float32)
    far = rows + np.random.default_rng(0).normal(0, 3.0, rows.shape).astype(np.float32)
    (own, near), (found, of_like), (other, of_far) = map(dictionary.find, (rows, like, far))
    assert near.all() and not of_like.any() and not of_far.any()
    assert found.tolist() == own.tolist() and (other == NONE).any()


def test_entries_that_are_barred_are_not_found():
    dictionary, _, _ = made(samples())
    rows = np.concatenate(samples(2, seed=5))
    barred = np.array([0, 2])
    index, near = dictionary.find(rows, barred)
    assert not np.isin(index, barred).any()
    own, _ = dictionary.find(rows)
    assert near.tolist() == (~np.isin(own, barred)).tolist()
    index, near = dictionary.find(rows, np.arange(len(dictionary.entries)))
    assert (index == NONE).all() and not near.any()


def test_entries_are_the_same_however_few_distances_are_held_at_a_time(monkeypatch):
    found, _, _ = made(samples(40, words=30))
    rows = np.concatenate(samples(40, words=30, seed=5))
    at_once, _ = found.find(rows)
    sizes = []
    nearest = Dictionary._nearest
    monkeypatch.setattr(
        Dictionary, "_nearest", lambda self, rows, barred: sizes.append(len(rows)) or nearest(self, rows, barred)
    )
    monkeypatch.setattr(dictionary, "MOST_DISTANCES", 900)
    assert np.array_equal(found.find(rows)[0], at_once) and len(np.unique(at_once)) == 30
    assert sum(sizes) == len(rows) and max(sizes) * len(found.entries) <= 900


def test_a_sample_is_predicted_by_the_others_alone():
    rows = [*samples(3, noise=0.5), np.full((2, 8), 2.0, np.float32)]
    repetition = find_repetition(GROUP, rows)
    entries = EntryMeans(rows, repetition, everything(rows))
    predicted, counts = entries.without(repetition.names[3], rows[3], np.ones(2, bool))
    assert not predicted.any() and not counts.any()  # its word stands in no other sample
    predicted, counts = entries.without(repetition.names[0], rows[0], np.ones(15, bool))
    others, names = np.concatenate(rows[1:3]), np.concatenate(repetition.names[1:3])
    same = others[names == repetition.names[0][0]]
    assert counts[0] == len(same)
    assert np.allclose(predicted[0, :4], same[:, :4].sum(0) / (len(same) + 0.25), atol=1e-5)
    assert np.allclose(predicted[0, 4:], rows[0][0, 4:], atol=1e-5)  # of the word alone: one row tells all


def test_rows_are_met_before_where_another_sample_has_their_word():
    names = [np.array([0, 0, 1]), np.array([1, 2])]  # word 0 comes again in its own sample alone
    assert Repetition(GROUP.columns["word"], names, 3).met_before == 2 / 5


def test_numbers_of_entries_survive_the_stream():
    dictionary, _, _ = made(samples())
    index = np.array([0, 5, NONE, 3, 3, NONE])
    encoder = SymbolEncoder()
    dictionary.encode(encoder, index)
    decoder = SymbolDecoder(encoder.finish())
    assert dictionary.decode(decoder, 6).tolist() == index.tolist()
    decoder.finish()


@pytest.mark.parametrize("number", [6, 500, 10_000])
def test_an_entry_that_there_is_not_is_refused(number):
    dictionary, _, _ = made(samples())
    encoder = SymbolEncoder()
    dictionary.encode(encoder, np.array([number]))
    with pytest.raises(BitstreamError, match="dictionary lacks"):
        dictionary.decode(SymbolDecoder(encoder.finish()), 1)


def test_levels_grow_with_the_rows_behind_an_entry():
    assert level_of(np.array([1, 2, 4, 5, 19, 20, 999])).tolist() == [0, 1, 1, 2, 2, 3, 3]


def test_one_without_an_entry_says_nothing():
    nothing = np.zeros((0, 8), np.int8)
    empty = Dictionary(slice(4, 8), nothing, np.ones(8, np.float32), np.zeros(0, np.int8), np.ones(800, np.int32))
    none, _ = empty.find(np.ones((3, 8), np.float32))
    assert (none == NONE).all() and not empty.predictions(none).any()
    assert (empty.profiles(none) == MIDDLE).all()
