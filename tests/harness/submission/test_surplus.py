"""What nothing reads has no place in a submission, though all that is read be honest."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from harness.submission.surplus import MAX_UNREAD_BYTES

STORY = "once upon a time " * 1000


def rewritten(path, schema):
    """A table with the same columns and another schema."""
    pq.write_table(pq.read_table(path).cast(schema), path, compression="zstd", write_page_checksum=True)


@pytest.mark.parametrize("name", ["samples.parquet", "timings.parquet"])
def test_metadata_of_a_table(doctored, refused, name):
    path = doctored.path / name
    rewritten(path, pq.read_schema(path).with_metadata({"story": STORY}))
    doctored.seal()
    refused(name, "holds metadata that nothing reads")


def test_metadata_of_a_column(doctored, refused):
    path = doctored.path / "samples.parquet"
    schema = pq.read_schema(path)
    at = schema.get_field_index("coded_bytes")
    rewritten(path, schema.set(at, schema.field(at).with_metadata({"story": STORY})))
    doctored.seal()
    refused("samples.parquet", "holds metadata that nothing reads")


def test_a_statistic_that_has_more_than_a_shape(doctored, refused):
    path = doctored.path / "samples.parquet"
    schema = pq.read_schema(path)
    at = next(at for at, field in enumerate(schema) if field.name.startswith("statistic."))
    rewritten(path, schema.set(at, schema.field(at).with_metadata({"shape": STORY})))
    doctored.seal()
    refused("samples.parquet", "holds metadata that nothing reads")


def test_bytes_between_the_columns_of_a_table(doctored, refused):
    path = doctored.path / "timings.parquet"
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    path.write_bytes(content[:-footer] + b"\0" * (MAX_UNREAD_BYTES + 1) + content[-footer:])
    assert pq.read_table(path).num_rows == doctored.scenario.test_samples  # which nobody's reader minds
    doctored.seal()
    refused("timings.parquet", f"holds {MAX_UNREAD_BYTES + 1} bytes that belong to no column")


@pytest.mark.parametrize("name", ["bitstreams.safetensors", "codec/model.safetensors"])
def test_metadata_beside_tensors(doctored, refused, name):
    path = doctored.path / name
    with safe_open(path, framework="numpy") as file:
        tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    save_file(tensors, path, metadata | {"story": STORY})
    doctored.seal()
    refused(name, "holds metadata that nothing reads")


def test_hashes_that_stand_far_apart(doctored, refused):
    path = doctored.path / "bitstreams.safetensors"
    with safe_open(path, framework="numpy") as file:
        tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(tensors, path, {"sha256": json.dumps(json.loads(metadata["sha256"]), indent=1000)})
    refused("bitstreams.safetensors", "its metadata hold more than hashes")


def test_metadata_of_what_lists_hold(doctored, refused):
    path = doctored.path / "samples.parquet"
    table = pq.read_table(path)
    inner = pa.field("item", pa.float64(), metadata={"story": STORY})
    at = table.schema.get_field_index("prediction")
    field = pa.field("prediction", pa.list_(inner))
    column = pa.array([[0.5]] * len(table), field.type)
    pq.write_table(table.set_column(at, field, column), path, compression="zstd", write_page_checksum=True)
    doctored.seal()
    refused("samples.parquet", "holds metadata that nothing reads")
