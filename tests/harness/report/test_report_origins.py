"""One curve is one codec: what was measured by other code is never joined to it, and never passes for it."""

import io
import json

import pytest
from synthetic_results import UNIFORM, Writer

from harness.report import terminal_table
from harness.report.compare import compare_runs
from harness.report.compile import compile_summary
from harness.report.origins import labels_of
from harness.report.render import page
from harness.report.render.styles import styles_of
from harness.report.summary import Summary
from harness.results.result import PROTOCOL_VERSION
from lamofcbench.errors import LaMoFCBenchError

OLD, NEW = "file:mine.py:Mine#00000000000000aa", "file:mine.py:Mine#00000000000000bb"
THEIRS = "file:my_codec.py:UniformCodec#00000000000000cc"


def _summary(writer: Writer, **options) -> Summary:
    return compile_summary(writer.root, resamples=0, bound=False, **options)


def _codecs(summary: Summary) -> dict:
    return {codec.codec: codec for codec in summary.scenarios[0].codecs if codec.role == "codec"}


def _good(writer: Writer, identity: str, codec: str = "mine", **options) -> None:
    """A source that keeps everything even at EBPFP 1."""
    for ebpfp in (1.0, 4.0):
        writer.write(codec, ebpfp=ebpfp, score=0.98, params={"bits": ebpfp}, identity=identity, **options)


def _bad(writer: Writer, identity: str, codec: str = "mine", **options) -> None:
    """A source that never keeps enough, which counts 32."""
    for ebpfp in (8.0, 24.0):
        writer.write(codec, ebpfp=ebpfp, score=0.5, params={"bits": ebpfp}, identity=identity, **options)


@pytest.mark.parametrize(("first", "second", "truth"), [(_good, _bad, 32.0), (_bad, _good, 1.0)])
def test_an_edited_codec_is_its_newest_code_alone(writer, first, second, truth):
    writer.anchor_and_floor()
    first(writer, OLD, asked="2026-01-01T00:00:00.000000+00:00")
    second(writer, NEW, asked="2026-01-01T00:00:00.000001+00:00")
    summary = _summary(writer)
    mine = _codecs(summary)["mine"]
    assert mine.retained[0].ebpfp.value == pytest.approx(truth, rel=0.01)
    assert (mine.identity, len(mine.points)) == (NEW, 2)
    [warning] = summary.warnings
    for told in ("mine: left out 2 points of older code", "mini-cvu-digits", OLD, NEW, "run the ladder again"):
        assert told in warning


def test_older_code_that_is_run_again_counts_again(writer):
    writer.anchor_and_floor()
    _bad(writer, NEW, asked="2026-01-02T00:00:00+00:00")
    _good(writer, OLD, asked="2026-01-03T00:00:00+00:00")
    assert _codecs(_summary(writer))["mine"].identity == OLD


def test_one_code_counts_on_all_scenarios(tmp_path):
    """Means over scenarios are of one codec, too."""
    one, two = (Writer(tmp_path, scenario=name, samples=30, test_samples=30) for name in ("one", "two"))
    for writer in (one, two):
        writer.anchor_and_floor()
        _good(writer, OLD, asked="2026-01-01T00:00:00+00:00")
    _bad(two, NEW, asked="2026-01-02T00:00:00+00:00")
    summary = _summary(two)
    [row] = summary.overall
    assert (row.identity, row.missing, row.compression["95"].value) == (NEW, ["one"], None)
    [warning] = summary.warnings
    assert "left out 4 points of older code on one, two" in warning


def test_codecs_of_one_name_from_different_places_stand_apart_everywhere(writer):
    writer.anchor_and_floor()
    for step, (ebpfp, score, nmse) in UNIFORM.items():
        writer.write("uniform", ebpfp=ebpfp, score=score, nmse=nmse, params={"step": step})
        other = {"ebpfp": ebpfp / 2, "score": score, "nmse": nmse, "params": {"step": step}}
        writer.write("uniform", **other, identity=THEIRS)
    summary = _summary(writer)
    assert summary.warnings == []
    codecs = _codecs(summary)
    assert list(codecs) == ["uniform (my_codec.py)", "uniform"]
    assert [len(codec.points) for codec in codecs.values()] == [5, 5]
    assert [codec.name for codec in codecs.values()] == ["uniform", "uniform"]
    assert summary.reference == "uniform"
    assert codecs["uniform"].bd_rate_mse.percent == pytest.approx(0)
    assert codecs["uniform (my_codec.py)"].bd_rate_mse.percent == pytest.approx(-50, abs=1)
    rows = {row.codec: row.identity for row in summary.overall}
    assert rows == {"uniform": "lamofcbench:uniform@1", "uniform (my_codec.py)": THEIRS}
    styles = styles_of(summary)
    assert styles["uniform"] != styles["uniform (my_codec.py)"]
    html = page.render(summary, styles)
    shown = io.StringIO()
    terminal_table(summary, shown)
    for text in (html, shown.getvalue(), " ".join(summary.findings)):
        assert "uniform (my_codec.py)" in text
    assert THEIRS in html


