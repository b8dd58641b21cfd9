"""Tables of strangers are read up to a limit; what they say of themselves is not believed."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.results import tables
from harness.results.record import iterate_records, statistics_of
from harness.results.tables import read_table
from lamofcbench.errors import ResultsError


def _written(path, rows, **columns):
    columns = columns or {"index": np.zeros(rows, np.int64), "score": np.zeros(rows)}
    pq.write_table(pa.table(columns), path, compression="zstd")
    return path


def test_a_table_comes_back_with_the_schema_it_was_written_with(tmp_path):
    field = pa.field("statistic.x", pa.list_(pa.float64()), metadata={"shape": "[2]"})
    schema = pa.schema([pa.field("index", pa.int64()), pa.field("prediction", pa.string()), field])
    written = pa.table({"index": range(600), "prediction": ["a"] * 600, "statistic.x": [[0.5, 1.0]] * 600}, schema)
    pq.write_table(written, tmp_path / "t.parquet", row_group_size=64)
    assert read_table(tmp_path / "t.parquet", 600).equals(written)
    kept = read_table(tmp_path / "t.parquet", leave_out=("prediction",))
    assert kept.equals(written.drop_columns(["prediction"]))
    assert kept.schema.field("statistic.x").metadata == {b"shape": b"[2]"}
    assert list(iterate_records(tmp_path / "t.parquet")) == written.to_pylist()


def test_a_table_of_no_rows_has_its_columns(tmp_path):
    assert read_table(_written(tmp_path / "t.parquet", 0), 0).column_names == ["index", "score"]


def test_a_table_of_other_rows_than_its_result_is_not_read(tmp_path, monkeypatch):
    path = _written(tmp_path / "t.parquet", 1000)
    monkeypatch.setattr(tables, "bounded_batches", lambda *args, **options: pytest.fail("it was read"))
    with pytest.raises(ResultsError, match=r"t\.parquet has 1000 rows where its result counts 60 samples$"):
        read_table(path, 60)


@pytest.mark.parametrize(
    ("kind", "value", "what"),
    [
        (pa.list_(pa.binary(4)), [b"abcd"] * 3, "lists of FIXED_LEN_BYTE_ARRAY values"),
        (pa.binary(4), b"abcd", "FIXED_LEN_BYTE_ARRAY values"),
        (pa.list_(pa.list_(pa.float64())), [[1.0]], "lists of DOUBLE values"),
        (pa.map_(pa.int64(), pa.float64()), [(1, 1.0)], "columns of a kind that no table here has"),
        (pa.dictionary(pa.int32(), pa.string()), "abc", "columns of a kind that no table here has"),
    ],
)
def test_what_no_result_holds_is_not_read(tmp_path, kind, value, what):
    path = _written(tmp_path / "t.parquet", 4, index=pa.array([value] * 4, kind))
    for read in (read_table, lambda path: list(iterate_records(path))):
        with pytest.raises(ResultsError, match=f"it holds {what}"):
            read(path)


def test_rows_of_nothing_are_counted_too(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 2**16)
    path = _written(tmp_path / "t.parquet", 100_000, index=pa.nulls(100_000))
    assert path.stat().st_size < 2**12
    with pytest.raises(ResultsError, match="it takes more than"):
        read_table(path)


@pytest.mark.parametrize("shape", [b"[" * 10**5, b"[1]" + b" " * 10**5, b"2", b'["2"]', b"[true]", b"{}", b""])
def test_a_shape_that_is_none(shape):
    values = pa.array([[1.0, 2.0]] * 3)
    field = pa.field("statistic.x", values.type, metadata={b"shape": shape})
    with pytest.raises(ResultsError, match=r"column 'statistic\.x' does not say the shape of its values$"):
        statistics_of(pa.Table.from_arrays([values], schema=pa.schema([field])))


@pytest.mark.parametrize("read", [read_table, lambda path: list(iterate_records(path))])
def test_a_small_file_of_many_rows_is_read_up_to_the_limit(tmp_path, monkeypatch, read):
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 2**16)
    path = _written(tmp_path / "t.parquet", 100_000)
    assert path.stat().st_size < 2**14
    with pytest.raises(ResultsError, match=r"is missing or damaged: it takes more than \d+ bytes of memory$"):
        read(path)
