"""Submissions with files that have no place in one are refused before anything in them is believed."""

import os
import shutil

import pytest

from harness.submission.intake import objection
from harness.submission.verdict import NOTHING_READ


@pytest.mark.parametrize("name", ["notes.txt", ".gitattributes", "results/toy-directions@1/uniform/state.pkl", "a\nb"])
def test_files_that_are_no_part_of_a_submission(submission, refused, name):
    (submission / name).write_text("{}")
    refused(name.replace("\n", " "), "is no part of a submission")


PLACE = "results/toy-directions@1/uniform/0123456789abcdef"


@pytest.mark.parametrize(
    "name",
    ["../submission.json", "/submission.json", "results/../submission.json", f"{PLACE}/codec/source/../../x.py",
     f"{PLACE}/../0123456789abcdef/result.json", f"{PLACE}/result.json/", f"{PLACE}//result.json",
     f"{PLACE}\\result.json", f"{PLACE}/result.json\n", "results/toy-directions@1/../0123456789abcdef/result.json",
     f"{PLACE}/codec/source/.hidden.py", f"{PLACE}/codec/source/x.so", "RESULTS/x", "", "."],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_never_read(name):
    assert objection(name, 10) == "is no part of a submission"


def test_the_names_of_a_submission_may_be_read(packed):
    names = [path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()]
    assert len(names) == 33 and not any(objection(name, 10) for name in names)
    assert objection(f"{PLACE}/codec/source/my_codec/tables.py", 10) == ""


def test_a_link_that_leads_elsewhere(doctored, refused, tmp_path):
    (tmp_path / "elsewhere").write_bytes((doctored.path / "result.json").read_bytes())
    (doctored.path / "result.json").unlink()
    (doctored.path / "result.json").symlink_to(tmp_path / "elsewhere")
    verdict = refused("result.json", "is no regular file")
    assert verdict.checked == [] and verdict.digest == NOTHING_READ


def test_a_folder_that_is_a_link(doctored, refused, tmp_path):
    shutil.move(doctored.path / "codec", tmp_path / "codec")
    (doctored.path / "codec").symlink_to(tmp_path / "codec")
    refused("codec", "is no regular file")


def test_a_pipe(doctored, refused):
    (doctored.path / "run.json").unlink()
    os.mkfifo(doctored.path / "run.json")
    refused("run.json", "is no regular file")


def test_a_file_that_is_too_large(doctored, refused):
    with (doctored.path / "result.json").open("r+b") as file:
        file.truncate(2**19)
    refused("result.json", "bytes; at most")


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "../up"), ("link", "javascript:alert(1)"), ("link", "http://example.org"), ("commit", "main"),
     ("display_name", "two\nlines"), ("display_name", "x" * 81), ("knowledge", "everything"), ("format_version", 2),
     ("surplus", 1)],
)  # fmt: skip
def test_a_manifest_that_breaks_its_schema(doctored, refused, field, value):
    doctored.manifest(lambda manifest: manifest.update({field: value}))
    refused("submission.json", f"breaks its schema: {field}")


@pytest.mark.parametrize("content", [b"", b"[" * 100000, b"\xff\xfe", b"null"])
def test_a_manifest_that_is_none(submission, refused, content):
    (submission / "submission.json").write_bytes(content)
    refused("submission.json", "breaks its schema")


def test_the_submission_of_another_name(doctored, refused):
    doctored.manifest(lambda manifest: manifest.update(name="someone-else"))
    refused("submission.json", "is of submission someone-else")


OTHER_HASH = "is not what run.json recorded: its sha256 differs"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("samples.parquet", OTHER_HASH),
        ("bitstreams.safetensors", "holds no bitstreams"),
        ("codec/model.safetensors", OTHER_HASH),
        ("result.json", OTHER_HASH),
    ],
)
def test_torn_files(doctored, refused, name, what):
    path = doctored.path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(name, what)