def test_the_reference_is_named_by_its_label(writer):
    writer.anchor_and_floor()
    _good(writer, "file:a.py:Mine#00000000000000aa")
    _good(writer, "file:b.py:Mine#00000000000000bb")
    assert _summary(writer).reference is None
    assert _summary(writer, reference="mine (b.py)").reference == "mine (b.py)"
    with pytest.raises(LaMoFCBenchError, match=r"'mine'; the reference may be mine \(a\.py\) or mine \(b\.py\)"):
        _summary(writer, reference="mine")


def test_a_users_uniform_is_no_default_reference(writer):
    writer.anchor_and_floor()
    _good(writer, THEIRS, codec="uniform")
    assert _summary(writer).reference is None
    assert _summary(writer, reference="uniform").reference == "uniform"


def test_labels_never_meet():
    families = {"x": ["lamofcbench", "file:a.py", "dist:a.py"], "x (a.py)": ["anonymous"], "y": ["anonymous"]}
    labels = labels_of((name, family) for name, found in families.items() for family in found)
    assert len(set(labels.values())) == 5
    assert labels["x", "lamofcbench"] == "x"
    assert (labels["x (a.py)", "anonymous"], labels["y", "anonymous"]) == ("x (a.py)", "y")


def test_a_users_codec_named_like_the_anchor_is_a_codec(writer):
    writer.anchor_and_floor(anchor=0.98)
    writer.write("identity", ebpfp=2.0, score=0.5, identity="file:mine.py:Identity#00000000000000aa")
    summary = _summary(writer)
    assert summary.scenarios[0].anchor.value == pytest.approx(0.98, abs=0.02)
    assert _codecs(summary)["identity (mine.py)"].points[0].retention.value < 0.5


def test_a_revised_anchor_takes_the_place_of_the_older_on_its_scenario(tmp_path):
    for scenario in ("one", "two"):
        writer = Writer(tmp_path, scenario=scenario, samples=30, test_samples=30)
        writer.anchor_and_floor()
    writer.write("identity", ebpfp=32.05, score=0.98, lossless=True, identity="lamofcbench:identity@2",
                 asked="2100-01-01T00:00:00+00:00")  # fmt: skip
    summary = _summary(writer)
    ends = [[(c.codec, c.role, c.identity[-1]) for c in part.codecs] for part in summary.scenarios]
    assert ends[0] == [("identity", "anchor", "1"), ("mean", "floor", "1")]
    assert ends[1] == [("identity", "anchor", "2"), ("mean", "floor", "1")]


def test_code_that_nothing_identifies_is_one_codec_within_one_process(writer):
    writer.anchor_and_floor()
    for bits, token, asked in ((1.0, "a", "2026-01-01"), (2.0, "b", "2026-01-02"), (4.0, "b", "2026-01-03")):
        run = {"code_token": token, "asked": asked}
        writer.write("mine", ebpfp=bits, score=0.9, params={"bits": bits}, identity="anonymous:Mine", run=run)
    summary = _summary(writer)
    assert [point.params for point in _codecs(summary)["mine"].points] == [{"bits": 2.0}, {"bits": 4.0}]
    assert "left out 1 point of older code" in summary.warnings[0]


def test_a_curve_of_states_that_were_fitted_here_and_elsewhere_is_said(writer):
    writer.anchor_and_floor()
    for bits, brought in ((1.0, True), (2.0, False), (4.0, False)):
        folder = writer.write("uniform", ebpfp=bits, score=0.9, params={"bits": bits}, trained_on="calibration")
        fingerprint = json.loads((folder / "result.json").read_text())["codec"]["fingerprint"]
        (folder / "codec").mkdir()
        fit = {"unfitted_fingerprint": fingerprint if brought else "0" * 64}
        (folder / "codec" / "fit.json").write_text(json.dumps(fit))
    [warning] = _summary(writer).warnings
    assert "uniform: 1 of 3 fitted points bring a state that was fitted elsewhere" in warning


# ------------------------------------------------------------------------------------------------------ other protocol

KNOWN = f"(1; this version has {PROTOCOL_VERSION})"


