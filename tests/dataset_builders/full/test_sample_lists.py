"""Which samples a full scenario consists of."""

import json

import pytest

from dataset_builders.full.sample_lists import sample_places
from lamofcbench.errors import DataError, UnknownNameError


@pytest.fixture
def listed(tmp_path):
    def write(content):
        (tmp_path / "qwen3.json").write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path / "qwen3.json"

    return write


def test_a_list_decides_places_and_their_order(listed):
    file = listed({"fc_gsm8k": [7, 0, 3], "fc_hellaswag": []})
    assert sample_places("fc_gsm8k", available=8, count=3, file=file) == (7, 0, 3)


def test_without_a_list_the_first_places_are_taken():
    assert sample_places("fc_gsm8k", available=5, count=4) == (0, 1, 2, 3)
    with pytest.raises(DataError, match="has 3 samples; 4 are needed"):
        sample_places("fc_gsm8k", available=3, count=4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"fc_gsm8k": [0, 8, 1]}, "names the sample 8; there are 0 to 7"),
        ({"fc_gsm8k": [0, -1, 1]}, "names the sample -1"),
        ({"fc_gsm8k": [0, True, 1]}, "names the sample True"),
        ({"fc_gsm8k": [0, 1, 1]}, "names 2 different samples of 3"),
        ({"fc_gsm8k": [0, 1]}, "3 are needed"),
        ([1], "is no sample list"),
        ({"fc_gsm8k": 3}, "is no sample list"),
        ("{", "cannot read the sample list"),
        ("[" * 100_000, "cannot read the sample list"),
    ],
)
def test_wrong_lists_are_told(listed, content, message):
    with pytest.raises(DataError, match=message):
        sample_places("fc_gsm8k", available=8, count=3, file=listed(content))


def test_a_task_that_is_not_in_the_list_is_told(listed):
    with pytest.raises(UnknownNameError, match="fc_gsm8k"):
        sample_places("fc_gsm8k", available=8, count=3, file=listed({"fc_gsm": []}))
