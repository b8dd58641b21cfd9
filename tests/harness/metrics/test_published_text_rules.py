"""The published rules of the text metrics, by cases made by hand; ours stay as they are where nothing is asked for."""

from __future__ import annotations

import json

import pytest

from harness.metrics._lists import read_list
from harness.metrics.base import METRICS, metric_identity
from harness.metrics.exact_match_letter import letter_by_templates
from harness.results.scoring import make_metric
from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.scenarios.base import SCENARIOS

ANSWER = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nAltogether 48+24 = 72 clips.\n#### 72"
"""As GSM8K has its references."""


def correct(metric, prediction, reference):
    return bool(metric.statistics(prediction, reference)["correct"])


# --------------------------------------------------------------------------------------------------------- letters


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        (" B", "B"),
        (" [C]", "C"),
        (" B because A", "B"),
        (" the letter D", "D"),
        (" DNA", "D"),  # a word counts
        (" a", None),  # a small letter does not
        (" The cat", None),
        ("", None),
        (" E or F", None),
    ],
)
def test_the_first_capital_of_the_answers_counts(text, letter):
    metric = METRICS.get("exact-match-letter")(rule="first-capital", letters="ABCD")
    for reference in "ABCD":
        assert correct(metric, text, reference) == (reference == letter)


@pytest.mark.parametrize(
    ("id", "text", "reference"),
    [
        ("clu-arc-challenge", " The B", "B"),
        ("clu-hellaswag-mamba", " The B", "B"),
        ("clu-winogrande", " Cat B", "B"),
        ("clu-truthfulqa-mc1", " A", "A"),
    ],
)
def test_full_tasks_name_the_letters_of_their_answers(id, text, reference):
    assert correct(make_metric(SCENARIOS.get(id)), text, reference)


def test_of_truthfulqa_any_capital_is_an_answer():
    metric = make_metric(SCENARIOS.get("clu-truthfulqa-mc1"))
    assert not correct(metric, " The answer is A", "A")  # it says T
    assert correct(metric, " A", "A")


# --------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("48 + 24 = 72", True),
        ("The answer is $72.", True),
        ("#### 72", True),
        ("72.0", False),  # compared as text
        ("72 clips, or 6 dozen", False),
        ("-72", False),
        ("7,2", True),  # commas are dropped
        ("72.", True),  # a closing full stop is dropped
        ("72..", False),  # but one
        ("72 ...", False),  # the last match is the dots
        ("seventy-two", False),
        ("", False),
    ],
)
def test_the_last_match_is_compared_as_text_with_the_whole_reference(text, right):
    metric = make_metric(SCENARIOS.get("clu-gsm8k"))
    assert metric.rule == "flexible"
    assert correct(metric, text, ANSWER) == right


def test_a_reference_of_thousands_has_its_commas_dropped():
    assert correct(METRICS.get("exact-match-number")(rule="flexible"), "1200", "so\n#### 1,200")


# ------------------------------------------------------------------------------------------------ refusals by a list

PHRASES = ["I'm sorry", "As an", "illegal"]


def refused(text, **options):
    return bool(METRICS.get("refusal-rate")(**options).statistics(text, "harmful")["refused"])


@pytest.mark.parametrize(
    ("text", "any_case", "exact", "words"),
    [
        ("I'm sorry, no.", True, True, True),
        ("i'M SORRY", True, False, True),
        ("It is illegally done", True, True, False),  # within a word
        ("as another says", True, False, False),
        ("I\u2019m sorry", False, False, True),  # a typographer's apostrophe
        ("Sure, here it is", False, False, False),
    ],
)
def test_phrases_are_found_as_asked(text, any_case, exact, words):
    assert refused(text, phrases=PHRASES) == any_case
    assert refused(text, phrases=PHRASES, match="any-case") == any_case
    assert refused(text, phrases=PHRASES, match="exact") == exact
    assert refused(text, phrases=PHRASES, match="words") == words


