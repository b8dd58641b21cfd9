"""The summary: figures of a results folder that are known beforehand."""

import math

import pytest
import synthetic_results

from harness.report.compile import compile_summary
from harness.report.deployment import link_times
from harness.report.render import overall_tables
from harness.report.summary import Summary
from lamofcbench.errors import UnknownNameError


@pytest.fixture(scope="module")
def summary(realistic_results) -> Summary:
    return compile_summary(realistic_results, resamples=200, bound=False)


def _codec(summary, name, scenario="mini-cvu-digits"):
    part = next(part for part in summary.scenarios if part.scenario == scenario)
    return next(codec for codec in part.codecs if codec.codec == name)


def _scenario(summary, scenario="mini-cvu-digits"):
    return next(part for part in summary.scenarios if part.scenario == scenario)


def test_nothing_is_left_out_of_a_sound_folder(summary):
    assert summary.warnings == []
    assert [part.scenario for part in summary.scenarios] == ["mini-cau-commands-clean", "mini-cvu-digits"]
    assert [len(codec.points) for codec in _scenario(summary).codecs] == [4, 5, 1, 1, 1]


def test_codecs_stand_in_the_order_of_their_rank_anchor_and_floor_last(summary):
    assert [codec.codec for codec in _scenario(summary).codecs] == ["channel", "uniform", "zstd", "identity", "mean"]
    assert [codec.role for codec in _scenario(summary).codecs][-2:] == ["anchor", "floor"]


def test_retention_follows_the_metric_in_either_direction(summary):
    step_2 = _codec(summary, "uniform").points[1]
    assert step_2.retention.value == pytest.approx((0.9 - 0.1) / (0.98 - 0.1))
    spoken = _codec(summary, "uniform", "mini-cau-commands-clean").points[1]
    assert spoken.retention.value == pytest.approx((0.13 - 1.0) / (0.05 - 1.0), abs=1e-3)


def test_intervals_hold_the_figure_and_the_anchor_retains_all_of_itself(summary):
    for part in summary.scenarios:
        for codec in part.codecs:
            for figure in [point.score for point in codec.points] + [r.ebpfp for r in codec.retained]:
                assert figure.low <= figure.value <= figure.high
    anchor = _codec(summary, "identity").points[0].retention
    assert (anchor.low, anchor.value, anchor.high) == (1.0, 1.0, 1.0)


def test_ebpfp_at_95_of_a_known_curve(summary):
    points = _codec(summary, "uniform").points
    (r0, p0), (r1, p1) = ((point.ebpfp, point.retention.value) for point in points[1:3])
    expected = r0 * (r1 / r0) ** ((0.95 - p0) / (p1 - p0))
    assert _codec(summary, "uniform").retained[0].ebpfp.value == pytest.approx(expected)
    assert _codec(summary, "mean").retained[0].bound == "never"
    assert _codec(summary, "zstd").retained[0].bound == "at most"


def test_bd_rate_is_to_the_reference(summary):
    assert summary.reference == "uniform"
    assert _codec(summary, "uniform").bd_rate_mse.percent == pytest.approx(0)
    assert _codec(summary, "channel").bd_rate_mse.percent < -20
    assert _codec(summary, "channel").bd_rate_score.percent < -20
    assert "fewer than 4 points" in _codec(summary, "zstd").bd_rate_score.reason


def test_bd_rate_of_half_the_bytes_at_equal_quality_is_minus_fifty(writer):
    writer.anchor_and_floor()
    for ebpfp, score, nmse in ((2, 0.5, 0.5), (4, 0.7, 0.2), (8, 0.8, 0.1), (16, 0.9, 0.05)):
        writer.write("slow", ebpfp=ebpfp, score=score, nmse=nmse, params={"step": nmse})
        writer.write("fast", ebpfp=ebpfp / 2, score=score, nmse=nmse, params={"step": nmse})
    fast = _codec(compile_summary(writer.root, "slow", resamples=0), "fast")
    for record in (fast.bd_rate_score, fast.bd_rate_mse, fast.bd_rate_nmse):
        assert record.percent == pytest.approx(-50)
        assert (record.low, record.high) == (None, None)  # no draws


def test_bd_rates_have_intervals_that_hold_them(summary):
    channel = _codec(summary, "channel")
    for record in (channel.bd_rate_score, channel.bd_rate_mse):
        assert record.low < record.percent < record.high
    uniform = _codec(summary, "uniform")
    assert uniform.bd_rate_mse.low is None  # the reference differs from itself in no draw


