"""The five spoken tasks: where their audio comes from, what is asked beside it, and which audio counts."""

from __future__ import annotations

from dataclasses import dataclass

from lamofcbench.errors import UnknownNameError
from lamofcbench.models.kimi_audio import SAMPLE_RATE

SHORTEST_SECONDS, LONGEST_SECONDS = 0.1, 60.0
"""The published pipeline skips audio that is shorter or longer."""

HARMFUL = "harmful"
"""The reference of every request of AdvBench."""

TRANSCRIBE = "Please transcribe the spoken content into written text."
"""The instruction of Kimi-Audio-Evalkit (MIT licence)."""


@dataclass(frozen=True)
class SpokenTask:
    """A task.

    Attributes:
        name: of its folder among the published raw data.
        dataset: Hub id of the data; None for archives of openslr.org.
        configuration: of the data, or the archive's name.
        split: of the data.
        instruction: the text before the audio; empty where the audio says all.
    """

    name: str
    dataset: str | None
    configuration: str
    split: str
    instruction: str = ""


TASKS = {
    "cau-librispeech-clean": SpokenTask("test_clean", None, "test-clean", "test", TRANSCRIBE),
    "cau-librispeech-other": SpokenTask("test_other", None, "test-other", "test", TRANSCRIBE),
    "cau-advbench": SpokenTask("advbench", "hlt-lab/voicebench", "advbench", "test"),
    "cau-openbookqa": SpokenTask("openbookqa", "hlt-lab/voicebench", "openbookqa", "test"),
    "cau-sdqa": SpokenTask("sd-qa", "hlt-lab/voicebench", "sd-qa", "usa"),
}


def task_of(scenario_id: str) -> SpokenTask:
    """The task of a full audio scenario.

    Raises:
        UnknownNameError: if it is none.
    """
    if scenario_id not in TASKS:
        raise UnknownNameError("audio scenario", scenario_id, TASKS)
    return TASKS[scenario_id]


def counts(samples: int, rate: int = SAMPLE_RATE) -> bool:
    """Whether audio of so many samples is asked about.

    Example:
        >>> [counts(samples) for samples in (1599, 1600, 960000, 960001)]
        [False, True, True, False]
    """
    return SHORTEST_SECONDS <= samples / rate <= LONGEST_SECONDS
