"""Whisper's normalisation of transcripts, by cases made by hand."""

from __future__ import annotations

import json

import pytest

from harness.metrics import _whisper_text
from harness.metrics._whisper_text import WhisperWords, read_spellings
from harness.metrics.base import METRICS, metric_identity
from lamofcbench.errors import DataError, PluginError, ScenarioError
from lamofcbench.scenarios.base import SCENARIOS

SPELLINGS = {"colour": "color", "realise": "realize"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<|en|> Hello , world !<|endoftext|>", "hello world"),
        ("Um, the colour's red; I realise.", "the color is red i realize"),
        ("[noise] It won't (laughs) do <unk>", "it will not do"),
        ("Mr. Smith paid twenty-five dollars", "mister smith paid 25"),  # the sign goes with the basic normaliser
        ("1,200 people, 3.5 miles", "1200 people 3 5 miles"),
        ("MOTHER-IN-LAW", "mother in law"),
        ("東京 station", "東 京 station"),
        ("... -- !", ""),
        ("", ""),
        ("a <b [c] d (e <f", "a d e f"),
        ("a (b <c) d> (e) f (g", "a f g"),
        ("one <|en|> two <|three\n<|en|> four", "1234"),
    ],
)
def test_words(text, words):
    assert WhisperWords(SPELLINGS)(text) == words.split()


def test_the_error_rate_is_of_normalised_words():
    """ "colour" and "color", "twenty two" and "22" are no edits; one of six words is."""
    metric = METRICS.get("word-error-rate")(words="whisper", spellings=SPELLINGS)
    found = metric.statistics("The colour of twenty two cats.", "the color of 22 dogs")
    assert found == {"edits": 1.0, "words": 5.0}
    assert METRICS.get("word-error-rate")().statistics("The colour of", "the color of")["edits"] == 1.0


def test_the_table_comes_from_an_installed_package_or_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(_whisper_text, "PACKAGED", {"no_such_package": "english.json"})
    metric = METRICS.get("word-error-rate")(words="whisper")
    for ask in (lambda: metric.check_reference("a"), lambda: metric_identity(metric)):
        with pytest.raises(PluginError, match=r"pip install 'lamofcbench\[speech\]', or name") as error:
            ask()
        assert "\n" not in str(error.value)
    package = tmp_path / "spelling_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('never imported')")
    (package / "english.json").write_text(json.dumps(SPELLINGS))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_whisper_text, "PACKAGED", {"no_such": "x", "spelling_package": "english.json"})
    assert read_spellings() == SPELLINGS
    assert metric.statistics("colour", "color") == {"edits": 0.0, "words": 1.0}
    assert metric_identity(metric).startswith("lamofcbench:word-error-rate@2 + spellings:2#")


@pytest.mark.parametrize("content", ["[]", "{}", '{"a": 1}', "{"])
def test_what_is_no_table_is_refused(tmp_path, content):
    (tmp_path / "normalizer.json").write_text(content)
    with pytest.raises(DataError, match="spellings"):
        read_spellings(str(tmp_path / "normalizer.json"))


def test_full_scenarios_have_whispers_words_and_mini_ones_ours():
    for id in ("cau-librispeech-clean", "cau-librispeech-other"):
        assert SCENARIOS.get(id).metric_options == {"words": "whisper"}
    assert SCENARIOS.get("mini-cau-commands-clean").metric_options == {}
    with pytest.raises(ScenarioError, match="give own, or whisper"):
        METRICS.get("word-error-rate")(words="else")
