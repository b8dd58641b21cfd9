"""Which questions of ``small-clu-facts`` the model answers on uncoded features, written beside the questions.

    python hub_cards/small_screening.py

The rule: the scenario's front, its stored dtypes, its tail and its metric, questions in batches of the scenario's
size in the order of the file. It is run again when questions, weights or the scenario's options have changed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from tqdm import tqdm

from dataset_builders.base import stored_features
from dataset_builders.small.facts import QUESTIONS_FILE, SCREENING_FILE, Question, candidates, screening
from harness.results.scoring import make_metric
from lamofcbench.builders import Sample
from lamofcbench.models.base import SplitModel
from lamofcbench.models.loading import load_model
from lamofcbench.scenarios.base import SCENARIOS, Scenario
from lamofcbench.storage.layout import SPLITS

SCENARIO = "small-clu-facts"


def answers(scenario: Scenario, model: SplitModel, batch: Sequence[Question]) -> Iterator[tuple[Question, str, bool]]:
    """Each question with the model's answer on uncoded features, and whether that is right."""
    metric = make_metric(scenario)
    features = [stored_features(model, Sample(one.id, one.prompt, one.answer), scenario) for one in batch]
    with torch.inference_mode():
        texts = model.tail(features)
    for question, text in zip(batch, texts, strict=True):
        yield question, text, bool(metric.statistics(text, question.answer)["correct"])


def main() -> None:
    """Screens all questions."""
    scenario = SCENARIOS.get(SCENARIO)
    model = load_model(scenario)
    answered: dict[str, list[bool]] = defaultdict(list)
    for split in SPLITS:
        questions, size = candidates(split), scenario.batch_size
        right_of_split = 0
        for start in tqdm(range(0, len(questions), size), desc=split):
            for question, text, right in answers(scenario, model, questions[start : start + size]):
                answered[question.subject].append(right)
                right_of_split += right
                print(f"{question.id} {'right' if right else 'wrong'} {text.strip()!r} {question.answer!r}")
        print(f"{split}: {right_of_split} of {len(questions)}", flush=True)
    SCREENING_FILE.write_text(json.dumps(screening(answered), indent=1) + "\n", encoding="utf-8")
    print(f"{SCREENING_FILE}, of the questions in {QUESTIONS_FILE.name}")


if __name__ == "__main__":
    main()
