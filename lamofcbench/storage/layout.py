"""What lies where in a dataset folder, which is also a dataset repository on the Hub.

=========================================  ============================================================================
file                                       content
=========================================  ============================================================================
README.md                                  the card; its ``configs`` list every scenario's index files
<scenario>/manifest.json                   `Manifest`: scenario, data revision, size and sha256 of the files below
<scenario>/<split>.parquet                 the index, a row a sample
<scenario>/<split>-00000-of-00005.safetensors  the tensors; a sample's tensors are always in one shard
=========================================  ============================================================================

Columns of the index: ``sample_id``, ``content_sha256`` (of the raw sample), ``reference`` (what the metric compares
with, in its native type), ``side.<name>`` for the side information, and for each tensor a struct of its name with
``file`` (relative to the dataset folder), ``key`` (in that file), ``dtype`` and ``shape``. No extension types, so that
plain ``pyarrow`` and ``datasets`` read it.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lamofcbench.builders import Split
from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.scenarios.base import FeatureSpecs, Scenario, TensorSpec

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
CARD_FILE = "README.md"
SPLITS: tuple[Split, ...] = ("test", "calibration")
SIDE_PREFIX = "side."
SAMPLE_COLUMNS = ("sample_id", "content_sha256", "reference")

ReferenceType = Literal["string", "int64", "double", "binary"]
REFERENCE_TYPES: dict[type, ReferenceType] = {str: "string", int: "int64", float: "double", bytes: "binary"}

# A struct of these for each tensor; one order for the parquet index and the Arrow cache of `datasets`.
TENSOR_STRUCT = pa.struct(
    {"file": pa.string(), "key": pa.string(), "dtype": pa.string(), "shape": pa.list_(pa.int64())}
)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Record):
    """A file of a scenario's folder. The pattern keeps a hostile manifest from naming any other place."""

    name: str = Field(pattern=r"^[a-z]+(-\d{5,}-of-\d{5,})?\.(parquet|safetensors)$")
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ShardRecord(FileRecord):
    """A shard, and how many samples it holds."""

    samples: int = Field(gt=0)


class SplitRecord(_Record):
    """A split's index and its shards in sample order."""

    samples: int = Field(gt=0)
    index: FileRecord
    shards: tuple[ShardRecord, ...] = Field(min_length=1)


class Manifest(_Record):
    """What a scenario's folder holds; written last, so a folder without one is no dataset.

    Attributes:
        scenario_digest: of the declaration at the time of building; informative, ids and specs decide.
        data_revision: the builder's hash of everything that decides the features.
        reference: Arrow type of the references.
        builder: identity of the code that made the features; empty where it is not known.
    """

    format_version: Literal[1] = 1
    scenario: str
    scenario_version: int = Field(ge=1)
    scenario_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    data_revision: str = Field(min_length=1)
    reference: ReferenceType
    builder: str = ""
    features: FeatureSpecs
    splits: dict[Split, SplitRecord] = Field(min_length=1)


def read_manifest(path: Path) -> Manifest:
    """The checked manifest of a scenario's folder.

    Raises:
        DataError: if it is damaged or of a format that this version does not read.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"manifest {path} cannot be read ({error}); build or download the dataset again") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(f"manifest {path} has format version {version}; this lamofcbench reads {FORMAT_VERSION}")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f"manifest {path} is damaged: {where}: {first['msg']}; build or download the dataset again"
        ) from error


def check_manifest(manifest: Manifest, scenario: Scenario, where: str) -> None:
    """Raises DataError unless the manifest describes this scenario's features."""
    made = f"{manifest.scenario}@{manifest.scenario_version}"
    if made != scenario.ref:
        raise DataError(f"{where} holds {made}, not {scenario.ref}; build the dataset again or point to another folder")
    if manifest.features != scenario.specs:
        raise DataError(
            f"{where} holds other tensors than {scenario.ref} declares, so the declaration was changed without a new "
            "version; build the dataset again"
        )


def index_schema(specs: FeatureSpecs, reference: ReferenceType) -> pa.Schema:
    """The Arrow schema of a split's index.

    Raises:
        ScenarioError: if a tensor's name is that of another column.
    """
    side = [SIDE_PREFIX + name for name in specs.side]
    names = [spec.name for spec in specs.tensors]
    for name in names:
        if name in SAMPLE_COLUMNS or name in side:
            raise ScenarioError(f"a tensor cannot be named {name!r}, which is a column of the dataset's index")
    return pa.schema(
        [
            ("sample_id", pa.string()),
            ("content_sha256", pa.string()),
            ("reference", pa.type_for_alias(reference)),
            *((column, pa.int64()) for column in side),
            *((name, TENSOR_STRUCT) for name in names),
        ]
    )


def shape_fits(shape: Any, spec: TensorSpec) -> bool:
    """True where a stored shape has the right rank and every size lies within its axis."""
    if not isinstance(shape, list) or len(shape) != len(spec.shape):
        return False
    return all(
        isinstance(size, int) and (size == axis if isinstance(axis, int) else 0 <= size <= axis.limit)
        for size, axis in zip(shape, spec.shape, strict=True)
    )


def card_configs(manifests: Mapping[str, Manifest]) -> list[dict[str, Any]]:
    """The card's ``configs``: data files of every split, given explicitly because `datasets` would guess wrong."""
    return [
        {
            "config_name": scenario,
            "data_files": [
                {"split": split, "path": f"{scenario}/{record.index.name}"} for split, record in manifest.splits.items()
            ],
        }
        for scenario, manifest in sorted(manifests.items())
    ]


def write_atomically(path: Path, content: str) -> None:
    """Writes a text file so that a reader sees the old or the new content, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
