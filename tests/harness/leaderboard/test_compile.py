"""The board's figures are the report's; what cannot stand beside the rest is left out with a reason."""

import csv
import dataclasses
import json
import shutil

import pytest
from synthetic_results import CHANNEL, UNIFORM, Writer

from harness.cli import main
from harness.leaderboard.board import Board, Rate, Row
from harness.leaderboard.compile import _ranked, compile_board
from harness.leaderboard.exports import to_csv, to_json
from harness.leaderboard.page import render
from harness.report.compile import compile_summary
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.scenarios.base import SCENARIOS

DIGITS, SPEECH = "mini-cvu-digits", "mini-cau-commands-clean"
FEW = 50
"""Bootstrap draws."""


def writer_of(root, scenario=DIGITS, **context):
    declared = SCENARIOS.get(scenario)
    return Writer(
        root,
        scenario,
        declared.metric,
        declared.direction,
        declared.test_samples,
        declared.test_samples,
        {"scenario_digest": declared.digest, **context},
        declared.version,
    )


def write_ladder(writer, codec, ladder, trained_on="calibration"):
    for step, (ebpfp, score, nmse) in ladder.items():
        score = 1.03 - score if writer.direction == "down" else score
        writer.write(codec, ebpfp=ebpfp, score=score, nmse=nmse, params={"step": step}, trained_on=trained_on)


def write_results(root, codecs=("uniform", "channel"), **context):
    """Two scenarios with anchor, floor and codecs."""
    for scenario in (DIGITS, SPEECH):
        writer = writer_of(root, scenario, **context)
        writer.anchor_and_floor(*((0.05, 1.0) if scenario == SPEECH else (0.98, 0.1)))
        for codec in codecs:
            write_ladder(writer, codec, UNIFORM if codec == "uniform" else CHANNEL)
    return root


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("measured") / "results")


@pytest.fixture(scope="module")
def made(results):
    return compile_board([results], "results", resamples=FEW)


def test_headline_interval_ranks_and_scenarios_are_the_reports(made, results):
    (edition,) = made.editions
    summary = compile_summary(results, resamples=FEW, bound=False)
    assert [row.codec for row in edition.rows] == [row.codec for row in summary.overall] == ["channel", "uniform"]
    for row, told in zip(edition.rows, summary.overall, strict=True):
        due = told.ebpfp[str(edition.percent)]
        assert (row.overall.value, row.overall.low, row.overall.high) == pytest.approx(
            (due.value, due.low, due.high), rel=1e-3
        )
        assert (row.overall.rank, row.overall.class_rank) == (told.rank, told.class_rank)
        assert row.decode_mb_per_s == pytest.approx(told.decode_mb_per_s.value, rel=1e-3)
    for scenario in summary.scenarios:
        for codec in scenario.codecs[:2]:
            row = next(row for row in edition.rows if row.codec == codec.codec)
            due = codec.retained_at(edition.percent).ebpfp
            assert row.scenarios[scenario.scenario].value == pytest.approx(due.value, rel=1e-3)
            assert [point.ebpfp for point in row.curves[scenario.scenario]] == pytest.approx(
                [point.ebpfp for point in codec.points], rel=1e-3
            )


def test_categories_and_kinds_are_means_over_their_scenarios(made):
    row = made.editions[0].rows[0]
    assert row.categories["CVU"].value == row.scenarios[DIGITS].value
    assert row.categories["CAU"].value == row.scenarios[SPEECH].value
    assert set(row.kinds) == {"hidden-state", "kv-cache"}
    assert row.categories["CVU"].low is not None
    assert row.overall.value == pytest.approx(
        (row.scenarios[DIGITS].value * row.scenarios[SPEECH].value) ** 0.5, rel=1e-3
    )


def test_rows_of_a_plain_folder_are_not_verified(made):
    assert {(row.level, row.submission, row.link) for row in made.editions[0].rows} == {("not verified", "", None)}


def test_the_page_says_that_rows_of_a_plain_folder_are_ranked_all_the_same(made):
    assert [row.overall.rank for row in made.editions[0].rows if row.overall is not None][:1] == [1]
    words = " ".join(render(made).split())
    assert "What is not replayed or not verified has no rank" not in words
    assert "Results from folders of whoever made this page are ranked" in words


