"""A small dataset of a user's own scenario, in several shards, and ways to tamper with a copy of it."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lamofcbench.builders import BUILDERS
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage.layout import json_checksum

WORDS_FILE = Path(__file__).with_name("words_scenario.py")
SHARD_BYTES = 2_000


@pytest.fixture(scope="session")
def words_name():
    """How a user names the scenario of a file."""
    return f"{WORDS_FILE}:WORDS"


@pytest.fixture(scope="session")
def words(words_name):
    return SCENARIOS.get(words_name)


@pytest.fixture(scope="session")
def words_builder(words):
    return BUILDERS.get(words.builder, relative_to=words.origin)()


@pytest.fixture(scope="session")
def words_folder(words, words_builder, tmp_path_factory):
    """A dataset folder that no test changes."""
    folder = tmp_path_factory.mktemp("words")
    words_builder.build(words, folder, progress=False, shard_bytes=SHARD_BYTES)
    return folder


@pytest.fixture
def copied_folder(words_folder, tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(words_folder, tmp_path / "copy"))


@pytest.fixture
def tamper_index():
    """Changes the rows of an index and makes the manifest agree, as a hostile publisher would."""

    def tamper(folder, change, split="test"):
        path = folder / "user-words" / f"{split}.parquet"
        table = pq.read_table(path)
        rows = table.to_pylist()
        rows = change(rows) or rows
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
        tamper_manifest_of(folder, lambda m: m["splits"][split].update(samples=len(rows), index=record(path)))

    return tamper


@pytest.fixture
def tamper_manifest():
    return tamper_manifest_of


@pytest.fixture
def tamper_shard(tamper_index):
    """Changes a shard of the test split and makes index and manifest agree."""

    def tamper(folder, content, number=0):
        path = sorted((folder / "user-words").glob("test-*.safetensors"))[number]
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        name = re.sub(r"-[0-9a-f]{8}\.", f"-{digest[:8]}.", path.name)
        path.rename(path.with_name(name))
        known = {"name": name, "size_bytes": len(content), "sha256": digest}
        tamper_manifest_of(folder, lambda m: m["splits"]["test"]["shards"][number].update(known))

        def rename(rows):
            for tensor in (value for row in rows for value in row.values() if isinstance(value, dict)):
                tensor["file"] = tensor["file"].replace(path.name, name)

        tamper_index(folder, rename)

    return tamper


def tamper_manifest_of(folder, change):
    path = folder / "user-words" / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps({**manifest, "checksum": json_checksum(manifest)}))


def record(path):
    content = path.read_bytes()
    return {"name": path.name, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
