"""Comparing two runs: what changed is said, noise is not."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_results import Writer

from harness.cli import main
from harness.commands.compare import EXIT_REGRESSION
from harness.report.compare import compare_runs
from harness.report.comparison import Comparison

LADDER = {0.5: (4.0, 0.98), 1.0: (2.0, 0.9), 2.0: (1.0, 0.6)}


@pytest.fixture
def runs(tmp_path):
    """Two writers whose runs are alike; write a codec anew to change it."""
    pair = [Writer(tmp_path / name, samples=200, test_samples=200) for name in ("a", "b")]
    for run in pair:
        run.anchor_and_floor()
        _ladder(run)
    return pair


def _ladder(run: Writer, rate: float = 1.0, lost: float = 0.0, **options) -> None:
    for step, (ebpfp, score) in LADDER.items():
        run.write("uniform", ebpfp=rate * ebpfp, score=score - lost, params={"step": step}, **options)


def _compare(runs, **options) -> Comparison:
    return compare_runs(runs[0].root, runs[1].root, resamples=300, **options)


def _found(comparison: Comparison, verdict: str) -> set[tuple[str, str]]:
    return {(pair.label, change.measure) for pair, change in comparison.changes(verdict)}


def test_a_run_is_the_same_as_itself(runs):
    comparison = _compare(runs)
    assert _found(comparison, "better") == _found(comparison, "worse") == set()
    assert comparison.scenarios[0].paired
    assert comparison.scenarios[0].samples == 200
    assert (comparison.only_a, comparison.only_b, comparison.warnings) == ([], [], [])


def test_fewer_bytes_are_better_at_each_point_and_on_the_curve(runs):
    _ladder(runs[1], rate=0.9)
    comparison = _compare(runs)
    assert _found(comparison, "worse") == set()
    expected = {(f"step={step:g}", "rate") for step in LADDER} | {("", "EBPFP@95"), ("", "EBPFP@99")}
    assert _found(comparison, "better") == expected
    change = next(change for pair, change in comparison.changes("better") if pair.label == "step=1")
    assert change.difference.value == pytest.approx(-10, abs=0.3)
    assert change.unit == "%"


def test_curves_of_other_rate_points_are_told(runs):
    runs[1].write("uniform", ebpfp=3.0, score=0.97, params={"step": 0.7})
    notes = _compare(runs).scenarios[0].notes
    assert notes == ["the curves of uniform have other rate points (3 and 4), which alone may change its EBPFP@p"]


def test_a_lower_score_is_worse_unless_the_metric_falls(runs, tmp_path):
    _ladder(runs[1], lost=0.2)
    worse = _found(_compare(runs), "worse")
    assert {(f"step={step:g}", "score") for step in LADDER} <= worse
    assert {(f"step={step:g}", "retention") for step in LADDER} <= worse
    pair = [Writer(tmp_path / name, scenario="speech", metric="word-error-rate", direction="down") for name in "cd"]
    for run, errors in zip(pair, (0.2, 0.1), strict=True):
        run.anchor_and_floor(anchor=0.05, floor=1.0)
        run.write("uniform", ebpfp=2.0, score=errors)
    assert ("", "score") in _found(_compare(pair), "better")


def test_a_score_that_moves_within_noise_is_no_change(runs):
    _ladder(runs[1], lost=0.005)  # one sample of 200
    assert _found(_compare(runs), "worse") == set()


def test_speed_counts_beyond_the_stated_margin_alone(runs):
    _ladder(runs[1], encode_seconds=0.002 * 1.3, decode_seconds=0.001 * 2)
    comparison = _compare(runs)
    assert _found(comparison, "worse") == {(f"step={step:g}", "decode speed") for step in LADDER}
    assert _found(_compare(runs, speeds=False), "worse") == set()
    strict = _compare(runs, speed_margin=0.05)
    assert ("step=1", "encode speed") in _found(strict, "worse")


def test_a_rate_that_moves_by_less_than_a_thousandth_is_no_change(runs):
    runs[0].write("big", ebpfp=8.0, score=0.9)
    runs[1].write("big", ebpfp=8.0 * 1.0005, score=0.9)
    assert not [pair for pair, _ in _compare(runs).changes("worse") if pair.codec == "big"]


def test_runs_of_other_lengths_are_compared_on_the_samples_in_common(runs, tmp_path):
    shorter = Writer(tmp_path / "short", samples=80, test_samples=200)
    shorter.anchor_and_floor()
    _ladder(shorter)
    (part,) = _compare([runs[0], shorter]).scenarios
    assert (part.paired, part.samples) == (True, 80)


def test_other_data_are_compared_without_pairing_and_the_reason_is_told(runs, tmp_path):
    other = Writer(tmp_path / "other", samples=200, test_samples=200, context={"data_revision": "x" * 40})
    other.anchor_and_floor()
    _ladder(other, rate=0.5)
    comparison = _compare([runs[0], other])
    (part,) = comparison.scenarios
    assert not part.paired
    assert any("data_revision was rrrr" in note for note in part.notes)
    assert ("step=1", "rate") in _found(comparison, "better")


def test_other_conditions_are_noted(runs, tmp_path):
    other = Writer(tmp_path / "half", samples=200, test_samples=200, context={"dtype": "float16"})
    other.anchor_and_floor()
    (part,) = _compare([runs[0], other]).scenarios
    assert part.notes == ["dtype was float32, is float16"]


def test_results_that_only_one_run_has_are_named(runs):
    runs[0].write("zstd", ebpfp=24.0, score=0.98)
    runs[1].write("channel", ebpfp=2.0, score=0.9, params={"step": 1.0})
    comparison = _compare(runs)
    assert comparison.only_a == ["mini-cvu-digits zstd"]
    assert comparison.only_b == ["mini-cvu-digits channel step=1"]


def test_without_timings_or_metric_the_rest_is_compared(runs):
    for run in runs:
        for path in run.root.glob("*/uniform/*/timings.parquet"):
            path.unlink()
    (folder, *_) = runs[1].root.glob("*/uniform/*")
    table = pq.read_table(folder / "samples.parquet")
    column = table.column_names.index("statistic.correct")
    pq.write_table(
        table.set_column(column, "statistic.other", pa.array([1.0] * len(table))), folder / "samples.parquet"
    )
    comparison = _compare(runs)
    uniform = [pair for pair in comparison.pairs if pair.codec == "uniform" and pair.label]
    assert {change.measure for pair in uniform for change in pair.changes} == {"rate", "score", "retention"}
    assert any("cannot be computed" in note for note in comparison.scenarios[0].notes)


def test_the_command_prints_changes_and_succeeds_unless_told_to_fail(runs, capsys):
    _ladder(runs[1], rate=1.5)
    arguments = ["compare", str(runs[0].root), str(runs[1].root), "--bootstrap", "200"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "worse" in shown
    assert "paired" in shown
    assert "99 %" in shown
    assert main([*arguments, "--fail-on-regression"]) == EXIT_REGRESSION
    capsys.readouterr()
    assert main([*arguments[:2], str(runs[0].root), "--fail-on-regression", "--bootstrap", "20"]) == 0


def test_a_rate_that_is_only_bounded_keeps_its_sign(tmp_path, capsys):
    for name, rate in (("a", 4.0), ("b", 2.0)):
        run = Writer(tmp_path / name, samples=30, test_samples=30)
        run.anchor_and_floor()
        run.write("held", ebpfp=rate, score=0.98)
        run.write("lost", ebpfp=rate, score=0.2)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--bootstrap", "50", "--no-speed", "--all"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "EBPFP@95" in line]
    shown = {row[1]: " ".join(row[4:8]) for row in rows}
    assert shown == {
        "held": "\N{LESS-THAN OR EQUAL TO} 4.00 \N{LESS-THAN OR EQUAL TO} 2.00",
        "lost": "32 (never) 32 (never)",
    }


def test_a_bound_contradicts_no_rate_below_it(tmp_path, capsys):
    """In the second run the lowest points are missing, so that more is all that is known of the same curve."""
    ladder = {1: (4.0, 0.98), 2: (2.0, 0.97), 3: (1.0, 0.3)}
    for name, points in (("whole", (1, 2, 3)), ("lowest", (2,)), ("short", (1,))):
        run = Writer(tmp_path / name, samples=200, test_samples=200)
        run.anchor_and_floor()
        for point in points:
            ebpfp, score = ladder[point]
            run.write("uniform", ebpfp=ebpfp, score=score, params={"step": point})
    for before, after in (("whole", "short"), ("lowest", "short"), ("short", "whole"), ("short", "lowest")):
        comparison = _compare([Writer(tmp_path / before), Writer(tmp_path / after)])
        assert _found(comparison, "worse") == _found(comparison, "better") == set()
    assert main(["compare", str(tmp_path / "whole"), str(tmp_path / "short"), "--fail-on-regression"]) == 0
    assert "the true rate may be lower" in capsys.readouterr().out


def test_a_bound_on_the_other_side_still_counts(tmp_path):
    for name, points in (("bound", ((4.0, 0.98), (2.0, 0.98))), ("exact", ((3.0, 0.98), (2.5, 0.3)))):
        run = Writer(tmp_path / name, samples=200, test_samples=200)
        run.anchor_and_floor()
        for ebpfp, score in points:
            run.write("uniform", ebpfp=ebpfp, score=score, params={"step": ebpfp})
    runs = [Writer(tmp_path / name) for name in ("bound", "exact")]
    assert ("", "EBPFP@95") in _found(_compare(runs), "worse")
    assert ("", "EBPFP@95") in _found(_compare(runs[::-1]), "better")


def test_json_is_everything_in_ascii(runs, capsys):
    _ladder(runs[1], rate=1.5)
    assert main(["compare", str(runs[0].root), str(runs[1].root), "--json", "--bootstrap", "200"]) == 0
    shown = capsys.readouterr().out
    assert shown.isascii()
    comparison = Comparison.model_validate(json.loads(shown))
    assert {change.verdict for pair in comparison.pairs for change in pair.changes} == {"worse", "same"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent", "RUN"], "no results folder absent"),
        (["RUN", "RUN", "--bootstrap", "0"], "--bootstrap is 0"),
        (["RUN", "RUN", "--confidence", "99"], "between 0 and 1"),
        (["RUN", "RUN", "--speed-margin", "-1"], "--speed-margin is -1"),
    ],
)
def test_mistakes_get_one_line(runs, arguments, message, capsys):
    assert main(["compare", *(str(runs[0].root) if a == "RUN" else a for a in arguments)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
