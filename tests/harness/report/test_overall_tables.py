"""The tables over all scenarios: what a mean is over, and what marks it."""

import dataclasses

import pytest
from synthetic_results import Writer

from harness.report import text
from harness.report.compile import analyse_results, compile_summary
from harness.report.overall import overall_rows
from harness.report.render.overall_tables import overall_table
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
