"""The lists of `small-clu-recall`: disjoint names and codes, one right answer, of a stated length."""

import re

import pytest

from dataset_builders.small.recall import COUNTS, ENTRIES, RecallBuilder, codes, names
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage.layout import SPLITS

SCENARIO = SCENARIOS.get("small-clu-recall")
_LINE = re.compile(r"([A-Z][a-z]+): (\d{3})")


def test_the_splits_share_neither_names_nor_codes():
    assert not set(names("test")) & set(names("calibration"))
    assert not set(codes("test")) & set(codes("calibration"))
    assert len(names("test")) >= ENTRIES[1] and len(codes("test")) == len(codes("calibration")) == 450
    assert {"test": SCENARIO.test_samples, "calibration": SCENARIO.calibration_samples} == COUNTS


@pytest.mark.parametrize("split", SPLITS)
def test_a_list_holds_each_name_once_and_ends_at_one_of_them(split):
    for sample in RecallBuilder().samples(split):
        whole, again = sample.inputs.split("\n\nThe list again:\n")
        entries = dict(_LINE.findall(whole))
        assert ENTRIES[0] <= len(entries) == len(_LINE.findall(whole)) <= ENTRIES[1]
        assert set(entries) <= set(names(split)) and set(entries.values()) <= set(codes(split))
        assert len(set(entries.values())) == len(entries), "a code belongs to one name"
        *shown, asked = again.split("\n")
        assert [f"{name}: {entries[name]}" for name in (line.split(":")[0] for line in shown)] == shown
        asked = asked.removesuffix(":")
        assert entries[asked] == sample.reference and sample.reference not in again


def test_the_questions_are_spread_over_the_list():
    places = []
    for sample in RecallBuilder().samples("test"):
        lines = sample.inputs.split("\n\n")[0].split("\n")[1:]
        asked = sample.inputs.rpartition("\n")[2]
        places.append(next(i for i, line in enumerate(lines) if line.startswith(asked)) / len(lines))
    quarters = [sum(i / 4 <= place < (i + 1) / 4 for place in places) for i in range(4)]
    assert min(quarters) >= len(places) / 8


def test_prompts_take_128_to_512_tokens(small_model):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(small_model / "tokenizer.json"))
    samples = [sample for split in SPLITS for sample in RecallBuilder().samples(split)]
    lengths = [len(tokenizer.encode(sample.inputs, add_special_tokens=False).ids) for sample in samples]
    assert 128 <= min(lengths) < 160 and 480 < max(lengths) <= 512
    [axis] = SCENARIO.specs.axes
    assert max(lengths) <= axis.limit <= 4 * max(lengths)
