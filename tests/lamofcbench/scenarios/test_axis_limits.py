"""What a bitstream may claim stays near what samples really have: an axis limit is at most four times the longest."""

import pytest

from lamofcbench.scenarios.base import SCENARIOS, Axis
from lamofcbench.storage import open_split

ROOM = 4
MINI = [scenario.id for scenario in SCENARIOS if scenario.edition == "mini" and scenario.specs.axes]


def longest_samples(scenario):
    """The largest size of each ragged axis in both splits; reads rows of the index, no tensors."""
    longest = {}
    for reader in (open_split(scenario, split) for split in ("test", "calibration")):
        for row in map(reader.row, range(len(reader))):
            for spec in scenario.tensors:
                for axis, size in zip(spec.shape, row[spec.name]["shape"], strict=True):
                    if isinstance(axis, Axis):
                        longest[axis.name] = max(longest.get(axis.name, 0), size)
    return longest


@pytest.mark.parametrize("id", MINI)
def test_limits_of_the_mini_edition_leave_room_for_longer_samples_but_not_much(id):
    scenario = SCENARIOS.get(id)
    longest = longest_samples(scenario)
    for axis in scenario.specs.axes:
        assert 2 * longest[axis.name] <= axis.limit <= ROOM * longest[axis.name], axis


# What the published files have, or what the published pipeline lets through (60 seconds of audio).
PUBLISHED = {
    "cvu-imagenet-val": {"tokens": 1029},
    "cvu-imagenet-a": {"tokens": 1029},
    "cvu-imagenet-r": {"tokens": 1029},
    "cvu-ade20k": {"tokens": 3141, "crops": 3},
    "cvu-nyuv2": {"tokens": 3077},
    "cau-librispeech-clean": {"tokens": 750},
    "cau-sdqa": {"tokens": 750},
}


@pytest.mark.parametrize("id", PUBLISHED)
def test_limits_of_the_full_edition_follow_what_was_published(id):
    for axis in SCENARIOS.get(id).specs.axes:
        assert PUBLISHED[id][axis.name] < axis.limit <= ROOM * PUBLISHED[id][axis.name], axis
