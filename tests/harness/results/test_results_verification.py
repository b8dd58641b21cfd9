"""Every byte of a results folder is read, and what is damaged is named, without running any code that came with it."""

import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.results import hashes, tables, verification
from harness.results.rescoring import rescore
from harness.results.store import ResultFolder
from harness.results.verification import is_results, verify_results
from harness.running.runner import ScenarioRunner
from harness.running.settings import RunSettings
from lamofcbench.audit import Audit
from lamofcbench.codecs.registry import make_codecs

OWN_CODEC = """
from lamofcbench.codecs.zstd import ZstdCodec


class OwnCodec(ZstdCodec):
    name = "own"
"""


@pytest.fixture(scope="module")
def results(toy, toy_data, tmp_path_factory):
    """A shipped codec that learns and one of a user's file, finished; no test changes them."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "own.py").write_text(OWN_CODEC)
    runner = ScenarioRunner(toy, RunSettings(results=folder / "results", data=toy_data, progress=False))
    for spec in ("uniform:step=0.5", f"{folder / 'own.py'}:OwnCodec"):
        (codec,) = make_codecs(spec, toy.specs)
        runner.run_codec(codec)
    return folder / "results"


@pytest.fixture
def copied(results, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(results, tmp_path / "copy")


@pytest.fixture
def folder(copied):
    """The shipped codec's result in it."""
    (folder,) = (copied / "toy-directions@1" / "uniform").iterdir()
    return folder


def verified(folder):
    audit = Audit()
    verify_results(folder, audit)
    assert not any("\n" in str(finding) for finding in (*audit.damage, *audit.notes))
    return audit


def damage_of(folder):
    return [str(finding) for finding in verified(folder).damage]


def without_hashes(folder):
    """As an older version left a result."""
    run = json.loads((folder / "run.json").read_text())
    del run["sha256"]
    (folder / "run.json").write_text(json.dumps(run))


def rot(path, at):
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_sound_results_are_read_to_their_last_byte(results):
    audit = verified(results)
    assert audit.damage == [] and audit.notes == []
    paths = [path for path in results.rglob("*") if path.is_file() and ".locks" not in path.parts]
    assert (audit.files, audit.bytes_read) == (len(paths), sum(path.stat().st_size for path in paths))


def test_one_result_is_checked_alone(folder):
    audit = verified(folder)
    assert audit.damage == [] and audit.files == sum(path.is_file() for path in folder.rglob("*"))


@pytest.mark.parametrize("place", [0.0, 0.31, 0.63, 0.999], ids=["start", "third", "two thirds", "end"])
def test_bit_rot_is_found_in_every_file_although_size_and_time_stay(folder, place):
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    for name in [name for name in names if name.parts[0] != "bitstreams" or name.name in ("0.bin", "21.bin")]:
        before = (folder / name).read_bytes()
        rot(folder / name, int(place * (len(before) - 1)))
        assert any(str(folder / name) in line for line in damage_of(folder)), name
        (folder / name).write_bytes(before)


