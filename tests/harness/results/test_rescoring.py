import json
import math
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.metrics.base import METRICS
from harness.results import scoring
from harness.results.record import column, statistics_of
from harness.results.rescoring import (
    OtherMetricError,
    SupersededError,
    check_decoding,
    record_verification,
    rescore,
)
from harness.results.result import PROTOCOL_VERSION, VerificationRecord
from harness.results.store import ResultFolder, config_hash, find_results
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.errors import ResultsError


@pytest.fixture
def result(make_runner, toy):
    return ResultFolder(make_runner().run_codec(make_codecs("uniform:step=0.5", toy.specs)[0]).folder)


def change(result, **columns):
    """Overwrites columns of samples.parquet."""
    path = result.path / "samples.parquet"
    table = pq.read_table(path)
    for name, update in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.array(update(table.column(at).to_pylist())))
    pq.write_table(table, path)


def test_a_result_by_a_list_says_how_to_name_it_again(result, toy):
    report = json.loads((result.path / "result.json").read_text())
    report |= {"scenario_digest": "0" * 64, "metric_identity": f"{report['metric_identity']} + phrases:2#{'1' * 16}"}
    (result.path / "result.json").write_text(json.dumps(report))
    with pytest.raises(ResultsError, match=r"scored by a list \(phrases:2#1{16}\) that --metric-option names again"):
        rescore(result, toy)


def test_scoring_again_changes_nothing_and_needs_neither_model_nor_data(result, toy, snapshot, monkeypatch):
    def forbidden(*arguments, **options):
        raise AssertionError("scoring loads no model and no features")

    monkeypatch.setattr("lamofcbench.models.loading.load_model", forbidden)
    monkeypatch.setattr("lamofcbench.storage.open_split", forbidden)
    before = snapshot(result.path)
    assert rescore(result, toy) == result.read_result()
    assert rescore(result, toy, update=True) == result.read_result()
    assert snapshot(result.path) == before


def test_a_changed_prediction_is_found_and_named(result, toy):
    change(result, prediction=lambda labels: [*labels[:5], 3 - labels[5], *labels[6:]])
    with pytest.raises(ResultsError, match=r"sample 5 \(test-5\) scores otherwise"):
        rescore(result, toy)
    before = result.read_result().score
    updated = rescore(result, toy, update=True)
    assert abs(updated.score - before) == pytest.approx(1 / 22)
    assert rescore(result, toy) == updated == result.read_result()


def test_a_changed_score_is_found(result, toy):
    file = result.path / "result.json"
    file.write_text(file.read_text().replace('"score": ', '"score": 9'))
    with pytest.raises(ResultsError, match="scores otherwise"):
        rescore(result, toy)


def test_a_metric_that_gives_no_number_changes_nothing(result, toy, snapshot, monkeypatch):
    metric = scoring.make_metric(toy)
    monkeypatch.setattr(type(metric), "score", lambda self, statistics: math.nan)
    before = snapshot(result.path)
    with pytest.raises(ResultsError, match="gives nan for these samples, which is no score"):
        rescore(result, toy, update=True)
    assert snapshot(result.path) == before


def test_missing_rows_are_found(result, toy):
    path = result.path / "samples.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(ResultsError, match="holds 21 samples"):
        rescore(result, toy)


def test_a_result_of_another_declaration_is_refused(result, toy):
    with pytest.raises(ResultsError, match="declared otherwise"):
        rescore(result, toy.model_copy(update={"batch_size": 5}))


@pytest.fixture
def other_metric(monkeypatch):
    """Makes the scenario's metric another version of itself, which calls every prediction wrong."""

    def change_metric():
        metric = METRICS.get("accuracy")
        monkeypatch.setattr(metric, "revision", metric.revision + 1)
        monkeypatch.setattr(metric, "statistics", lambda self, prediction, reference: {"correct": 0.0})

    return change_metric


def test_a_result_that_another_metric_scored_is_told_and_left_alone(result, toy, other_metric, snapshot):
    other_metric()
    before = snapshot(result.path)
    with pytest.raises(
        OtherMetricError, match=r"scored by lamofcbench:accuracy@\d, the metric is now lamofcbench:acc.*@"
    ):
        rescore(result, toy)
    assert snapshot(result.path) == before


def test_an_update_makes_the_very_result_that_a_run_with_the_new_metric_makes(
    result, toy, other_metric, make_runner, computed_batches, snapshot, tmp_path
):
    codec = make_codecs("uniform:step=0.5", toy.specs)[0]
    other_metric()
    updated = rescore(result, toy, update=True)
    assert not result.path.exists()
    moved = ResultFolder(result.path.with_name(updated.config_hash))
    assert moved.read_result() == updated and updated.score == 0.0
    assert config_hash(updated.config) == updated.config_hash
    assert rescore(moved, toy) == updated
    computed_batches.clear()
    assert make_runner().run_codec(codec).folder == moved.path and computed_batches == []
    make_runner(results=tmp_path / "fresh").run_codec(codec)
    assert snapshot(tmp_path / "results") == snapshot(tmp_path / "fresh")


