"""What users give a metric on the command line becomes part of the declaration, by content."""

from __future__ import annotations

import json

import pytest

from harness.commands._metric_options import with_options
from harness.results.scoring import make_metric
from lamofcbench.errors import DataError, LaMoFCBenchError, UnknownNameError
from lamofcbench.scenarios.base import SCENARIOS

REQUESTS, CHOICES = SCENARIOS.get("mini-cau-requests"), SCENARIOS.get("mini-cau-choices")


def test_an_option_goes_to_the_scenarios_whose_metric_has_it(tmp_path):
    (tmp_path / "list.json").write_text(json.dumps(["no way"]))
    requests, choices = with_options([REQUESTS, CHOICES], [f"phrases={tmp_path / 'list.json'}", "empty_refuses=true"])
    assert choices is CHOICES
    assert requests.metric_options == {"phrases": ["no way"], "empty_refuses": True}
    assert make_metric(requests).refuses("No way!") and make_metric(requests).refuses("")


def test_the_same_list_under_another_name_is_the_same_declaration(tmp_path):
    for name, phrases in (("a.json", ["x"]), ("b.json", ["x"]), ("c.json", ["y"])):
        (tmp_path / name).write_text(json.dumps(phrases))
    digests = [with_options([REQUESTS], [f"phrases={tmp_path / n}"])[0].digest for n in ("a.json", "b.json", "c.json")]
    assert digests[0] == digests[1] != digests[2] and REQUESTS.digest not in digests
    assert with_options([REQUESTS], [])[0].digest == REQUESTS.digest


def test_mistakes_are_one_clear_line(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown metric option 'phrase'; did you mean 'phrases'"):
        with_options([REQUESTS], ["phrase=x"])
    with pytest.raises(LaMoFCBenchError, match="is no NAME=VALUE"):
        with_options([REQUESTS], ["phrases"])
    with pytest.raises(DataError, match="refusal phrases: cannot read"):
        with_options([REQUESTS], [f"phrases={tmp_path / 'absent.json'}"])