def test_bit_rot_is_found_without_recorded_hashes_too(folder):
    without_hashes(folder)
    audit = verified(folder)
    assert audit.damage == [] and "holds no hashes" in str(audit.notes[0])
    for name in ("bitstreams/3.bin", "codec/config.json", "codec/model.safetensors"):
        before = (folder / name).read_bytes()
        rot(folder / name, len(before) // 2)
        assert damage_of(folder), name
        (folder / name).write_bytes(before)
    path = folder / "samples.parquet"
    before = path.read_bytes()
    rot(path, 60)  # in a page
    assert any(str(path) in line for line in damage_of(folder))
    path.write_bytes(before)


def edit_result(folder, change):
    path = folder / "result.json"
    result = json.loads(path.read_text())
    change(result)
    path.write_text(json.dumps(result))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda r: r["rate"].update(ebpfp=r["rate"]["ebpfp"] / 2), "says rate"),
        (lambda r: r.update(mse=r["mse"] * 2), "says mse"),
        (lambda r: r["tensors"]["hidden"].update(mse=0.0), "says tensors"),
        (lambda r: r["codec"]["params"].update(step=0.25), "is of another codec than codec/ holds"),
        (lambda r: r["codec"].update(fingerprint="0" * 64), "is of another codec than codec/ holds"),
        (lambda r: r["codec"].update(name="zstd"), "belongs to 'toy-directions@1/zstd/"),
        (lambda r: r.update(scenario_version=2), "belongs to 'toy-directions@2/uniform/"),
        (lambda r: r.update(config_hash="0" * 16), "not of the folder it is in"),
        (lambda r: r.update(samples=21), "holds 22 samples, result.json says 21"),
        (lambda r: r.update(more=1), "breaks the result schema: more"),
        (lambda r: r.update({"x" * 100_000: 1}), "breaks the result schema: xxx"),
    ],
)
def test_a_report_that_contradicts_its_samples_or_codec_is_damaged(folder, change, what):
    without_hashes(folder)
    edit_result(folder, change)
    lines = damage_of(folder)
    assert any(what in line for line in lines) and all(len(line) < 1000 for line in lines)


def test_the_score_of_a_registered_scenario_is_computed_again(folder, toy, monkeypatch):
    class Registered:
        def names(self):
            return [toy.id]

        def get(self, name):
            return toy

    monkeypatch.setattr("harness.results.verification.SCENARIOS", Registered())
    without_hashes(folder)
    assert damage_of(folder) == []
    edit_result(folder, lambda result: result.update(score=result["score"] / 2))
    (line,) = damage_of(folder)
    assert "result.json: says score" in line


def test_samples_in_another_order_or_of_other_sizes_are_damaged(folder):
    without_hashes(folder)
    path = folder / "samples.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(list(reversed(range(22)))), path)
    assert any("does not hold the samples in their order" in line for line in damage_of(folder))
    sizes = table["coded_bytes"].to_pylist()
    sizes[4:6] = [sizes[4] + 1, sizes[5] - 1]
    at = table.column_names.index("coded_bytes")
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(sizes)), path)
    assert [line.split("bitstreams/")[1].split(",")[0] for line in damage_of(folder)] == [
        f"4.bin: has {sizes[4] - 1} bytes",
        f"5.bin: has {sizes[5] + 1} bytes",
    ]


def test_missing_files_are_damage_and_strange_ones_notes(folder):
    (folder / "bitstreams" / "7.bin").unlink()
    (folder / "codec" / "fit.json").unlink()
    (folder / "timings.parquet").unlink()
    os.mkfifo(folder / "pipe")
    (folder / "bitstreams" / "my.txt").write_text("")
    (folder / "notes.txt").write_text("")
    (folder / "linked").symlink_to(folder.parent)
    audit = verified(folder)
    lines = [str(finding).removeprefix(f"{folder}/") for finding in audit.damage]
    assert sorted(line.split(":")[0].split(" ")[0] for line in lines) == [
        "bitstreams/7.bin", "codec/fit.json", "pipe", "timings.parquet"
    ]  # fmt: skip
    assert sorted(finding.path.name for finding in audit.notes) == ["linked", "my.txt", "notes.txt"]


def test_no_code_that_came_with_a_result_is_run(copied):
    (folder,) = (copied / "toy-directions@1" / "own").iterdir()
    assert verified(folder).damage == []
    (source,) = (folder / "codec" / "source").iterdir()
    source.write_text(source.read_text() + "raise SystemExit('run')\n")
    assert len(damage_of(folder)) == 2  # not what was recorded, and not what the config names
    without_hashes(folder)
    (line,) = damage_of(folder)
    assert "is not the source that config.json names" in line


