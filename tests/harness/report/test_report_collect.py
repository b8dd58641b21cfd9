"""Reading results: what is broken is skipped with a reason, what is not comparable is not mixed."""

import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.report.collect import read_results
from harness.report.contexts import comparable
from harness.results import store
from harness.results.result import PROTOCOL_VERSION
from lamofcbench.errors import ResultsError
from lamofcbench.scenarios.base import SCENARIOS


def _edit(folder, **changes):
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _drop_row(folder):
    table = pq.read_table(folder / "samples.parquet")
    pq.write_table(table.slice(1), folder / "samples.parquet")


def _same_sample(folder):
    table = pq.read_table(folder / "samples.parquet")
    index = pa.array([0, *range(len(table) - 1)], pa.int64())
    at = table.column_names.index("index")
    pq.write_table(table.set_column(at, "index", index), folder / "samples.parquet")


def _negative_time(folder):
    table = pq.read_table(folder / "timings.parquet")
    values = pa.array([-1.0] * len(table))
    pq.write_table(table.set_column(1, "encode_seconds", values), folder / "timings.parquet")


def _other_bytes(folder):
    table = pq.read_table(folder / "samples.parquet")
    values = pa.array([1] * len(table), pa.int64())
    pq.write_table(table.set_column(2, "coded_bytes", values), folder / "samples.parquet")


BREAK = {
    "no result.json": (lambda f: (f / "result.json").unlink(), "can be removed"),
    "no JSON": (lambda f: (f / "result.json").write_text("{"), "breaks the schema"),
    "unknown field": (lambda f: _edit(f, surprise=1), "surprise"),
    "NaN score": (lambda f: _edit(f, score=float("nan")), "breaks the schema"),
    "wrong folder": (lambda f: _edit(f, config_hash="0" * 16), "not to this folder"),
    "path in a name": (lambda f: _edit(f, scenario="../../etc"), "no scenario name"),
    "no samples": (lambda f: (f / "samples.parquet").unlink(), "missing or damaged"),
    "damaged samples": (lambda f: (f / "samples.parquet").write_bytes(b"PAR1" + bytes(50)), "missing or damaged"),
    "truncated samples": (_drop_row, "59 rows where its result counts 60"),
    "a sample twice": (_same_sample, "holds a sample twice"),
    "other bytes": (_other_bytes, "disagree on the coded bytes"),
    "damaged timings": (lambda f: (f / "timings.parquet").write_bytes(b"junk"), "damaged"),
    "negative time": (_negative_time, "negative seconds"),
}


@pytest.mark.parametrize("how", BREAK)
def test_a_broken_result_is_skipped_and_the_warning_names_folder_and_reason(writer, how):
    writer.anchor_and_floor()
    broken = writer.write("uniform", ebpfp=2.0, score=0.9)
    damage, reason = BREAK[how]
    damage(broken)
    evidence, warnings = read_results(writer.root)
    assert {item.result.codec.name for item in evidence} == {"identity", "mean"}
    (warning,) = warnings
    assert broken.relative_to(writer.root).as_posix() in warning
    assert reason in warning


def test_nothing_usable_is_one_clear_error(writer, tmp_path):
    with pytest.raises(ResultsError, match="no results folder"):
        read_results(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match="file is a file; results are kept in a folder"):
        read_results(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError, match="no usable result"):
        read_results(tmp_path / "empty")
    (writer.write("uniform", ebpfp=2.0, score=0.9) / "result.json").unlink()
    with pytest.raises(ResultsError, match="can be removed"):
        read_results(writer.root)


def test_run_json_only_informs(writer):
    folder = writer.write("uniform", ebpfp=2.0, score=0.9)
    (folder / "run.json").write_text("[" * 100_000)
    (item,), warnings = read_results(writer.root)
    assert item.run == {}
    assert warnings == []


def test_timings_may_be_missing(writer):
    (writer.write("uniform", ebpfp=2.0, score=0.9) / "timings.parquet").unlink()
    (item,), warnings = read_results(writer.root)
    assert item.encode_seconds is None
    assert warnings == []