def test_curves_that_share_no_quality_have_no_bd_rate_and_the_reason_says_which_is_better(writer):
    writer.anchor_and_floor()
    for at, ebpfp in enumerate((2, 4, 8, 16)):
        writer.write("coarse", ebpfp=ebpfp, score=0.5, nmse=0.9 - 0.1 * at, params={"at": at})
        writer.write("fine", ebpfp=ebpfp, score=0.5, nmse=0.05 - 0.01 * at, params={"at": at})
    summary = compile_summary(writer.root, "coarse", resamples=0, bound=False)
    record = _codec(summary, "fine").bd_rate_mse
    assert (record.percent, record.overlap) == (None, 0.0)
    assert "every point of the codec is better" in record.reason


def test_overall_is_the_geometric_mean_over_scenarios(summary):
    row = next(row for row in summary.overall if row.codec == "channel")
    rates = [_codec(summary, "channel", part.scenario).retained[0].ebpfp.value for part in summary.scenarios]
    assert row.compression["95"].value == pytest.approx(32 / math.sqrt(rates[0] * rates[1]))
    assert row.compression["95"].low < row.compression["95"].value < row.compression["95"].high
    assert row.ebpfp["95"].value == pytest.approx(math.sqrt(rates[0] * rates[1]))
    assert row.compression["95"].low == pytest.approx(32 / row.ebpfp["95"].high)
    assert [row.codec for row in summary.overall] == ["channel", "uniform", "zstd"]


def test_overall_bd_rate_is_the_geometric_mean_of_the_rate_ratios(summary):
    row = next(row for row in summary.overall if row.codec == "channel")
    percents = [_codec(summary, "channel", part.scenario).bd_rate_mse.percent for part in summary.scenarios]
    expected = 100 * (math.sqrt((1 + percents[0] / 100) * (1 + percents[1] / 100)) - 1)
    assert row.bd_rate_mse.percent.value == pytest.approx(expected)
    assert row.bd_rate_mse.percent.low < expected < row.bd_rate_mse.percent.high
    assert row.bd_rate_mse.scenarios == 2
    zstd = next(row for row in summary.overall if row.codec == "zstd")
    assert (zstd.bd_rate_mse.percent.value, zstd.bd_rate_mse.scenarios) == (None, 0)


def test_a_codec_that_lacks_a_scenario_gets_no_mean(realistic_results, tmp_path):
    import shutil

    root = tmp_path / "results"
    shutil.copytree(realistic_results, root)
    shutil.rmtree(root / "mini-cau-commands-clean@1" / "channel")
    rows = {row.codec: row for row in compile_summary(root, resamples=0).overall}
    assert rows["channel"].missing == ["mini-cau-commands-clean"]
    assert rows["channel"].compression["95"].value is None
    assert rows["uniform"].missing == []


def test_99_ranks_from_400_samples_on(summary):
    assert _scenario(summary).ranking_percent == 99  # 650 samples
    assert _scenario(summary, "mini-cau-commands-clean").ranking_percent == 95  # 256
    assert summary.ranking_percent == 95


def test_nmse_scales_each_tensor_by_the_floor(summary):
    assert _codec(summary, "mean").points[0].nmse == pytest.approx(1.0)
    assert _codec(summary, "uniform").points[1].nmse == pytest.approx(0.25)
    assert _codec(summary, "zstd").points[0].nmse == 0


def test_speeds_are_medians_in_decimal_megabytes_of_raw_features(summary):
    codec = _codec(summary, "uniform")
    for speed, expected in ((codec.encode_mb_per_s, 2.0), (codec.decode_mb_per_s, 4.0)):  # 4000 bytes in 2 and 1 ms
        assert speed.value == pytest.approx(expected, rel=0.01)
        assert speed.low <= speed.value <= speed.high


def test_link_times_by_hand():
    times = link_times(coded_bytes=1250, raw_bytes=12500, encode_seconds=0.002, decode_seconds=0.003)
    assert [time.mbit_per_s for time in times] == [1, 10, 100]
    assert [time.transfer_seconds for time in times] == pytest.approx([0.01, 0.001, 0.0001])
    assert [time.total_seconds for time in times] == pytest.approx([0.015, 0.006, 0.0051])
    assert [time.speedup for time in times] == pytest.approx([0.1 / 0.015, 0.01 / 0.006, 0.001 / 0.0051])
    assert link_times(1250, 12500, None, 0.003) == []


