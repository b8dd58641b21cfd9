import pytest

from harness.results import journal as journal_module
from harness.results.journal import Journal, JournalWriter, in_batch_order
from lamofcbench.errors import ResultsError


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


def test_two_runs_cannot_write_one_journal(journal, monkeypatch):
    monkeypatch.setattr(journal_module, "LOCK_SECONDS", 0.0)
    with JournalWriter(journal, 0):
        with pytest.raises(ResultsError, match="another run is writing"), JournalWriter(journal, 0):
            pass
        with pytest.raises(ResultsError, match="another run is writing"):
            journal.repair()
    journal.repair()  # free again


def test_a_file_without_any_newline_is_all_torn(journal):
    write(journal)
    (journal.directory / "0.jsonl").write_bytes(b"x" * 200_000)
    journal.repair()
    assert (journal.directory / "0.jsonl").read_bytes() == b""
