"""Predictions of strangers are scored in bounded time, by the references of this machine."""

from pathlib import Path
from types import SimpleNamespace

from harness.metrics.base import METRICS
from harness.results.scoring import judge
from harness.submission.findings import Findings
from harness.submission.recount import _check_statistics
from lamofcbench.references import MAX_TEXT_BYTES


def test_a_text_that_is_too_long_is_named_by_its_sample_and_not_scored(tmp_path):
    metric, scenario = METRICS.get("exact-match-number")(), SimpleNamespace(prediction_kind="text")
    opened = SimpleNamespace(metric=metric, scenario=scenario, test=SimpleNamespace(reference=lambda index: "31"))
    good = {"prediction": "so 31", "reference": "31", **judge(metric, scenario, "31", "31")}
    rows = [good | {"index": 0, "sample_id": "a"}, good | {"index": 1, "sample_id": "b", "reference": "not ours"}]
    rows.append(good | {"index": 2, "sample_id": "c", "prediction": "0x" + "f" * MAX_TEXT_BYTES})
    findings = Findings(tmp_path)
    _check_statistics(rows, Path(tmp_path / "samples.parquet"), opened, findings)
    (fault,) = findings.faults
    assert fault.sample == "2 (c)"
    assert fault.fault == "cannot be scored: the prediction takes 65538 bytes as UTF-8; at most 65536 are judged"
