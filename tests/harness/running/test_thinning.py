"""Which rate points of a ladder stay where a few are to run."""

import pytest

from harness.results.scoring import code_of, make_metric
from harness.running import ladder
from harness.running.ladder import Ladder, LadderPoint, ladder_path, write_ladder
from harness.running.selection import select_codecs
from harness.running.thinning import by_order, by_retention
from harness.statistics.curves import pareto_front
from lamofcbench.codecs.registry import CODECS
from lamofcbench.identity import identity_of

RATES = [12.0, 9.0, 6.0, 4.0, 3.0, 2.0, 1.5, 1.0, 0.5]
RETENTIONS = [1.0, 1.0, 1.0, 1.0, 0.99, 0.95, 0.6, 0.2, 0.0]


@pytest.mark.parametrize("points", range(1, 12))
def test_as_many_points_as_asked_for_each_once_in_the_ladders_order(points):
    for kept in (by_order(len(RATES), points), by_retention(RATES, RETENTIONS, points)):
        assert len(kept) == min(points, len(RATES))
        assert kept == sorted(set(kept)) and set(kept) <= set(range(len(RATES)))


def test_a_known_curve_keeps_its_ends_and_its_knee_and_four_points_of_rising_quality():
    kept = by_retention(RATES, RETENTIONS, 5)
    assert {0, 8} < set(kept) and {4, 5} & set(kept)
    assert len(pareto_front([RATES[at] for at in kept], [RETENTIONS[at] for at in kept])) >= 4
    assert by_retention(RATES, RETENTIONS, 1) == [5]  # the lowest rate that keeps 95 %


def test_a_run_thins_by_what_its_ladder_file_has_measured(toy, tmp_path):
    codec_class = CODECS.get("uniform")
    points = [
        LadderPoint(params={"step": 2.0**at / 16}, ebpfp=rate, score=kept, retention=kept)
        for at, (rate, kept) in enumerate(zip(RATES, RETENTIONS, strict=True))
    ]
    identity = {"scenario_digest": toy.digest, **code_of(toy, make_metric(toy))}
    found = Ladder(
        codec="uniform", codec_identity=identity_of(codec_class), parameter="step", identity=identity, points=points,
        open_ends=[],
    )  # fmt: skip
    write_ladder(ladder_path(tmp_path, toy, "uniform"), found)
    assert ladder.calibrated(tmp_path, toy, codec_class) == points
    chosen = select_codecs(["uniform"], toy, points=4, ladders=tmp_path)
    assert [codec.params.step for codec in chosen] == [
        points[at].params["step"] for at in by_retention(RATES, RETENTIONS, 4)
    ]
