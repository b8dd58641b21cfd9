"""The report in the terminal fits 80 columns and begins with who wins and by how much."""

import io

import pytest
from synthetic_results import Writer

from harness.cli import main
from harness.report import terminal_brief
from harness.report.compile import compile_summary

LONG = "a-codec-whose-name-alone-would-take-half-of-any-terminal-there-is"


def brief(summary):
    shown = io.StringIO()
    terminal_brief(summary, shown)
    return shown.getvalue()


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    root = tmp_path_factory.mktemp("brief")
    for scenario in ("mini-cvu-digits", "mini-clu-facts"):
        writer = Writer(root, scenario=scenario, samples=30, test_samples=30)
        writer.anchor_and_floor()
        writer.write("best", ebpfp=1.0, score=0.98, trained_on="calibration")
        writer.write(LONG, ebpfp=2.0, score=0.1, params={"step": 2.0})
        writer.write(LONG, ebpfp=4.0, score=0.936)  # a little more than 95 % of the way to the anchor
    writer.write("elsewhere", ebpfp=2.0, score=0.98)
    return compile_summary(root, resamples=20, bound=False)


def test_no_line_is_longer_than_80_columns(summary):
    assert max(map(len, brief(summary).splitlines())) <= 80


def test_it_begins_with_who_wins_and_by_how_much(summary):
    first = brief(summary).partition("\n- ")[0].replace("\n ", "")
    assert first.startswith("- best compresses most: at least 32.0 ")
    assert "at least 3.97 times as much as the next" in first


def test_two_rates_that_are_but_bounds_have_no_ratio(tmp_path):
    writer = Writer(tmp_path, scenario="mini-cvu-digits", samples=30, test_samples=30)
    writer.anchor_and_floor()
    for codec, ebpfp in (("held", 1.0), ("heavy", 4.0)):
        writer.write(codec, ebpfp=ebpfp, score=0.98)
    first = " ".join(brief(compile_summary(tmp_path, resamples=0, bound=False)).partition("\n- ")[0].split())
    times = "\N{MULTIPLICATION SIGN}"
    said = f"at least 32.0 {times} at 95 % of the score; the next, heavy, at least 8.00 {times}."
    assert first == f"- held compresses most: {said}"


def test_it_says_what_to_take_for_a_link(summary):
    words = " ".join(brief(summary).split())
    assert "Over 10 Mbit/s take best: it arrives first of the measured points that keep 95 % of the task" in words


def test_one_table_has_every_codec_and_a_dash_for_what_lacks_a_scenario(summary):
    lines = brief(summary).splitlines()
    rows = {line.split()[0]: line for line in lines if line.startswith((" best", " a-codec", " elsewhere"))}
    assert len(rows) == 3 and "1.00" in rows["best"]
    assert rows["elsewhere"].split()[2] == "\N{EN DASH}"
    assert "A dash: no figure for every scenario." in lines


def test_one_scenario_is_told_by_its_name_and_its_bounds(tmp_path):
    writer = Writer(tmp_path, scenario="mini-cvu-digits", samples=30, test_samples=30)
    writer.anchor_and_floor()
    writer.write("held", ebpfp=1.0, score=0.98)
    writer.write("lost", ebpfp=1.0, score=0.2)
    shown = brief(compile_summary(tmp_path, resamples=0, bound=False))
    assert "mini-cvu-digits" in shown and "\N{LESS-THAN OR EQUAL TO} 1.00" in shown and "never" in shown
    assert "\N{GREATER-THAN OR EQUAL TO} 32.0 \N{MULTIPLICATION SIGN}" in shown


def test_ladders_that_end_too_soon_are_named_with_the_point_to_go_on_from(tmp_path):
    writer = Writer(tmp_path, scenario="mini-cvu-digits", samples=30, test_samples=30)
    writer.anchor_and_floor()
    for step, rate in ((0.5, 2.0), (1.0, 1.0)):
        writer.write("uniform", ebpfp=rate, score=0.98, params={"step": step})
        writer.write("channel", ebpfp=rate, score=0.5, params={"step": step})
    words = " ".join(brief(compile_summary(tmp_path, resamples=0, bound=False)).split())
    assert "extend to higher rates, as none of their points keeps the score: channel:step=0.5 (mini-cvu" in words
    assert "extend to lower rates, as all of their points keep the score: uniform:step=1 (mini-cvu-digits)" in words


@pytest.mark.parametrize("others", [(), ("mini-clu-facts", "mini-clu-arithmetic")])
def test_a_part_of_the_test_samples_is_told_in_a_warning_the_headline_and_the_title(tmp_path, others, capsys):
    for scenario, samples in (("mini-cvu-digits", 8), *((other, 60) for other in others)):
        writer = Writer(tmp_path, scenario=scenario, samples=samples, test_samples=60)
        writer.anchor_and_floor()
        writer.write("best", ebpfp=1.0, score=0.98)
    warning = "figures are of a part of the test samples alone on mini-cvu-digits (8 of 60 samples)"
    summary = compile_summary(tmp_path, resamples=0, bound=False)
    assert summary.warnings == [warning]
    words = " ".join(brief(summary).split())
    assert words.startswith(f"warning: {warning} - best compresses most")
    assert f"{'1 of them ' if others else ''}on a part of the test samples" in summary.findings[0]
    title = "3 scenarios of 8 to 60 samples, geometric means" if others else "mini-cvu-digits, 8 of 60 samples"
    assert f" {title} " in words
    assert main(["recommend", "--results", str(tmp_path)]) == 0
    assert f"warning: {warning}\n" in capsys.readouterr().err


def test_whole_test_splits_need_no_warning(summary):
    assert not summary.warnings and "part of the test samples" not in " ".join(summary.findings)
    assert "2 scenarios of 30 samples, geometric means" in brief(summary)