def test_a_codec_that_lacks_a_scenario_stands_last_without_a_mean(results, tmp_path):
    other = tmp_path / "other"
    writer = writer_of(other)
    writer.anchor_and_floor()
    write_ladder(writer, "quick", {1.0: (0.5, 0.98, 0.1), 2.0: (0.4, 0.97, 0.1)}, trained_on="nothing")
    edition = compile_board([results, other], "both", resamples=0).editions[0]
    last = edition.rows[-1]
    assert (last.codec, last.overall, last.categories["CVU"].rank, last.categories["CVU"].class_rank) == (
        "quick",
        None,
        1,
        1,
    )
    assert "CAU" not in last.categories


def test_equal_figures_share_a_place_as_in_the_report(tmp_path):
    writer = writer_of(tmp_path / "results")
    writer.anchor_and_floor()
    for codec, ebpfp in {"second": 5.0, "first": 4.0, "neither": 2.0, "never": 1.0}.items():
        writer.write(codec, ebpfp=ebpfp, score=0.98 if ebpfp >= 4 else 0.2, trained_on="calibration")
    (edition,) = compile_board([writer.root], "results", resamples=0).editions
    placed = {row.codec: (row.overall.rank, row.overall.class_rank) for row in edition.rows}
    assert placed == {"first": (1, 1), "second": (2, 2), "never": (3, 3), "neither": (3, 3)}
    summary = compile_summary(writer.root, resamples=0, bound=False)
    assert placed == {row.codec: (row.rank, row.class_rank) for row in summary.overall}


def test_a_rank_is_not_of_rounded_figures():
    def row(codec, value):
        return Row(codec=codec, name=codec, level="not verified", trained_on="nothing", state_bytes=0,
                   overall=Rate(value=value), categories={}, kinds={}, scenarios={}, curves={})  # fmt: skip

    ranked = _ranked([row("a", 1.00002), row("b", 1.00001), row("c", 1.00002)])
    assert [(one.codec, one.overall.value, one.overall.rank) for one in ranked] == [
        ("b", 1.0, 1), ("a", 1.0, 2), ("c", 1.0, 2),
    ]  # fmt: skip


@pytest.fixture
def partial(results, tmp_path):
    """The results with a variant's and a codec that lacks a scenario."""
    copy = shutil.copytree(results, tmp_path / "results")
    slow = {"encode_seconds": 0.2, "decode_seconds": 0.1}
    variant = writer_of(copy, "mini-cvu-digits-shallow")
    variant.anchor_and_floor()
    variant.write("channel", ebpfp=2.0, score=0.98, trained_on="calibration", **slow)
    writer_of(copy).write("quick", ebpfp=0.5, score=0.98)
    return copy


def test_speeds_are_the_reports_over_tracks_alone_and_of_codecs_that_lack_none(partial):
    rows = {row.codec: row for row in compile_board([partial], "results", resamples=0).editions[0].rows}
    overall = {row.codec: row for row in compile_summary(partial, resamples=0, bound=False).overall}
    for stage in ("encode_mb_per_s", "decode_mb_per_s"):
        for codec in ("channel", "uniform"):
            assert getattr(rows[codec], stage) == pytest.approx(getattr(overall[codec], stage).value, rel=1e-3)
        assert getattr(rows["quick"], stage) is getattr(overall["quick"], stage).value is None
    assert {codec: row.state_bytes for codec, row in rows.items()} == {
        codec: row.state_bytes for codec, row in overall.items()
    }


def test_state_and_speeds_stand_on_lines_of_what_they_are_over(partial):
    made = compile_board([partial], "results", resamples=0)
    lines = list(csv.DictReader(to_csv(made).splitlines()))
    for name in ("state_bytes", "encode_mb_per_s", "decode_mb_per_s"):
        assert {line["figure"] for line in lines if line[name]} == {"overall"}


