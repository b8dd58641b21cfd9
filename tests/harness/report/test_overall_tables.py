"""The tables over all scenarios: what a mean is over, what marks it, and who wins where."""

import dataclasses

import pytest
from synthetic_results import Writer

from harness.report import text
from harness.report.compile import analyse_results, compile_summary
from harness.report.overall import overall_rows
from harness.report.render.overall_tables import matrix_table, overall_table
from harness.report.render.scenario_tables import headline_table
from harness.report.summary import (
    BDRateRecord,
    BoundGap,
    BoundRecord,
    Estimate,
    FaithfulRate,
    JointBoundRecord,
    Summary,
)

FACTS, DIGITS, DEPTH = "mini-clu-facts", "mini-cvu-digits", "mini-cvu-depth"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Three scenarios, on which `first` is ahead of `second`."""
    root = tmp_path_factory.mktemp("results")
    for scenario in (FACTS, DIGITS, DEPTH):
        writer = Writer(root, scenario=scenario, samples=30, test_samples=30)
        writer.anchor_and_floor()
        writer.write("first", ebpfp=1.0, score=0.98)
        writer.write("second", ebpfp=4.0, score=0.98)
    return root


def changed(results, change) -> Summary:
    """The summary where each codec is as `change` makes it of scenario and codec, and what follows for the means."""
    analyses = [
        dataclasses.replace(part, summary=part.summary.model_copy(update={
            "codecs": [change(part.summary.scenario, codec) for codec in part.summary.codecs]}))
        for part in analyse_results(results, resamples=0, bound=False).analyses
    ]  # fmt: skip
    summary = compile_summary(results, resamples=0, bound=False)
    update = {"overall": overall_rows(analyses, 95), "scenarios": [part.summary for part in analyses]}
    return summary.model_copy(update=update)


def column(table, name):
    """Of each codec, the text of one column."""
    at = [column.name for column in table.columns].index(name)
    return {row[[column.name for column in table.columns].index("codec")].text: row[at].text for row in table.rows}


def faithful(rates):
    """Sets the rates of codecs by scenario: of scenarios with the values and bounds of each codec."""

    def change(scenario, codec):
        if codec.codec not in rates or scenario not in rates[codec.codec]:
            return codec
        value, bound = rates[codec.codec][scenario]
        rate = FaithfulRate(nats=0.03, ebpfp=Estimate(value=value), bound=bound)
        return codec.model_copy(update={"faithful": rate})

    return change


def test_a_mean_by_responses_is_over_the_scenarios_that_have_them_and_of_codecs_that_lack_none(results):
    rates = {"first": {FACTS: (1.0, "at most"), DIGITS: (4.0, "exact")}, "second": {FACTS: (0.5, "exact")}}
    summary = changed(results, faithful(rates))
    first, second = summary.overall
    assert (first.faithful_ebpfp.value, first.faithful_scenarios) == (pytest.approx(2.0), 2)
    assert (second.faithful_ebpfp.value, second.faithful_scenarios) == (None, 1)
    table = overall_table(summary)
    assert column(table, "EBPFP@0.03 nats") == {"first": "≤ 2.00", "second": text.NOTHING}
    assert "EBPFP@0.03 nats: over the scenarios whose responses are logits, 2 of 3." in table.notes


def test_bounds_of_a_mean_by_responses_are_those_of_its_parts(results):
    rates = {name: dict.fromkeys((FACTS, DIGITS, DEPTH), (2.0, "exact")) for name in ("first", "second")}
    table = overall_table(changed(results, faithful(rates)))
    assert column(table, "EBPFP@0.03 nats") == {"first": "2.00", "second": "2.00"}
    assert not any("whose responses" in note for note in table.notes)


def test_a_distance_to_the_joint_bound_says_over_how_many_scenarios_it_is(results):
    def change(scenario, codec):
        joint = 0.5 if scenario == FACTS or (scenario, codec.codec) == (DIGITS, "first") else None
        gap = BoundGap(nmse=0.1, bits=Estimate(value=1.0), joint_bits=Estimate(value=joint), reason="")
        return codec.model_copy(update={"bound_gaps": [gap]})

    summary = changed(results, change)
    joint = JointBoundRecord(groups=[], nmse=[], nmse_ebpfp=[], mse=[], mse_ebpfp=[])
    bounds = {name: BoundRecord(tensors=[], joint=joint if name != DEPTH else None, nmse=[], nmse_ebpfp=[], mse=[],
                                mse_ebpfp=[]) for name in (FACTS, DIGITS, DEPTH)}  # fmt: skip
    parts = [part.model_copy(update={"bound": bounds[part.scenario]}) for part in summary.scenarios]
    table = overall_table(summary.model_copy(update={"scenarios": parts}))
    assert column(table, "bits above joint bound") == {"first": "0.500", "second": "0.500 (1 of 2)"}


def test_a_mean_of_bd_rates_is_marked_where_curves_of_one_share_little(results):
    def change(scenario, codec):
        overlap = 0.5 if (scenario, codec.codec) == (FACTS, "second") else 0.9
        record = BDRateRecord(percent=100.0, overlap=overlap, reason="")
        other = BDRateRecord(percent=None, overlap=0.1, reason="they cross") if scenario == DIGITS else record
        return codec.model_copy(update={"bd_rate_mse": record, "bd_rate_score": other})

    table = overall_table(changed(results, change))
    assert column(table, "BD-rate, MSE") == {"first": "+100.0 %", "second": "+100.0 % †"}
    assert column(table, "BD-rate, score") == {"first": "+100.0 % (2 of 3)", "second": "+100.0 % † (2 of 3)"}
    assert "† On one scenario at least the two curves share less than 75 % of their quality range." in table.notes


def test_codecs_with_results_of_part_of_the_samples_are_marked(tmp_path):
    for scenario, samples in ((FACTS, 30), (DIGITS, 8)):
        writer = Writer(tmp_path, scenario=scenario, samples=samples, test_samples=30)
        writer.anchor_and_floor()
        writer.write("first", ebpfp=1.0, score=0.98)
        if samples == 30:
            writer.write("whole", ebpfp=4.0, score=0.98)
    summary = compile_summary(tmp_path, resamples=0, bound=False)
    overall, matrix = overall_table(summary), matrix_table(summary)
    assert [row[1].text for row in overall.rows] == ["first *", "whole"]
    assert [row[1].sort for row in overall.rows] == ["first", "whole"]
    assert [head.name for head in matrix.columns] == ["codec", FACTS, f"{DIGITS} *", "wins"]
    for table in (overall, matrix):
        assert f"* Of part of the samples: {DIGITS} 8 of 30." in table.notes


def test_whole_results_have_no_mark(results):
    summary = compile_summary(results, resamples=0, bound=False)
    for table in (overall_table(summary), matrix_table(summary)):
        assert not any("*" in note or "†" in note for note in table.notes)
        assert all(row[0].text != "first *" and row[1].text != "first *" for row in table.rows)


def test_the_table_of_who_wins_where_says_which_percent_ranks(realistic_results, results):
    heads = [head.name for head in matrix_table(compile_summary(realistic_results, resamples=0)).columns]
    assert heads == ["codec", "mini-cau-commands-clean @95", "mini-cvu-digits @99", "wins"]
    one = matrix_table(compile_summary(results, resamples=0, bound=False))
    assert [head.name for head in one.columns] == ["codec", FACTS, DEPTH, DIGITS, "wins"]
    assert one.notes[0].startswith("EBPFP@95: lower is better.")


def test_nobody_wins_where_nobody_keeps_the_score_and_tied_firsts_win_together(tmp_path):
    for scenario, scores in ((FACTS, {"a": 0.5, "b": 0.4, "c": 0.3}), (DIGITS, {"a": 0.98, "b": 0.98, "c": 0.3})):
        writer = Writer(tmp_path, scenario=scenario, samples=60, test_samples=60)
        writer.anchor_and_floor()
        for name, score in scores.items():
            writer.write(name, ebpfp=2.0, score=score)
    table = matrix_table(compile_summary(tmp_path, resamples=0, bound=False))
    assert {row[0].text: [cell.strong for cell in row[1:3]] for row in table.rows} == {
        "a": [False, True], "b": [False, True], "c": [False, False],
    }  # fmt: skip
    assert column(table, "wins") == {"a": "1", "b": "1", "c": "0"}


def test_no_codec_is_first_of_those_that_never_keep_the_score(tmp_path):
    for scenario in (FACTS, DIGITS):
        writer = Writer(tmp_path, scenario=scenario, samples=60, test_samples=60)
        writer.anchor_and_floor()
        for name in ("a", "b"):
            writer.write(name, ebpfp=2.0, score=0.5)
    summary = compile_summary(tmp_path, resamples=0, bound=False)
    assert column(overall_table(summary), "rank") == {"a": "1", "b": "1"}
    for table in (overall_table(summary), headline_table(summary)):
        assert not any(cell.strong for row in table.rows for cell in row)
