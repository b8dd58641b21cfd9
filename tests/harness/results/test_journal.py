import os
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaits

import pytest

from harness.results.journal import Journal, JournalWriter, in_batch_order
from lamofcbench.errors import WriteError


def entry(batch, rank=0, size=3):
    return {"batch": batch, "rank": rank, "rows": [{"index": batch, "coded_bytes": size}], "timings": []}


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal", "0123456789abcdef")


def write(journal, *batches, rank=0):
    with JournalWriter(journal, rank) as writer:
        for batch in batches:
            writer.append(entry(batch, rank))


def test_batches_of_all_ranks_come_back_in_order(journal):
    write(journal, 4, 0, rank=0)
    write(journal, 3, 1, rank=1)
    entries, damaged = journal.index()
    assert damaged == 0
    assert [(e["batch"], e["rank"]) for e in in_batch_order(entries)] == [(0, 0), (1, 1), (3, 1), (4, 0)]
    assert entries[3].rank == 1 and entries[3].coded_bytes == (3,)


@pytest.mark.parametrize("cut", [1, 5, 20, 40])
def test_a_torn_last_line_never_counts_and_appending_goes_on(journal, cut):
    write(journal, 0, 1)
    file = journal.directory / "0.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    assert set(journal.index()[0]) == {0}
    journal.repair()
    assert journal.index()[1] == 0
    write(journal, 2)
    assert set(journal.index()[0]) == {0, 2}


@pytest.mark.parametrize("at", [0, 10, 17, 30, 60])
def test_a_damaged_line_elsewhere_never_counts(journal, at):
    write(journal, 0, 1, 2)
    file = journal.directory / "0.jsonl"
    data = bytearray(file.read_bytes())
    start = data.index(b"\n") + 1
    data[start + at] ^= 1
    file.write_bytes(bytes(data))
    entries, damaged = journal.index()
    assert set(entries) == {0, 2}
    assert damaged >= 1


def test_a_line_of_another_configuration_never_counts(journal, tmp_path):
    write(journal, 0)
    other = Journal(tmp_path / "journal", "fedcba9876543210")
    assert other.index() == ({}, 1)


def test_floats_survive_to_the_last_bit_and_nan_too(journal):
    values = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, float("nan")]
    line = journal.line({"batch": 0, "rank": 0, "rows": [], "values": values})
    restored = journal.parse(line)["values"]
    assert restored[:3] == values[:3] and restored[3] != restored[3]


@pytest.mark.parametrize("what", ["repair", "write"])
def test_nobody_touches_a_file_that_a_process_writes_to(journal, what, caplog):
    def touch():
        journal.repair() if what == "repair" else write(journal, 1)

    with ThreadPoolExecutor() as pool:
        with JournalWriter(journal, 0) as writer:
            writer.append(entry(0))
            waiting = pool.submit(touch)
            with pytest.raises(StillWaits):
                waiting.result(timeout=0.5)
        waiting.result(timeout=10)
    assert f"waiting for process {os.getpid()}" in caplog.text and str(journal.directory.parent) in caplog.text
    assert set(journal.index()[0]) == ({0} if what == "repair" else {0, 1})


def test_a_line_that_cannot_be_written_is_cut_off_and_the_file_named(journal, file_size_limit):
    with JournalWriter(journal, 0) as writer:
        writer.append(entry(0))
        with file_size_limit(600), pytest.raises(WriteError) as caught:
            writer.append(entry(1) | {"rows": [{"index": 1, "coded_bytes": 3, "text": "x" * 1000}]})
        assert str(caught.value).startswith(f"cannot write {journal.directory / '0.jsonl'}: File too large;")
        writer.append(entry(2))
    entries, damaged = journal.index()
    assert (set(entries), damaged) == ({0, 2}, 0)


def test_a_file_without_any_newline_is_all_torn(journal):
    write(journal)
    (journal.directory / "0.jsonl").write_bytes(b"x" * 200_000)
    journal.repair()
    assert (journal.directory / "0.jsonl").read_bytes() == b""