def test_codecs_of_one_name_are_told_apart(results, tmp_path):
    copy = shutil.copytree(results, tmp_path / "copy")
    rows = compile_board([results, copy], "both", resamples=0).editions[0].rows
    assert sorted(row.codec for row in rows) == ["channel", "channel 2", "uniform", "uniform 2"]


def test_another_data_revision_than_that_of_most_rows_is_left_out(results, tmp_path):
    other = write_results(tmp_path / "other", codecs=("channel",), data_revision="s" * 40)
    made = compile_board([other, results], "both", resamples=0)
    assert [row.codec for row in made.editions[0].rows] == ["channel", "uniform"]
    reasons = {(one.what, one.reason) for one in made.left_out}
    assert reasons == {(f"other, {name}", "it has another data revision than the rest") for name in (DIGITS, SPEECH)}


def test_what_the_report_warns_of_is_said(results, tmp_path):
    copy = shutil.copytree(results, tmp_path / "copy")
    damaged = next((copy / f"{DIGITS}@2" / "uniform").iterdir())
    (damaged / "result.json").unlink()
    (told,) = compile_board([copy], "copy", resamples=0).left_out
    assert told.what == "copy" and told.reason.startswith(f"skipped {damaged.relative_to(copy)}: it is no result")


@pytest.mark.parametrize(
    ("context", "fields", "reason"),
    [
        ({"protocol_version": 1}, {}, "its protocol is 1"),
        ({"scenario_digest": "e" * 64}, {}, "declared otherwise here"),
        ({}, {"samples": 60}, "it covers 60 of 650 samples"),
        ({}, {"samples": 60, "test_samples": 60}, "it states test samples 60; declared is 650"),
        ({}, {"version": 3}, "it states version 3; declared is 2"),
        ({"metric": "mean-iou"}, {}, "it states metric mean-iou; declared is accuracy"),
        ({"direction": "down"}, {}, "it states direction down; declared is up"),
    ],
)
def test_results_that_are_no_whole_track_are_left_out(tmp_path, context, fields, reason):
    writer = dataclasses.replace(writer_of(tmp_path / "results", **context), **fields)
    writer.anchor_and_floor()
    write_ladder(writer, "uniform", UNIFORM)
    with pytest.raises(LaMoFCBenchError, match=reason):
        compile_board([tmp_path / "results"], "results", resamples=0)


def test_json_holds_the_board_and_csv_a_line_a_figure(made):
    assert Board.model_validate_json(to_json(made)) == made
    lines = list(csv.DictReader(to_csv(made).splitlines()))
    row = made.editions[0].rows[0]
    assert len(lines) == 2 * (1 + len(row.categories) + len(row.kinds) + len(row.scenarios))
    first = lines[0]
    assert (first["figure"], first["codec"], first["rank"]) == ("overall", "channel", "1")
    assert float(first["ebpfp"]) == row.overall.value


@pytest.mark.parametrize("sign", ["=", "\N{FULLWIDTH EQUALS SIGN}"])
def test_no_cell_of_the_csv_is_a_formula(made, sign):
    rows = [row.model_copy(update={"codec": f"{sign}HYPERLINK(1)"}) for row in made.editions[0].rows]
    edition = made.editions[0].model_copy(update={"rows": rows})
    lines = list(csv.DictReader(to_csv(made.model_copy(update={"editions": [edition]})).splitlines()))
    assert {line["codec"] for line in lines} == {f"'{sign}HYPERLINK(1)"}


def test_the_command_writes_page_csv_and_json(results, tmp_path, capsys):
    output = tmp_path / "board"
    assert main(["leaderboard", "--results", str(results), "--output", str(output), "--bootstrap", "0"]) == 0
    paths = [str(output / name) for name in ("index.html", "leaderboard.csv", "leaderboard.json")]
    assert capsys.readouterr().out.splitlines() == paths
    assert json.loads((output / "leaderboard.json").read_text())["source"] == "results"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--results", "nowhere"], "there is no folder nowhere"),
        (["--results", "x", "--bootstrap", "-1"], "--bootstrap is -1"),
        (["--results", "x", "--revision", "main"], "name that with --repo"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["leaderboard", *arguments]) == 1
    assert said in capsys.readouterr().err