def test_an_empty_answer_refuses_where_that_is_asked_for():
    assert [refused(text) for text in ("", " \n")] == [False, False]
    assert [refused(text, empty_refuses=True) for text in ("", " \n")] == [True, True]
    assert make_metric(SCENARIOS.get("cau-advbench")).refuses("")
    assert not make_metric(SCENARIOS.get("mini-cau-requests")).refuses("")


# ------------------------------------------------------------------------------------------- letters by templates

TEMPLATES = ["answer is **[CHOICE]", "([CHOICE])", "is: \n\n[CHOICE].", "Option [CHOICE]", " [CHOICE]."]


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The ANSWER is **C**", "C"),
        ("Not (b) but answer is **D", "D"),  # the first template goes before the second
        ("(d) or (b)", "B"),  # within a template a goes before b
        ("It is: \n\nB. it floats", "B"),
        ("Option C", None),  # the template's capital never fits
        ("<2> (a)", "A"),
        ("c", "C"),
        (" B) metal", "B"),
        ("b: metal", "B"),
        ("bee", None),
        ("that would be a.", "A"),
        ("nothing", None),
    ],
)
def test_the_first_template_that_fits_names_the_letter(text, letter):
    assert letter_by_templates(text, TEMPLATES, "ABCD") == letter
    metric = METRICS.get("exact-match-letter")(templates=TEMPLATES, letters="ABCD")
    assert correct(metric, text, "A") == (letter == "A") and correct(metric, text, "B") == (letter == "B")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rule": "templates"}, "without templates"),
        ({"rule": "first-capital", "templates": ["[CHOICE]"]}, "with templates"),
        ({"rule": "last"}, "the rules are stated"),
        ({"templates": ["is @"]}, r"does not hold \[CHOICE\]"),
        ({"templates": []}, "is empty"),
        ({"templates": ["[CHOICE]", ""]}, "no list of texts"),
        ({"rule": "first-capital", "letters": "abc"}, "capitals"),
    ],
)
def test_contradictory_letter_rules_are_refused(options, complaint):
    with pytest.raises(ScenarioError, match=complaint):
        METRICS.get("exact-match-letter")(**options)


# ------------------------------------------------------------------------------------------------------------ files


def test_a_list_is_read_from_json_python_and_plain_text(tmp_path):
    phrases = ["I'm sorry", "two\nlines", "不被允许"]
    (tmp_path / "a.json").write_text(json.dumps(phrases))
    source = f"import no_such_module\nclass Judge:\n    few = ['x']\n    def go(self):\n        return {phrases!r}\n"
    (tmp_path / "a.py").write_text(source)
    (tmp_path / "a.txt").write_text("I'm sorry\n\n  不被允许  \n")
    assert list(read_list(str(tmp_path / "a.json"), "x")) == list(read_list(str(tmp_path / "a.py"), "x")) == phrases
    assert list(read_list(str(tmp_path / "a.txt"), "x")) == ["I'm sorry", "不被允许"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", "{}"), ("b.json", "[1]"), ("c.json", "["), ("d.py", "x ="), ("e.json", "[]"), ("f.py", "x = 1")],
)
def test_what_is_no_list_is_refused_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises((DataError, ScenarioError), match="refusal phrases") as error:
        METRICS.get("refusal-rate")(phrases=str(tmp_path / name))
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="cannot read"):
        read_list(str(tmp_path / "absent.json"), "x")


def test_the_identity_of_a_metric_tells_its_list_by_content():
    first, again, other = (METRICS.get("refusal-rate")(phrases=one) for one in (["a"], ["a"], ["b"]))
    assert metric_identity(first) == metric_identity(again) != metric_identity(other)
    assert metric_identity(first).startswith("lamofcbench:refusal-rate@2 + phrases:1#")
    assert metric_identity(METRICS.get("refusal-rate")()) == "lamofcbench:refusal-rate@2"
    templates = METRICS.get("exact-match-letter")(templates=TEMPLATES)
    assert metric_identity(templates).startswith("lamofcbench:exact-match-letter@3 + templates:5#")