def _of_schema_1(writer: Writer) -> None:
    """Makes what was written so far results as an older version left them."""
    for path in writer.root.glob("*/*/*/result.json"):
        result = json.loads(path.read_text())
        if result["schema_version"] == 2:
            for name in ("metric_identity", "adapter_identity", "builder_identity"):
                del result[name]
            del result["codec"]["identity"]
            result |= {"schema_version": 1, "protocol_version": 1, "config_hash": path.parent.name[::-1]}
            path.write_text(json.dumps(result))
            path.parent.rename(path.parent.with_name(result["config_hash"]))


def test_results_of_another_protocol_are_left_out_in_one_line(writer):
    writer.anchor_and_floor()
    _good(writer, "", codec="uniform")
    _of_schema_1(writer)
    writer.anchor_and_floor()
    _bad(writer, "lamofcbench:uniform@1", codec="uniform")
    summary = _summary(writer)
    assert len(_codecs(summary)["uniform"].points) == 2
    assert summary.scenarios[0].current
    [warning] = summary.warnings
    assert f"left out 4 results (identity, mean, uniform) of another protocol {KNOWN}" in warning
    assert "then remove them" in warning


def test_where_there_are_no_others_results_of_another_protocol_are_shown_as_such(writer):
    writer.anchor_and_floor()
    _good(writer, "", codec="uniform")
    _of_schema_1(writer)
    summary = _summary(writer)
    [scenario] = summary.scenarios
    assert not scenario.current
    assert [codec.role for codec in scenario.codecs] == ["codec", "anchor", "floor"]
    assert summary.reference == "uniform"
    assert f"of another protocol {KNOWN}; run them again" in summary.warnings[0]
    shown = io.StringIO()
    terminal_table(summary, shown)
    for text in (page.render(summary, styles_of(summary)), shown.getvalue()):
        assert "(other protocol)" in text


def test_scenarios_of_different_protocols_share_no_row(tmp_path):
    for scenario in ("one", "two"):
        writer = Writer(tmp_path, scenario=scenario, samples=30, test_samples=30)
        writer.anchor_and_floor()
        _good(writer, "lamofcbench:uniform@1", codec="uniform")
        if scenario == "one":
            _of_schema_1(writer)
    summary = _summary(writer)
    assert {row.codec: row.missing for row in summary.overall} == {
        "uniform": ["one"],
        "uniform (protocol 1)": ["two"],
    }
    assert [codec.role for part in summary.scenarios for codec in part.codecs].count("anchor") == 2


def test_newer_code_of_the_scenario_counts_before_more_samples(writer):
    """An edited metric is looked at on a few samples first."""
    writer.anchor_and_floor()
    writer.samples = 20
    writer.context = {"metric_identity": "file:mine.py:Metric#00000000000000aa"}
    writer.anchor_and_floor()
    summary = _summary(writer)
    assert summary.scenarios[0].samples == 20
    assert "metric_identity lamofcbench:accuracy@1 instead of" in summary.warnings[0]


# ------------------------------------------------------------------------------------------------------------- compare


def _runs(tmp_path) -> list[Writer]:
    pair = [Writer(tmp_path / name, samples=60, test_samples=60) for name in ("a", "b")]
    for run in pair:
        run.anchor_and_floor()
    return pair


def test_an_edited_codec_is_compared_with_its_older_self_and_a_note_says_so(tmp_path):
    before, after = _runs(tmp_path)
    _good(before, OLD)
    _good(after, NEW)
    comparison = compare_runs(before.root, after.root, resamples=50)
    assert {pair.codec for pair in comparison.pairs} == {"identity", "mean", "mine"}
    assert comparison.scenarios[0].notes == [f"the code of mine was {OLD[:24]}…{OLD[-8:]}, is {NEW[:24]}…{NEW[-8:]}"]


def test_codecs_of_one_name_from_different_places_are_never_compared(tmp_path):
    before, after = _runs(tmp_path)
    _good(before, "lamofcbench:uniform@1", codec="uniform")
    _good(after, THEIRS, codec="uniform")
    comparison = compare_runs(before.root, after.root, resamples=50)
    assert {pair.codec for pair in comparison.pairs} == {"identity", "mean"}
    assert comparison.only_a == ["mini-cvu-digits uniform bits=1", "mini-cvu-digits uniform bits=4"]
    assert comparison.only_b[0] == "mini-cvu-digits uniform (my_codec.py) bits=1"


def test_runs_of_different_protocols_are_not_compared(tmp_path):
    before, after = _runs(tmp_path)
    _of_schema_1(before)
    comparison = compare_runs(before.root, after.root, resamples=50)
    assert comparison.pairs == []
    assert any(f"are of protocols 1 and {PROTOCOL_VERSION}" in warning for warning in comparison.warnings)