@pytest.mark.parametrize(
    "change",
    [
        {"data_revision": "other"},
        {"scenario_digest": "e" * 64},
        {"dtype": "float16"},
        {"metric_identity": "file:mine.py:Accuracy#00c2a50d3fc0e4a5"},
        {"adapter_identity": "lamofcbench:adapter@2"},
        {"builder_identity": "dist:theirs==1.0:Builder#00c2a50d3fc0e4a5"},
    ],
)
def test_results_of_other_conditions_are_left_out_with_a_warning(writer, change):
    writer.anchor_and_floor()
    writer.write("uniform", ebpfp=2.0, score=0.9)
    writer.context = change
    writer.write("channel", ebpfp=1.0, score=0.9)
    groups, warnings = comparable(read_results(writer.root)[0])
    assert {item.result.codec.name for item in groups[writer.scenario]} == {"identity", "mean", "uniform"}
    (warning,) = warnings
    assert "channel" in warning
    assert next(iter(change)) in warning


def test_the_context_of_more_samples_is_kept(writer):
    for samples in (20, 60):
        writer.samples = samples
        writer.anchor_and_floor()
    groups, warnings = comparable(read_results(writer.root)[0])
    assert {item.result.samples for item in groups[writer.scenario]} == {60}
    assert "samples 20 instead of 60" in warnings[0]


def test_a_changed_codec_replaces_its_older_self(writer):
    writer.anchor_and_floor()
    old = writer.write("uniform", ebpfp=2.0, score=0.9, params={"step": 1.0}, fingerprint_of="old")
    new = writer.write("uniform", ebpfp=1.5, score=0.9, params={"step": 1.0}, fingerprint_of="new")
    os.utime(old / "result.json", (1e9, 1e9))
    groups, warnings = comparable(read_results(writer.root)[0])
    kept = [item.folder for item in groups[writer.scenario] if item.result.codec.name == "uniform"]
    assert kept == [new]
    assert old.name in warnings[0]


def test_results_of_other_samples_are_left_out(writer):
    writer.anchor_and_floor()
    folder = writer.write("uniform", ebpfp=2.0, score=0.9)
    for name in ("samples.parquet", "timings.parquet"):
        table = pq.read_table(folder / name)
        shifted = pa.array([index + 1 for index in table["index"].to_pylist()])
        pq.write_table(table.set_column(0, "index", shifted), folder / name)
    groups, warnings = comparable(read_results(writer.root)[0])
    assert {item.result.codec.name for item in groups[writer.scenario]} == {"identity", "mean"}
    assert "covers other samples" in warnings[0]


def test_other_folders_are_no_results(writer):
    folder = writer.write("uniform", ebpfp=2.0, score=0.9)
    shutil.copytree(folder, writer.root / "report" / "uniform" / "x")
    shutil.copytree(folder, writer.root / f"{writer.scenario}@1" / ".partial" / folder.name)
    evidence, warnings = read_results(writer.root)
    assert [item.folder for item in evidence] == [folder]
    assert warnings == []


# ------------------------------------------------------------------------------------------------------ unfinished runs


def _begun(writer, **changes):
    """A folder without a result, begun as a run of today would begin it but for the changes."""
    scenario = SCENARIOS.get(writer.scenario)
    config = {
        "scenario": scenario.id,
        "scenario_version": scenario.version,
        "scenario_digest": scenario.digest,
        "metric_identity": "lamofcbench:accuracy@1",
        "protocol_version": PROTOCOL_VERSION,
    } | changes
    folder = store.ResultFolder(writer.root / scenario.ref / "uniform" / store.config_hash(config))
    folder.begin(config)
    return folder.path


NEVER = "no run completes it any more, so the folder can be removed"


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({}, "run it again to complete it"),
        ({"scenario": "theirs"}, "run it again to complete it"),
        ({"scenario_digest": "0" * 64}, f"mini-cvu-digits has been declared otherwise since it began; {NEVER}"),
        ({"scenario_version": 0}, f"has been declared otherwise since it began; {NEVER}"),
        ({"protocol_version": 1}, f"the protocol has changed since it began; {NEVER}"),
        ({"metric_identity": "lamofcbench:accuracy@0"}, f"its metric has changed since it began; {NEVER}"),
    ],
)
def test_the_advice_for_an_unfinished_folder_can_be_followed(writer, changes, advice):
    writer.anchor_and_floor()
    _begun(writer, **changes)
    [warning] = read_results(writer.root)[1]
    assert advice in warning


def test_a_folder_that_nothing_says_the_origin_of_can_be_removed(writer):
    writer.anchor_and_floor()
    folder = _begun(writer)
    (folder / "config.json").write_text("[" * 100_000)
    [warning] = read_results(writer.root)[1]
    assert NEVER in warning
