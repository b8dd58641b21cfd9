"""Every byte of a dataset folder is read, and what is damaged is named; bit rot that keeps size and time too."""

import json
import os
import re
import shutil

import pyarrow.parquet as pq
import pytest

from lamofcbench.audit import MAX_LINES_A_FILE, Audit
from lamofcbench.errors import DataError
from lamofcbench.storage import integrity, open_split, shards
from lamofcbench.storage.verification import is_dataset, verify_dataset


@pytest.fixture(autouse=True)
def _own_memory(monkeypatch, tmp_path):
    monkeypatch.setenv("LAMOFCBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(integrity, "_verified", set())
    shards._local.__dict__.clear()


def verified(folder):
    audit = Audit()
    verify_dataset(folder, audit)
    assert not any("\n" in str(finding) for finding in (*audit.damage, *audit.notes))
    return audit


def damage_of(folder):
    return [str(finding) for finding in verified(folder).damage]


def rot(path, at, bit=1):
    """Flips a bit, and keeps size and time."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= bit
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def files_of(folder):
    return sorted(path for path in (folder / "user-words").iterdir())


def test_a_sound_folder_is_read_to_its_last_byte(words_folder):
    audit = verified(words_folder)
    assert audit.damage == [] and audit.notes == []
    paths = [*files_of(words_folder), words_folder / "README.md"]
    assert (audit.files, audit.bytes_read) == (len(paths), sum(path.stat().st_size for path in paths))


def test_one_scenarios_folder_is_checked_too(words_folder):
    audit = verified(words_folder / "user-words")
    assert audit.damage == [] and audit.files == len(files_of(words_folder))


@pytest.mark.parametrize("place", [0.0, 0.37, 0.999], ids=["start", "middle", "end"])
def test_bit_rot_is_found_in_every_file_although_size_and_time_stay(copied_folder, words, place):
    for number, path in enumerate(files_of(copied_folder)):
        folder = copied_folder.with_name(f"rotten-{number}")
        shutil.copytree(copied_folder, folder)
        list(open_split(words, "test", folder))  # ordinary reading has taken it for sound
        rotten = folder / "user-words" / path.name
        rot(rotten, int(place * (rotten.stat().st_size - 1)))
        (line,) = damage_of(folder)
        assert str(rotten) in line


def test_what_verify_finds_ordinary_reading_finds_from_then_on(copied_folder, words, monkeypatch):
    monkeypatch.setattr(integrity, "state_of", lambda status: (0, status.st_size, 0, 0))  # rot that no stat shows
    path = next(path for path in files_of(copied_folder) if path.name.startswith("test-00001"))
    list(open_split(words, "test", copied_folder))
    rot(path, -1)
    shards._local.__dict__.clear()
    list(open_split(words, "test", copied_folder))
    assert len(damage_of(copied_folder)) == 1
    shards._local.__dict__.clear()
    with pytest.raises(DataError, match="is damaged: its sha256"):
        list(open_split(words, "test", copied_folder))


def test_missing_cut_and_strange_files_are_damage(copied_folder):
    index, shard, other = (
        next(path for path in files_of(copied_folder) if path.name.startswith(start))
        for start in ("calibration.p", "test-00000", "test-00001")
    )
    index.unlink()
    shard.write_bytes(shard.read_bytes()[:-5])
    other.unlink()
    os.mkfifo(other)
    lines = damage_of(copied_folder)
    for path, what in ((index, "is missing"), (shard, "it has"), (other, "is no regular file")):
        assert any(str(path) in line and what in line for line in lines)
    assert len(lines) == 3


def test_what_no_manifest_names_is_a_note(copied_folder):
    (copied_folder / "user-words" / "test-00009-of-00009.safetensors").write_bytes(b"")
    (copied_folder / ".user-words.building-host-1-ab").mkdir()
    (copied_folder / "my notes.txt").write_text("")
    audit = verified(copied_folder)
    assert audit.damage == [] and len(audit.notes) == 3


def test_a_damaged_card_is_damage_and_a_missing_one_a_note(copied_folder):
    card = copied_folder / "README.md"
    card.write_text(card.read_text().replace("test.parquet", "tset.parquet"))
    assert damage_of(copied_folder) == [f"{card}: its front matter does not name the files of user-words"]
    card.write_text("---\n- a list\n---\n")
    assert len(damage_of(copied_folder)) == 1
    card.unlink()
    audit = verified(copied_folder)
    assert audit.damage == [] and "is missing" in str(audit.notes[0])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda rows: rows[3].update(sample_id="test-1"), "row 3 repeats the sample id 'test-1'"),
        (lambda rows: rows[3].update(content_sha256="x"), "row 3 has the content hash 'x'"),
        (lambda rows: rows[3].update(pooled=rows[19]["pooled"]), "row 3 has its tensors in 2 shards"),
        (lambda rows: rows[3]["pooled"].update(key="none"), "row 3: shard .* does not hold the tensor 'none'"),
        (lambda rows: rows[3].update(pooled=None), "row 3 of .* has no 'pooled'"),
        (lambda rows: rows.pop(), "holds . samples, its manifest says"),
    ],
)
def test_rows_are_held_against_shards_and_specs(copied_folder, tamper_index, change, what):
    tamper_index(copied_folder, lambda rows: change(rows) and None)
    lines = damage_of(copied_folder)
    assert any(re.search(what, line) for line in lines)


def test_a_sample_of_both_splits_is_damage(copied_folder, tamper_index):
    calibration = pq.read_table(copied_folder / "user-words" / "calibration.parquet")["content_sha256"][2].as_py()
    tamper_index(copied_folder, lambda rows: rows[3].update(content_sha256=calibration))
    lines = damage_of(copied_folder)
    assert any(re.search("is a sample of the (test|calibration) split, too$", line) for line in lines)


def test_tensors_that_disagree_on_a_common_axis_are_damage(copied_folder, tamper_index):
    def swap(rows):
        rows[0]["key.0"], rows[1]["key.0"] = rows[1]["key.0"], rows[0]["key.0"]

    tamper_index(copied_folder, swap)
    lines = damage_of(copied_folder)
    assert len(lines) == 2 and all("tensor 'key.0' has shape" in line for line in lines)


def test_a_thousand_damaged_rows_are_not_a_thousand_lines(copied_folder, tamper_index):
    tamper_index(copied_folder, lambda rows: [{**row, "content_sha256": "x"} for row in rows * 20])
    lines = [line for line in damage_of(copied_folder) if "test.parquet: " in line and "manifest" not in line]
    assert len(lines) == MAX_LINES_A_FILE + 1 and lines[-1].endswith("and more of the kind")


def test_tensors_that_no_row_names_are_a_note(copied_folder, tamper_index, tamper_manifest):
    tamper_index(copied_folder, lambda rows: rows[:-1])

    def agree(manifest):
        manifest["splits"]["test"]["shards"][-1]["samples"] -= 1

    tamper_manifest(copied_folder, agree)
    audit = verified(copied_folder)
    assert audit.damage == []
    assert [finding.what for finding in audit.notes] == ["holds 3 tensors that no row names"]


def test_a_manifest_in_the_wrong_folder_is_damage(copied_folder):
    (copied_folder / "user-words").rename(copied_folder / "other-words")
    assert any("is of scenario 'user-words'" in line for line in damage_of(copied_folder))


@pytest.mark.parametrize("content", [b"", b"[" * 200_000, b"{}", b"null", b'{"format_version": 9}'])
def test_hostile_manifests_end_in_a_line(copied_folder, content):
    (copied_folder / "user-words" / "manifest.json").write_bytes(content)
    (line,) = damage_of(copied_folder)
    assert "manifest.json" in line and len(line) < 700


def test_other_folders_are_no_datasets(tmp_path, words_folder):
    assert is_dataset(words_folder) and is_dataset(words_folder / "user-words")
    assert not is_dataset(tmp_path) and not is_dataset(tmp_path / "absent")


def test_a_folder_of_an_older_declaration_is_a_note(copied_folder, monkeypatch, words):
    from lamofcbench.storage import verification

    class Registered:
        def names(self):
            return ["user-words"]

        def get(self, name):
            return words.model_copy(update={"version": 2})

    monkeypatch.setattr(verification, "SCENARIOS", Registered())
    audit = verified(copied_folder)
    assert audit.damage == [] and "holds user-words@1, not user-words@2" in str(audit.notes[0])
    manifest = json.loads((copied_folder / "user-words" / "manifest.json").read_text())
    assert manifest["format_version"] == 2
