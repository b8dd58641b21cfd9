"""Codecs are ranked among all, and among those that have learned from the same kind of data."""

import io

import pytest
from synthetic_results import Writer

from harness.report import terminal_table
from harness.report.compile import compile_summary
from harness.report.render import markdown
from harness.report.summary import CodecSummary, OverallRow

CODECS = {"answer": (0.5, "tail"), "transform": (1.0, "calibration"), "learned": (1.5, "other data"),
          "metric": (2.0, "tail"), "plain": (3.0, "nothing")}  # fmt: skip


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    root = tmp_path_factory.mktemp("classes")
    for scenario in ("mini-cvu-digits", "mini-cvu-depth"):
        writer = Writer(root, scenario=scenario, samples=30, test_samples=30)
        writer.anchor_and_floor()
        for name, (ebpfp, trained_on) in CODECS.items():
            writer.write(name, ebpfp=ebpfp, score=0.98, trained_on=trained_on)
    return compile_summary(root, resamples=0, bound=False)


EXPECTED = [
    ("answer", "tail", 1, 1),
    ("transform", "calibration", 2, 1),
    ("learned", "other data", 3, 1),
    ("metric", "tail", 4, 2),
    ("plain", "nothing", 5, 1),
]


def test_the_overall_rows_have_both_ranks(summary):
    assert [(row.codec, row.trained_on, row.rank, row.class_rank) for row in summary.overall] == EXPECTED


def test_each_scenario_has_both_ranks_and_none_for_anchor_and_floor(summary):
    for part in summary.scenarios:
        rows = [(codec.codec, codec.trained_on, codec.rank, codec.class_rank) for codec in part.codecs]
        assert rows[:5] == EXPECTED
        assert [row[2:] for row in rows[5:]] == [(None, None), (None, None)]


def test_the_best_of_each_class_is_named(summary):
    [sentence] = [line for line in summary.findings if "trained on" in line]
    names = [part.split(" (")[0] for part in sentence.partition(": ")[2].split(", ") if " (" in part]
    assert names == ["plain", "transform", "answer", "learned"]


def test_codecs_of_equal_figures_share_a_place(tmp_path):
    for scenario in ("mini-cvu-digits", "mini-cvu-depth"):
        writer = Writer(tmp_path, scenario=scenario, samples=30, test_samples=30)
        writer.anchor_and_floor()
        writer.write("good", ebpfp=1.0, score=0.98, trained_on="tail")
        writer.write("lossy", ebpfp=2.0, score=0.5, trained_on="calibration")  # both never keep the score
        writer.write("worse", ebpfp=3.0, score=0.4, trained_on="tail")
        writer.write("other", ebpfp=4.0, score=0.3, trained_on="tail")
    summary = compile_summary(tmp_path, resamples=0, bound=False)
    expected = {"good": (1, 1), "lossy": (2, 1), "worse": (2, 2), "other": (2, 2)}
    for rows in (summary.overall, *(part.codecs[:4] for part in summary.scenarios)):
        assert {row.codec: (row.rank, row.class_rank) for row in rows} == expected


def test_ranks_are_shown_in_terminal_and_markdown(summary):
    stream = io.StringIO()
    terminal_table(summary, stream, points=False)
    assert "in class" in stream.getvalue() and "other data" in stream.getvalue()
    text = markdown.render(summary, {part.scenario: "" for part in summary.scenarios}, "")
    assert "| 4 | metric | tail | 2 |" in text


def test_a_codec_is_of_the_class_of_its_best_informed_point(tmp_path):
    writer = Writer(tmp_path, samples=30, test_samples=30)
    writer.anchor_and_floor()
    writer.write("mixed", ebpfp=1.0, score=0.98, params={"step": 1.0}, trained_on="calibration")
    writer.write("mixed", ebpfp=2.0, score=0.99, params={"step": 0.5}, trained_on="tail")
    [row] = compile_summary(tmp_path, resamples=0, bound=False).overall
    assert row.trained_on == "tail"


def test_summaries_of_before_are_read(summary):
    row = summary.overall[0].model_dump(exclude={"trained_on", "rank", "class_rank"})
    assert OverallRow.model_validate(row).class_rank is None
    codec = summary.scenarios[0].codecs[0].model_dump(exclude={"rank", "class_rank"})
    assert CodecSummary.model_validate(codec).rank is None
