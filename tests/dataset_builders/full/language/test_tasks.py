"""The order of documents defines the samples' ids; prompts are those of the definitions."""

from __future__ import annotations

import pytest

from dataset_builders.full.language import definitions
from dataset_builders.full.language.definitions import TaskDefinition
from dataset_builders.full.language.tasks import TASKS, hellaswag_text, task_of
from lamofcbench.errors import DataError, PluginError, UnknownNameError
from lamofcbench.scenarios.base import SCENARIOS

PLAIN = TaskDefinition("plain.yaml", "{{question}}", "{{answer}}", "", (), 256)


def gsm8k(*questions):
    return [{"question": question, "answer": f"#### {number}"} for number, question in enumerate(questions)]


def test_the_longest_document_is_sample_0_and_equal_ones_keep_their_order():
    samples = TASKS["fc_gsm8k"].samples(gsm8k("bb", "a", "cccc", "dd"), PLAIN)
    assert [(one.id, one.prompt, one.reference) for one in samples] == [
        (0, "cccc", "#### 2"),
        (1, "bb", "#### 0"),
        (2, "dd", "#### 3"),
        (3, "a", "#### 1"),
    ]


def test_ids_are_places_in_that_order():
    task, documents = TASKS["fc_gsm8k"], gsm8k("bb", "a", "cccc")
    assert [one.prompt for one in task.samples(documents, PLAIN, [2, 0])] == ["a", "cccc"]
    for wrong in (3, -1):
        with pytest.raises(DataError, match=f"samples 0 to 2; {wrong} is none"):
            task.samples(documents, PLAIN, [wrong])


def test_all_texts_of_a_document_count_in_its_length():
    arc = {"question": "abc", "choices": {"text": ["1", "22"], "label": ["A", "B"]}, "answerKey": "A"}
    truthful = {"question": "abc", "mc1_targets": {"choices": ["1", "22", "333"], "labels": [1, 0, 0]}}
    winogrande = {"sentence": "a _ c", "option1": "1", "option2": "22", "answer": "1"}
    assert TASKS["fc_arc_challenge"].length(arc) == 6
    assert TASKS["fc_truthfulqa_mc1"].length(truthful) == 9
    assert TASKS["fc_winogrande"].length(winogrande) == 8
    assert TASKS["fc_gsm8k"].length({"question": "abc", "answer": "a long one"}) == 3


def test_hellaswag_is_cleaned_before_it_is_measured():
    document = {
        "activity_label": "Baking",
        "ctx_a": "A man [header] mixes  dough.",
        "ctx_b": "then HE",
        "ctx": "what the data have",
        "endings": [" bakes [title] eats ", "[x]"],
        "label": "1",
    }
    [prepared] = TASKS["fc_hellaswag"].ordered([document])
    assert prepared["ctx"] == prepared["query"] == "Baking: A man mixes dough. Then he"
    assert prepared["endings"] == prepared["choices"] == ["bakes. eats", ""]
    assert TASKS["fc_hellaswag"].length(prepared) == 34 + 11
    assert document["ctx"] == "what the data have"  # the data stay


def test_spaces_are_joined_once_as_published():
    assert hellaswag_text("a    b") == "a  b"


@pytest.mark.parametrize("id", sorted(s.id for s in SCENARIOS if s.edition == "full" and s.category == "CLU"))
def test_every_language_scenario_has_its_task(id):
    assert task_of(id) is TASKS[task_of(id).name]
    with pytest.raises(UnknownNameError):
        task_of("cvu-nyuv2")


def test_a_checkout_that_is_named_goes_before_the_package(tmp_path, monkeypatch):
    package = tmp_path / "an_lm_eval"
    (package / "tasks" / "gsm8k").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('never imported')")
    text = 'doc_to_text: "Question: {{question}}\\nAnswer:"\ndoc_to_target: "{{answer}}"\n'
    (package / "tasks" / "gsm8k" / "gsm8k.yaml").write_text(text)
    checkout = tmp_path / "custom_tasks"
    (checkout / "fc_gsm8k").mkdir(parents=True)
    (checkout / "fc_gsm8k" / "fc_gsm8k.yaml").write_text(text.replace("Answer:", "So:"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(definitions, "PACKAGE", "an_lm_eval")
    task, documents = TASKS["fc_gsm8k"], gsm8k("How many?")
    assert task.samples(documents, task.definition())[0].prompt == "Question: How many?\nAnswer:"
    assert task.samples(documents, task.definition(tmp_path))[0].prompt == "Question: How many?\nAnswer:"
    assert task.samples(documents, task.definition(checkout))[0].prompt == "Question: How many?\nSo:"
    monkeypatch.setattr(definitions, "PACKAGE", "no_such_package")
    with pytest.raises(PluginError, match="pip install"):
        task.definition()
