"""The builders of the multiple-choice tracks bring the declared samples."""

import pytest

from dataset_builders.mini.language.choices import TASKS, questions
from lamofcbench.builders import BUILDERS
from lamofcbench.scenarios.base import SCENARIOS


@pytest.mark.parametrize(("suffix", "model"), [("", "choices-qwen3"), ("-mamba", "choices-mamba")])
@pytest.mark.parametrize("task", TASKS)
def test_a_track_holds_its_questions_in_the_declared_numbers(task, suffix, model):
    name = f"mini-clu-{task}{suffix}"
    builder = BUILDERS.get(name)()
    assert builder.model_name == model
    scenario = SCENARIOS.get(name)
    hashes = []
    for split, count in (("test", scenario.test_samples), ("calibration", scenario.calibration_samples)):
        samples = builder.samples(split)
        assert [(s.inputs, s.reference) for s in samples] == [
            (q.prompt, q.answer) for q in questions(task, split, count)
        ]
        hashes += [builder.content_hash(sample) for sample in samples]
    assert len(set(hashes)) == scenario.test_samples + scenario.calibration_samples
