"""What of a report says whether results were decoded in another process."""

import io
import json

import pytest

from harness.report import terminal_table, write_report
from harness.report.compile import compile_summary
from harness.report.summary import Summary
from harness.results.result import VerificationRecord

NOTE = "Not verified, by decoding samples in another process from the saved codec and the bytes: "


@pytest.fixture
def mixed(writer):
    """A codec of which all points are verified, one of which one is not, and one of an older version."""
    writer.anchor_and_floor()
    for name, records in {
        "sound": [VerificationRecord(samples=3), VerificationRecord(samples=60)],
        "anonymous": [VerificationRecord(samples=3), VerificationRecord(samples=0, reason="lives in a notebook")],
        "older": [None, None],
    }.items():
        for rate, record in zip((2.0, 4.0), records, strict=True):
            writer.write(name, ebpfp=rate, score=0.9 + rate / 100, params={"rate": rate}, verified=record)
    return writer.root


def test_a_codec_counts_as_verified_as_the_least_of_its_points(mixed):
    summary = compile_summary(mixed, resamples=0, bound=False)
    points = {codec.codec: [p.verified_samples for p in codec.points] for codec in summary.scenarios[0].codecs}
    assert points == {"sound": [3, 60], "anonymous": [3, 0], "older": [0, 0], "identity": [3], "mean": [3]}
    least = {codec.codec: codec.verified_samples for codec in summary.scenarios[0].codecs if codec.role == "codec"}
    assert least == {row.codec: row.verified_samples for row in summary.overall}
    assert least == {"sound": 3, "anonymous": 0, "older": 0}


def test_terminal_markdown_and_page_name_those_that_are_not(mixed, tmp_path):
    paths = write_report(mixed, tmp_path / "report", resamples=0, bound=False)
    buffer = io.StringIO()
    terminal_table(paths.summary, buffer)
    shown = " ".join(buffer.getvalue().split())
    for text in (shown, paths.markdown.read_text(), paths.page.read_text()):
        named = text.partition(NOTE)[2].partition(".")[0]
        assert set(named.split(", ")) == {"anonymous", "older"}
    assert "| older | no | nothing | 0 | lamofcbench:older@1 | no |" in paths.markdown.read_text()
    assert "| sound | no | nothing | 0 | lamofcbench:sound@1 | 3 |" in paths.markdown.read_text()


def test_where_all_are_verified_nothing_is_noted(writer, tmp_path):
    writer.anchor_and_floor()
    writer.write("sound", ebpfp=2.0, score=0.9)
    paths = write_report(writer.root, tmp_path / "report", resamples=0, bound=False)
    assert "Not verified" not in paths.markdown.read_text() + paths.page.read_text()


def test_a_summary_of_an_older_version_is_read_as_not_verified(mixed, tmp_path):
    summary = json.loads(compile_summary(mixed, resamples=0, bound=False).model_dump_json())
    for part in [
        *summary["overall"],
        *summary["scenarios"][0]["codecs"],
        *summary["scenarios"][0]["codecs"][0]["points"],
    ]:
        del part["verified_samples"]
    read = Summary.model_validate(summary)
    assert [row.verified_samples for row in read.overall] == [0, 0, 0]