def test_a_result_that_a_run_has_replaced_is_called_superseded(result, toy, other_metric, make_runner):
    other_metric()
    make_runner().run_codec(make_codecs("uniform:step=0.5", toy.specs)[0])
    for update in (False, True):
        with pytest.raises(SupersededError, match="the older one can be removed"):
            rescore(result, toy, update=update)
    assert result.read_result() is not None


def test_a_result_of_another_protocol_is_not_scored(result, toy):
    old = result.read_result().model_copy(update={"protocol_version": 1})
    (result.path / "result.json").write_text(old.model_dump_json())
    with pytest.raises(
        ResultsError, match=f"made by protocol 1; this version has protocol {PROTOCOL_VERSION}, so run it again"
    ):
        rescore(result, toy)


def test_kept_bitstreams_decode_elsewhere_to_the_bits_that_were_scored(result, toy, make_runner, decoder):
    decoded = check_decoding(result, toy, make_runner().test, decoder)
    assert (decoded.samples, decoded.identical) == (22, 22)
    record_verification(result, toy, decoded)
    assert result.read_result().verification == VerificationRecord(samples=22)


def test_other_last_bits_within_the_tolerance_are_counted_but_not_recorded(result, toy, make_runner, decoder):
    change(result, decoded_sha256=lambda digests: [*digests[:5], "0" * 64, *digests[6:]])
    decoded = check_decoding(result, toy, make_runner().test, decoder)
    assert (decoded.samples, decoded.identical) == (22, 21)
    record_verification(result, toy, decoded)
    assert result.read_result().verification == VerificationRecord(samples=3)


def test_the_distortions_of_a_result_without_digests_are_still_checked(result, toy, make_runner, decoder):
    path = result.path / "samples.parquet"
    pq.write_table(pq.read_table(path).drop_columns("decoded_sha256"), path)
    assert check_decoding(result, toy, make_runner().test, decoder).identical == 0


def test_a_codec_that_is_not_the_results_is_refused(result, toy, make_runner, decoder):
    shutil.rmtree(result.codec_path)
    make_codecs("zstd", toy.specs)[0].save(result.codec_path)
    with pytest.raises(ResultsError, match=r"is not the codec of result\.json"):
        check_decoding(result, toy, make_runner().test, decoder)


def test_what_does_not_decode_as_recorded_is_named(result, toy, make_runner, decoder):
    test = make_runner().test
    kept = result.bitstream(7).read_bytes()
    for data, message in [
        (result.bitstream(8).read_bytes(), r"sample 7 \(test-7\)"),
        (kept[:-1] + bytes([kept[-1] ^ 1]), r"sample 7 \(test-7\) does not decode"),
        (kept + b"\0", r"sample 7 \(test-7\) has a bitstream of"),
    ]:
        result.bitstream(7).write_bytes(data)
        with pytest.raises(ResultsError, match=message):
            check_decoding(result, toy, test, decoder)
    result.bitstream(7).unlink()
    with pytest.raises(ResultsError, match=r"has no 7\.bin"):
        check_decoding(result, toy, test, decoder)


def test_a_changed_distortion_is_found_and_named(result, toy, make_runner, decoder):
    change(result, **{"squared_error.hidden": lambda errors: [*errors[:3], errors[3] * 1.01, *errors[4:]]})
    with pytest.raises(ResultsError, match=r"sample 3 .*tensor 'hidden' decodes to squared error"):
        check_decoding(result, toy, make_runner().test, decoder)


def test_a_result_of_other_data_is_not_compared(result, toy, make_runner, decoder):
    class Other:
        data_revision = "f" * 64

    with pytest.raises(ResultsError, match="data revision"):
        check_decoding(result, toy, Other(), decoder)


@pytest.mark.parametrize("damage", ["result.json", "samples.parquet", "folder"])
def test_damaged_folders_are_one_clear_error(result, toy, damage):
    if damage == "folder":
        moved = result.path.with_name("0" * 16)
        shutil.move(result.path, moved)
        result = ResultFolder(moved)
    else:
        file = result.path / damage
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ResultsError):
        rescore(result, toy)


def test_finished_results_are_found_by_their_place(result, tmp_path):
    assert [found.path for found in find_results(tmp_path / "results")] == [result.path]
    with pytest.raises(ResultsError, match="no finished result"):
        find_results(tmp_path / "nowhere")


def test_statistics_come_back_in_the_metrics_own_shape(tmp_path):
    import numpy as np

    from harness.results.record import TableWriter, as_statistics, from_json, sample_schema, to_json

    rows = [{"index": i, "sample_id": str(i), "prediction": "x", "reference": "y"} for i in range(150)]
    for i, row in enumerate(rows):
        row.update(as_statistics({"confusion": np.full((2, 3), i), "words": i}))
    with TableWriter(tmp_path / "t.parquet", sample_schema(rows[0], "text")) as writer:
        for row in rows:
            writer.append(from_json(to_json(row)))
    table = pq.read_table(tmp_path / "t.parquet")
    assert statistics_of(table)["confusion"].shape == (150, 2, 3)
    assert statistics_of(table)["confusion"][149, 1, 2] == 149.0
    assert column(table, "statistic.words").tolist() == list(map(float, range(150)))
