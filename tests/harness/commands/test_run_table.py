"""The table at the end of a run: a figure a codec and scenario, and what to do about ladders that end too soon."""

from harness.commands._run_table import CurvePoint, lines
from harness.report.text import NOTHING


def _curve(scenario, codec, points, *, lossless=False, samples=128):
    return [
        CurvePoint(scenario, codec, f"{codec}:step={step}", rate, kept, lossless, samples)
        for step, (rate, kept) in enumerate(points)
    ]


CROSSING = [(8.0, 1.0), (2.0, 0.95), (1.0, 0.5)]
KEEPING = [(4.0, 1.0), (2.0, 1.0)]
LOSING = [(4.0, 0.9), (2.0, 0.2)]


def test_a_row_a_scenario_and_a_column_a_codec_with_the_kind_of_each_figure():
    points = _curve("one", "a", CROSSING) + _curve("one", "b", KEEPING) + _curve("two", "b", LOSING)
    told = list(lines(points, None))
    assert told[0].startswith("EBPFP@95: the lowest rate that keeps 95 %")
    assert told[1].split() == ["scenario", "a", "b"]
    assert told[2].split() == ["one", "2.00", "≤", "2.00"]
    assert told[3].split() == ["two", NOTHING, "32", "(never)"]


def test_the_level_is_the_one_that_a_report_ranks_by():
    many = _curve("one", "a", [(8.0, 1.0), (4.0, 0.99), (2.0, 0.95)], samples=400)
    told = list(lines(many, None))
    assert told[0] == (
        "EBPFP@99: the lowest rate that keeps 99 % of the score (99 %, not 95 %, from 400 samples on); uncoded is 32"
    )
    assert told[2].split() == ["one", "4.00"]
    assert next(lines(many + _curve("two", "a", CROSSING), None)).startswith("EBPFP@95")


def test_open_ends_name_the_last_point_of_the_ladder_there():
    told = list(lines(_curve("one", "a", KEEPING) + _curve("one", "b", LOSING), None))[3:]
    assert len(told) == 2
    assert "to higher rates" in told[0] and told[0].endswith(": b:step=0 (one).")
    assert "to lower rates" in told[1] and told[1].endswith(": a:step=1 (one).")
    told = list(lines(_curve("one", "a", KEEPING) + _curve("two", "a", KEEPING), 60, thinned=True))
    assert "a:step=1 (on 2 scenarios). What they lack may be" in " ".join(told)
    assert max(map(len, told)) <= 60


def test_nothing_is_said_of_what_has_one_rate_or_no_end():
    single, exact = _curve("one", "a", KEEPING[:1]), _curve("one", "zstd", KEEPING, lossless=True)
    assert len(list(lines(single + exact + _curve("one", "b", CROSSING), None, thinned=True))) == 3
    assert list(lines([], None)) == []


def test_a_curve_without_a_rate_or_retention_has_no_figure():
    told = list(lines(_curve("one", "a", [(None, 1.0), (2.0, 1.0)]) + _curve("one", "b", [(1.0, None)]), None))
    assert told[2].split() == ["one", NOTHING, NOTHING]


def test_columns_that_do_not_fit_stand_below():
    codecs = [f"a-codec-of-a-long-name-{number}" for number in range(5)]
    told = list(lines([point for codec in codecs for point in _curve("one", codec, CROSSING)], 80))
    assert max(map(len, told)) <= 80
    heads = [line.split()[1:] for line in told if line.startswith("scenario")]
    assert len(heads) == 3 and [name for head in heads for name in head] == codecs