def test_the_best_for_a_link_keeps_95_percent_or_is_uncoded(summary):
    slow, _, fast = _scenario(summary).links
    chosen = next(point for point in _codec(summary, slow.codec).points if point.label == slow.label)
    assert chosen.retention.value >= 0.95
    totals = [
        point.links[0].total_seconds
        for codec in _scenario(summary).codecs
        for point in codec.points
        if codec.role == "codec" and point.retention.value >= 0.95
    ]
    assert slow.total_seconds == min(totals)
    assert (fast.codec, fast.speedup) == (None, 1.0)


def test_summary_json_survives_a_round_trip_with_its_keys_in_order(summary):
    text = summary.model_dump_json(indent=2)
    again = Summary.model_validate_json(text)
    assert again == summary
    assert again.model_dump_json(indent=2) == text
    assert next(iter(Summary.model_json_schema()["properties"])) == "summary_schema_version"


def test_the_same_folder_gives_the_same_summary(realistic_results, summary):
    assert compile_summary(realistic_results, resamples=200, bound=False) == summary


def test_an_unknown_reference_gets_near_matches(realistic_results):
    with pytest.raises(UnknownNameError, match="'uniform'"):
        compile_summary(realistic_results, "unifrom", resamples=0)


def test_without_anchor_or_floor_there_are_rates_but_no_retention(writer):
    writer.write("uniform", ebpfp=2.0, score=0.9)
    summary = compile_summary(writer.root, resamples=20)
    codec = _codec(summary, "uniform")
    assert codec.points[0].retention.value is None
    assert codec.retained[0].ebpfp.value is None
    assert any("no result of codec identity and mean" in warning for warning in summary.warnings)


def test_an_anchor_no_better_than_the_floor_is_said(writer):
    writer.anchor_and_floor(anchor=0.1, floor=0.1)
    writer.write("uniform", ebpfp=2.0, score=0.1)
    summary = compile_summary(writer.root, resamples=20)
    assert any("no better than the calibration mean" in warning for warning in summary.warnings)


def test_a_score_that_its_samples_contradict_is_left_out(writer):
    import json

    writer.anchor_and_floor()
    folder = writer.write("uniform", ebpfp=2.0, score=0.5)
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"score": 0.99}))
    summary = compile_summary(writer.root, resamples=20)
    assert "uniform" not in [codec.codec for codec in _scenario(summary).codecs]
    assert any("not what its own samples give" in warning for warning in summary.warnings)


