"""The page on real features: its tables are its figures, ranked and compared as they say."""

import json
import math
from types import SimpleNamespace

import pytest
import small_findings
import torch
from small_findings import FINDINGS, PAGE, Rates, outliers_table, page, ranks_table, rates_table
from small_outliers import massive_channels, with_channels, with_first_token

from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.features import FeatureSet

SMALL = ("small-clu-a", "small-clu-b")


def rate(value, bound="exact"):
    return {"ebpfp": {"value": value, "low": None, "high": None}, "bound": bound}


@pytest.fixture
def rates(monkeypatch):
    """Three codecs whose order on mini is another than on small; `c` has no mini figures."""
    found = {
        "scenarios": {name: {} for name in SMALL},
        "protocols": {"uniform": 3, "a": 3, "c": 2},
        "codecs": {
            "uniform": {SMALL[0]: {"faithful": rate(4.0), "retained": rate(2.0)},
                        SMALL[1]: {"faithful": rate(1.0), "retained": rate(2.0)}},
            "a": {SMALL[0]: {"faithful": rate(1.0, "at most"), "retained": rate(1.0)},
                  SMALL[1]: {"faithful": rate(1.0), "retained": rate(3.0)}},
            "c": {SMALL[0]: {"faithful": rate(32.0, "never"), "retained": rate(32.0, "never")},
                  SMALL[1]: {"faithful": None, "retained": rate(32.0)}},
        },
    }  # fmt: skip
    tracks = {"mini-clu-facts": {}, "mini-cvu-digits": {}}
    board = {
        "scenarios": tracks,
        "retained": {
            "uniform": {"mini-clu-facts": rate(1.0), "mini-cvu-digits": rate(9.0)},
            "a": {"mini-clu-facts": rate(2.0), "mini-cvu-digits": rate(0.5)},
        },
    }
    return Rates(found, board)


def cells(table):
    """Rows of a table in Markdown, by their first cell."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_means_are_geometric_and_need_every_scenario(rates):
    assert rates.faithful("uniform").ebpfp == pytest.approx(2.0) and rates.faithful("a").ebpfp == pytest.approx(1.0)
    assert rates.kept("a").ebpfp == pytest.approx(math.sqrt(3)) and math.isnan(rates.faithful("c").ebpfp)
    assert rates.mini_caches("a").ebpfp == pytest.approx(2.0) and rates.mini("a").ebpfp == pytest.approx(1.0)
    assert math.isnan(rates.mini("c").ebpfp)


def test_a_mean_is_a_bound_where_one_of_its_rates_is(rates):
    assert [rates.faithful(name).bound for name in ("a", "uniform")] == ["at most", "exact"]
    assert rates.kept("a").bound == "exact" and rates.kept("c").bound == "exact"  # 32 stands for one that is never


def test_rates_are_shown_with_their_bounds_and_beside_uniform(rates):
    found = cells(rates_table(rates))
    assert found["a"] == ["≤ 1", "1", "≤ 1", "≥ 2.00", "1.73", "2", "0.50"]
    assert found["c` †"] == ["never 32", "-", "-", "-", "32", "-", "-"]


@pytest.fixture
def measured_anew(tmp_path, monkeypatch):
    """The findings of a folder of results that has one codec alone."""
    codec = SimpleNamespace(codec="b", role="codec", faithful=None, retained_at=lambda percent: None)
    part = SimpleNamespace(
        scenario=SMALL[0], samples=9, test_samples=9, version=1, data_revision="r", protocol_version=3, codecs=[codec]
    )
    monkeypatch.setattr(small_findings, "whole_summary_of", lambda results: SimpleNamespace(scenarios=[part]))
    return lambda before: small_findings.findings(tmp_path, before)


def test_codecs_that_were_not_measured_anew_keep_row_and_protocol(measured_anew):
    before = {
        "scenarios": {SMALL[0]: {"version": 1, "data_revision": "r", "samples": 9}},
        "protocols": {"a": 2, "b": 2},
        "codecs": {"a": {SMALL[0]: {"faithful": rate(1.0), "retained": None}}, "b": {}},
    }
    found = measured_anew(before)
    assert found["protocols"] == {"a": 2, "b": 3} and found["codecs"]["a"] == before["codecs"]["a"]
    assert found["codecs"]["b"] == {SMALL[0]: {"faithful": None, "retained": None}}
    assert measured_anew(None)["codecs"].keys() == {"b"}


def test_nobody_keeps_a_row_on_other_data(measured_anew):
    before = {"scenarios": {SMALL[0]: {"version": 1, "data_revision": "q", "samples": 9}}, "codecs": {"a": {}}}
    with pytest.raises(LaMoFCBenchError, match="a were measured on other data; run them again"):
        measured_anew(before)


def test_ranks_are_of_those_codecs_that_have_all_figures(rates):
    found = cells(ranks_table(rates))
    assert "c" not in found
    assert found["a"] == ["1", "1", "2", "1"] and found["uniform"] == ["2", "2", "1", "2"]
    assert found["Spearman's rho with the first"] == ["1.00", "1.00", "-1.00", "1.00"]


def test_what_outliers_cost_is_what_sparing_them_takes_away():
    one = {
        "label": "step=1", "ebpfp": 2.0, "nats": 0.2, "nats_with_first_token": 0.05, "nats_with_channels": 0.2,
        "first_token_error": 1e-3, "others_error": 2e-2,
    }  # fmt: skip
    shown = cells(outliers_table({"codecs": {"a": one}}))["a"]
    assert shown == ["step=1", "2", "0.2", "0.05 (25%)", "0.2 (100%)", "1.0e-03", "2.0e-02"]


def test_spared_features_are_uncoded_there_and_decoded_elsewhere():
    original = FeatureSet({"key.0": torch.ones(3, 5, 64), "hidden": torch.ones(5, 8)})
    decoded = FeatureSet({"key.0": torch.zeros(3, 5, 64), "hidden": torch.zeros(5, 8)})
    spared = with_first_token(original, decoded)
    assert bool((spared["key.0"][:, 0] == 1).all()) and not spared["key.0"][:, 1:].any()
    assert bool((spared["hidden"][0] == 1).all()) and not spared["hidden"][1:].any()
    channels = with_channels(original, decoded, torch.tensor([2, 5]))
    assert channels["hidden"].sum(0).tolist() == [0, 0, 5, 0, 0, 5, 0, 0] and not channels["key.0"].any()


def test_massive_channels_are_those_far_above_the_median():
    hidden = torch.ones(10, 6)
    hidden[0, 3] = -500.0
    assert massive_channels([FeatureSet({"hidden": hidden})]).tolist() == [3]


@pytest.mark.skipif(not FINDINGS.is_file(), reason="the small edition has not been measured yet")
def test_the_page_holds_what_was_measured():
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run python hub_cards/small_findings.py"
    assert set(json.loads(FINDINGS.read_text())["scenarios"]) <= {s.id for s in small_findings.SCENARIOS}
