"""Every full audio scenario has its task; transcripts are asked for in words, all else by the audio alone."""

from __future__ import annotations

import pytest

from dataset_builders.full.speech.tasks import TASKS, task_of
from lamofcbench.errors import UnknownNameError
from lamofcbench.scenarios.base import SCENARIOS


def test_every_full_audio_scenario_has_its_task():
    assert sorted(TASKS) == sorted(s.id for s in SCENARIOS if s.edition == "full" and s.category == "CAU")
    with pytest.raises(UnknownNameError, match="did you mean 'cau-sdqa'"):
        task_of("cau-sd-qa")


def test_only_transcripts_are_asked_for_in_words():
    instructions = {id: task_of(id).instruction for id in TASKS}
    assert {id for id, text in instructions.items() if text} == {"cau-librispeech-clean", "cau-librispeech-other"}
    assert len(set(instructions.values())) == 2