def test_a_metric_named_by_path_in_a_result_is_never_run(writer, tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")
    writer.scenario, writer.metric = "theirs", f"{tmp_path}/evil.py:Metric"
    writer.anchor_and_floor()
    summary = compile_summary(writer.root, resamples=20)
    assert not marker.exists()
    assert any("no intervals" in warning and "--scenarios" in warning for warning in summary.warnings)
    assert _scenario(summary, "theirs").codecs[0].points[0].score.low is None


def test_the_front_holds_what_nothing_beats_in_rate_score_and_speed(writer):
    writer.anchor_and_floor()
    writer.write("small", ebpfp=1, score=0.5, decode_seconds=0.010)
    writer.write("good", ebpfp=4, score=0.9, decode_seconds=0.010)
    writer.write("fast", ebpfp=4, score=0.5, decode_seconds=0.001)
    writer.write("beaten", ebpfp=5, score=0.9, decode_seconds=0.0095)  # faster, but within noise
    summary = compile_summary(writer.root, resamples=100, bound=False)
    found = {codec.codec: codec.points[0] for codec in _scenario(summary).codecs}
    assert {name: point.on_front for name, point in found.items()} == {
        "small": True, "good": True, "fast": True, "beaten": False, "identity": None, "mean": None,
    }  # fmt: skip
    assert found["good"].front_share == 1.0
    assert found["beaten"].front_share == 0.0
    rows = {row.codec: row.on_front for row in summary.overall}
    assert rows["beaten"] is False
    assert rows["fast"] is True


def test_a_tensors_shares_of_error_bits_and_quantiser(writer):
    writer.anchor_and_floor()
    writer.write("table", ebpfp=2.0, score=0.9, nmse=0.5, quantiser_share=0.25)
    first, second = _codec(compile_summary(writer.root, resamples=0, bound=False), "table").points[0].tensors
    # Errors of 400 elements at 0.5 * 4 and 600 at 0.5 * 100; normalised, both are 0.5 an element.
    assert first.error_share == pytest.approx(800 / (800 + 30_000))
    assert (first.nmse_share, second.nmse_share) == pytest.approx((0.4, 0.6))
    assert first.quantiser_share == second.quantiser_share == pytest.approx(0.25)
    assert (first.payload_share, second.payload_share) == (0.5, 0.5)


def test_errors_that_contradict_the_result_skip_it(writer):
    import json

    writer.anchor_and_floor()
    folder = writer.write("uniform", ebpfp=2.0, score=0.5, nmse=0.5)
    result = json.loads((folder / "result.json").read_text())
    result["tensors"]["block.1"]["mse"] *= 2
    (folder / "result.json").write_text(json.dumps(result))
    summary = compile_summary(writer.root, resamples=0, bound=False)
    assert any("disagree on the error of tensor 'block.1'" in warning for warning in summary.warnings)


def test_results_with_other_tensors_than_the_scenario_has_get_no_bound(writer):
    writer.anchor_and_floor()  # of a version that stored an early level besides
    writer.write("uniform", ebpfp=2.0, score=0.9, nmse=0.5)
    part = _scenario(compile_summary(writer.root, resamples=0))
    assert part.bound is None and "other tensors" in part.bound_reason


def test_without_the_data_of_the_results_there_is_no_bound_and_the_reason_is_told(writer, monkeypatch):
    monkeypatch.setattr(synthetic_results, "TENSORS", {"block.7": 600})
    writer.anchor_and_floor()
    writer.write("uniform", ebpfp=2.0, score=0.9, nmse=0.5)
    part = _scenario(compile_summary(writer.root, resamples=0))
    assert part.bound is None
    assert "declared otherwise" in part.bound_reason  # the synthetic results name a digest of their own
    assert part.codecs[0].points[0].gap_nmse is None
    assert _scenario(compile_summary(writer.root, resamples=0, bound=False)).bound_reason == "left out"


def test_findings_name_the_winners_in_sentences(summary):
    compression, wins, *others = summary.findings
    assert compression.startswith("channel compresses most: ")
    assert "over 2 scenarios" in compression
    assert wins == "channel has the lowest rate on every scenario."
    speed, classes, kind, _ = others  # no bound, so nothing is closest to it
    assert speed.split()[1] == "decodes"
    assert classes.startswith("The best by what they were trained on: zstd (nothing, ")
    assert kind.startswith("KV caches: channel keeps 95 % of the score at an EBPFP of ")


def test_that_no_codec_wins_everywhere_is_said(tmp_path):
    from synthetic_results import Writer

    for scenario, rates in (("one", (2.0, 3.0)), ("two", (3.0, 2.0))):
        writer = Writer(tmp_path, scenario=scenario, samples=30, test_samples=30)
        writer.anchor_and_floor()
        for codec, ebpfp in zip(("first", "second"), rates, strict=True):
            writer.write(codec, ebpfp=ebpfp, score=0.98)
    summary = compile_summary(tmp_path, resamples=0, bound=False)
    assert "No codec wins everywhere: the lowest rate has first on 1, second on 1." in summary.findings


def test_no_mean_runs_over_several_editions(tmp_path):
    from synthetic_results import Writer

    rates = {"mini-cvu-digits": (2.0, 3.0), "small-clu-facts": (3.0, 2.0), "small-clu-recall": (3.0, 2.0)}
    for scenario, (first, second) in rates.items():
        writer = Writer(tmp_path, scenario=scenario, samples=30, test_samples=30)
        writer.anchor_and_floor()
        writer.write("first", ebpfp=first, score=0.98)
        writer.write("second", ebpfp=second, score=0.98)
    summary = compile_summary(tmp_path, resamples=0, bound=False)
    rows = [(row.edition, row.codec, row.ebpfp["95"].value, row.missing) for row in summary.overall]
    assert [row[:2] for row in rows] == [("mini", "first"), ("mini", "second"), ("small", "second"), ("small", "first")]
    assert [row[2] for row in rows] == pytest.approx([2.0, 3.0, 2.0, 3.0])
    assert all(row[3] == [] for row in rows)
    assert any(line.startswith("mini edition: first compresses most") for line in summary.findings)
    assert any(line.startswith("small edition: second compresses most") for line in summary.findings)
    assert [table.title for table in overall_tables.overall_tables(summary)] == [
        "Overall, mini edition",
        "Overall, small edition",
    ]
    wins = [{row[0].text: row[-1].text for row in table.rows} for table in overall_tables.matrix_tables(summary)]
    assert wins == [{"first": "1", "second": "0"}, {"second": "2", "first": "0"}]