@pytest.mark.parametrize("content", [b"", b"[" * 200_000, b"null", b"{}", b"\xff", b'{"sha256": 3, "fingerprint": []}'])
@pytest.mark.parametrize("name", ["result.json", "run.json", "codec/config.json", "samples.parquet", "timings.parquet"])
def test_hostile_files_end_in_lines(folder, name, content):
    (folder / name).write_bytes(content)
    audit = verified(folder)
    if name != "run.json":
        assert any(finding.path == folder / name for finding in audit.damage)
    assert all(len(str(finding)) < 1000 for finding in (*audit.damage, *audit.notes))


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (lambda rows: ["x" * 2**20] * rows, "it takes more than"),
        (lambda rows: [["x" * 2**20]] * rows, "it holds lists of texts"),
        (lambda rows: [[0.0] * 2**17] * rows, "it claims rows too large"),
    ],
)
def test_a_small_table_that_would_fill_the_memory_is_not_read_to_its_end(folder, monkeypatch, values, what):
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 2**22)
    path = folder / "samples.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("bonus", pa.array(values(len(table)))), path, compression="zstd")
    assert path.stat().st_size < 2**16
    without_hashes(folder)
    (line,) = damage_of(folder)
    assert "samples.parquet" in line and what in line


def test_of_many_missing_bitstreams_the_first_are_named(folder, monkeypatch):
    monkeypatch.setattr(verification, "MOST_MISSING", 2)
    for index in (1, 3, 5, 7):
        (folder / "bitstreams" / f"{index}.bin").unlink()
    without_hashes(folder)
    first, second, others = damage_of(folder)
    assert first.endswith("1.bin: is missing") and second.endswith("3.bin: is missing")
    assert others.endswith("bitstreams: lacks 4 of 22 bitstreams; the others are not listed")


def test_a_result_of_more_samples_than_any_split_has_is_none(folder):
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"samples": 10**15, "test_samples": 10**15}))
    without_hashes(folder)
    (line,) = damage_of(folder)
    assert "result.json breaks the result schema: samples" in line


def test_an_unfinished_result_is_checked_by_its_journal(make_runner, toy, killed_after):
    restore = killed_after(3)
    with pytest.raises(KeyboardInterrupt):
        make_runner().run_codec(make_codecs("zstd", toy.specs)[0])
    restore()
    (folder,) = make_runner().settings.results.glob("*@*/*/*")
    audit = verified(folder)
    assert audit.damage == [] and [finding.what for finding in audit.notes] == ["is unfinished"]
    rot(folder / "bitstreams" / "2.bin", -1)
    journal = next(folder.glob("journal/*.jsonl"))
    rot(journal, 100)
    with journal.open("ab") as file:
        file.write(b"torn")
    lines = damage_of(folder)
    assert len(lines) == 2
    assert "line 1 does not match its checksum" in lines[0] and "2.bin: bitstream is damaged" in lines[1]
    assert any("was torn when the run ended" in str(note) for note in verified(folder).notes)


def test_scoring_again_records_the_new_hashes(folder, toy):
    edit_result(folder, lambda result: result.update(score=0.5))
    assert damage_of(folder)
    rescore(ResultFolder(folder), toy, update=True)
    assert damage_of(folder) == []
    assert json.loads((folder / "run.json").read_text())["threads"] == 1


def test_other_folders_hold_no_results(results, tmp_path):
    assert is_results(results) and is_results(next(results.glob("*@*/*/*")))
    assert not is_results(tmp_path) and not is_results(tmp_path / "absent")


def test_hashes_of_a_run():
    run = hashes.sealed({"threads": 1, "argv": ("a",)}, {"samples.parquet": "ab"})
    assert hashes.recorded(run) == {"samples.parquet": "ab"}
    assert hashes.recorded({"threads": 1}) is None and hashes.recorded([]) is None
    again = hashes.sealed(run, {"samples.parquet": "cd"})
    assert hashes.recorded(again) == {"samples.parquet": "cd"}
    for rotten in ({**run, "threads": 2}, {**run, "sha256": {}}, {"sha257": run["sha256"], "threads": 1}):
        with pytest.raises(ValueError, match="its own sha256 differs"):
            hashes.recorded(rotten)
