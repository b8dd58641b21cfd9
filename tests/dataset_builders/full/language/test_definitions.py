"""Task definitions are data: read safely, rendered strictly, compared with what scenarios declare."""

from __future__ import annotations

import pytest

from dataset_builders.full.language import definitions
from dataset_builders.full.language.definitions import (
    checked_out_definition,
    packaged_definition,
    read_definition,
)
from lamofcbench.errors import DataError, PluginError, ScenarioError
from lamofcbench.scenarios.base import SCENARIOS

CHOICE = """\
task: fc_winogrande
doc_to_text: "Fill (_).\\nSentence: {{sentence}}\\nA. {{option1}}\\nB. {{option2}}\\n"
doc_to_target: "{{'AB'[answer|int - 1]}}"
process_docs: !function utils.process_docs
gen_prefix: "The best answer is"
generation_kwargs:
  max_gen_toks: 100
  until:
    - "\\n\\n"
    - "."
"""


def written(folder, text, name="fc_winogrande"):
    path = folder / name / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    return path


def test_a_definition_makes_prompt_and_reference_exactly(tmp_path):
    definition = read_definition(written(tmp_path, CHOICE))
    document = {"sentence": " A _ b. ", "option1": "x", "option2": "{{y}}", "answer": "2"}
    assert definition.prompt(document) == "Fill (_).\nSentence:  A _ b. \nA. x\nB. {{y}}\n"  # the last newline stays
    assert definition.target(document) == "B"
    definition.check_options(SCENARIOS.get("clu-winogrande"))
    definition.check_options(SCENARIOS.get("clu-winogrande-mamba"))
    with pytest.raises(ScenarioError, match=r"clu-gsm8k has answer_prefix ''; .*has 'The best answer is'"):
        definition.check_options(SCENARIOS.get("clu-gsm8k"))


def test_a_field_may_be_named_instead_of_a_template_and_a_file_may_include_another(tmp_path):
    written(tmp_path, 'doc_to_text: question\ndoc_to_target: "no"\ngeneration_kwargs: {until: "X"}\n', "base")
    path = written(tmp_path, "include: ../base/base.yaml\ndoc_to_target: answer\n", "task")
    definition = read_definition(path)
    assert definition.prompt({"question": "{{1}}?", "answer": 7}) == "{{1}}?"
    assert definition.target({"question": "?", "answer": 7}) == "7"
    assert (definition.stop_strings, definition.max_new_tokens, definition.answer_prefix) == (("X",), 256, "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("doc_to_text: !function utils.text\ndoc_to_target: a\n", "doc_to_text is no template; what code makes"),
        ("doc_to_text: a\n", "doc_to_target is no template"),
        ("doc_to_text: a\ndoc_to_target: a\ngeneration_kwargs: [1]\n", "generation_kwargs is .* and no mapping"),
        ("doc_to_text: a\ndoc_to_target: a\ngeneration_kwargs: {max_gen_toks: many}\n", "tells no number of tokens"),
        ("doc_to_text: a\ndoc_to_target: a\ngeneration_kwargs: {until: 3}\n", "no texts to stop at"),
        ("- a\n", "no task definition"),
        ("a: [", "cannot read the task definition"),
        ("a: !!python/object/apply:os.system ['false']\n", "cannot read the task definition"),
        ("include: fc_winogrande.yaml\n", "no task definition"),
        ("include: absent.yaml\n", "cannot read the task definition"),
    ],
)
def test_what_is_no_definition_is_refused_in_one_line(tmp_path, text, complaint):
    with pytest.raises(DataError, match=complaint) as error:
        read_definition(written(tmp_path, text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "template", ["{{absent}}", "{{answer.x.y}}", "{{''.__class__.__mro__}}", "{% if %}", "{{answer + 1}}"]
)
def test_a_template_that_does_not_fit_or_reaches_out_is_an_error(tmp_path, template):
    path = written(tmp_path, f'doc_to_text: "{template}"\ndoc_to_target: answer\n')
    with pytest.raises(DataError, match="a document does not fit the template"):
        read_definition(path).prompt({"answer": "7"})


def test_a_missing_package_or_checkout_is_asked_for_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(definitions, "PACKAGE", "no_such_package")
    with pytest.raises(PluginError, match=r"pip install 'lamofcbench\[lm-eval\]'"):
        packaged_definition("gsm8k/gsm8k.yaml")
    with pytest.raises(DataError, match="name the folder machine/clu/custom_tasks of a checkout"):
        checked_out_definition("fc_winogrande", tmp_path)
    monkeypatch.setenv("LAMOFCBENCH_SOURCES", str(tmp_path))
    written(tmp_path / "custom_tasks", CHOICE)
    assert checked_out_definition("fc_winogrande").answer_prefix == "The best answer is"
