"""What lies where in a dataset folder, which is also a dataset repository on the Hub.

=======================================================  ==============================================================
file                                                     content
=======================================================  ==============================================================
README.md                                                the card; its ``configs`` list every scenario's index files
<scenario>/manifest.json                                 `Manifest`: scenario, data revision, size and sha256 of the
                                                         files below, and a checksum of itself
<scenario>/<split>.parquet                               the index, a row a sample
<scenario>/<split>-00000-of-00005-<hash8>.safetensors    the tensors; a sample's tensors are always in one shard
eval.yaml                                                on the Hub: makes the repository a benchmark
facts.json                                               on the Hub: figures of the tensors that the card shows
.locks/                                                  held while a scenario is built and while the card is written
=======================================================  ==============================================================

A shard's name ends in the first digits of its sha256, so data that are built again in the same place have other names,
and a reference to the old ones never finds the new ones. In format 1 the names had no such ending and the manifest no
checksum; it is still read.

Columns of the index: ``sample_id``, ``content_sha256`` (of the raw sample), ``reference`` (what the metric compares
with, in its native type), ``side.<name>`` for the side information, and for each tensor a struct of its name with
``file`` (relative to the dataset folder), ``key`` (in that file), ``dtype`` and ``shape``. What the tail is handed
uncoded lies in the same shards, and its columns are ``given.<name>``. No extension types, so that plain ``pyarrow`` and
``datasets`` read it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from lamofcbench.builders import Split
from lamofcbench.errors import DataError, ScenarioError, broken_field, first_line, one_line, shown
from lamofcbench.scenarios.base import FeatureSpecs, GivenSpec, Scenario, TensorSpec
from lamofcbench.storage.columns import Columns

FORMAT_VERSION: Literal[2] = 2
READ_VERSIONS = (1, 2)
MANIFEST_FILE = "manifest.json"
MAX_MANIFEST_BYTES = 2**26
"""A manifest of 10,000 shards takes 2 MB."""
CARD_FILE = "README.md"
EVAL_FILE = "eval.yaml"
FACTS_FILE = "facts.json"
SPLITS: tuple[Split, ...] = ("test", "calibration")
SAMPLE_COLUMNS = ("sample_id", "content_sha256", "reference")

ReferenceType = Literal["string", "int64", "double", "binary"]
REFERENCE_TYPES: dict[type, ReferenceType] = {str: "string", int: "int64", float: "double", bytes: "binary"}

# A struct of these for each tensor of the parquet index.
TENSOR_STRUCT = pa.struct(
    {"file": pa.string(), "key": pa.string(), "dtype": pa.string(), "shape": pa.list_(pa.int64())}
)
# What the Arrow cache of `datasets` holds: a URI for the file, and the sha256 of the shard that was meant.
REFERENCE_STRUCT = pa.struct([*TENSOR_STRUCT, pa.field("sha256", pa.string())])


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Record):
    """A file of a scenario's folder. The pattern keeps a hostile manifest from naming any other place."""

    name: str = Field(max_length=80, pattern=r"^[a-z]+(-\d{5,9}-of-\d{5,9}(-[0-9a-f]{8})?)?\.(parquet|safetensors)$")
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
        builder: identity of the code that built the data; empty where it did not say.
        reference: Arrow type of the references.
        checksum: `json_checksum` of all else; empty in format 1.
    """

    format_version: Literal[1, 2] = FORMAT_VERSION
    scenario: str
    scenario_version: int = Field(ge=1)
    scenario_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    data_revision: str = Field(min_length=1)
    builder: str = ""
    reference: ReferenceType
    features: FeatureSpecs
    given: tuple[GivenSpec, ...] = ()
    splits: dict[Split, SplitRecord] = Field(min_length=1)
    checksum: str = ""

    _sha256: str = PrivateAttr(default="")

    @property
    def columns(self) -> Columns:
        """Where a row has what."""
        return Columns(self.features, self.given)

    @property
    def sha256(self) -> str:
        """Hex sha256 of the file that this was read from; it names one build of the data."""
        return self._sha256

    @model_validator(mode="after")
    def _named_by_content(self) -> Manifest:
        if self.format_version > 1:
            for split, record in self.splits.items():
                names = [shard_name(split, n, len(record.shards), s.sha256) for n, s in enumerate(record.shards)]
                if record.index.name != index_name(split) or [shard.name for shard in record.shards] != names:
                    raise ValueError(f"the files of split {split} are not named by their content")
        return self

    def sealed(self) -> str:
        """The text of the manifest's file, with its checksum."""
        content = self.model_dump(mode="json")
        return json.dumps({**content, "checksum": json_checksum(content)}, indent=1) + "\n"


def index_name(split: str) -> str:
    """The name of a split's index."""
    return f"{split}.parquet"


def shard_name(split: str, number: int, count: int, sha256: str) -> str:
    """The name of a shard by its place among the split's shards and the sha256 of its content."""
    return f"{split}-{number:05d}-of-{count:05d}-{sha256[:8]}.safetensors"


def json_checksum(content: Mapping[str, Any]) -> str:
    """Hex sha256 of an object's JSON with sorted keys and no white space, without its own ``checksum``."""
    rest = {name: value for name, value in content.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_manifest(path: Path) -> Manifest:
    """The checked manifest of a scenario's folder.

    Raises:
        DataError: if it is damaged or of a format that this version does not read.
    """
    again = "build or download the dataset again"
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait
            raise ValueError("it is no regular file")
        with path.open("rb") as file:
            text = file.read(MAX_MANIFEST_BYTES + 1)
        if len(text) > MAX_MANIFEST_BYTES:
            raise ValueError(f"it is larger than {MAX_MANIFEST_BYTES} bytes")
        content = json.loads(text)
        checksum = json_checksum(content) if isinstance(content, dict) else ""
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"manifest {path} cannot be read ({first_line(error)}); {again}") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if version not in READ_VERSIONS:
        readable = " and ".join(map(str, READ_VERSIONS))
        raise DataError(f"manifest {path} has format version {shown(version)}; this lamofcbench reads {readable}")
    if version > 1 and content.get("checksum") != checksum:
        raise DataError(f"manifest {path} is damaged: its checksum is not that of its content; {again}")
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        raise DataError(f"manifest {path} is damaged: {broken_field(error)}; {again}") from error
    manifest._sha256 = hashlib.sha256(text).hexdigest()
    return manifest


def check_manifest(manifest: Manifest, scenario: Scenario, where: str) -> None:
    """Raises DataError unless the manifest describes this scenario's features."""
    made = f"{manifest.scenario}@{manifest.scenario_version}"
    if made != scenario.ref:
        raise DataError(
            f"{where} holds {one_line(made)}, not {scenario.ref}; build the dataset again or point to another folder"
        )
    declared = Columns.of(scenario)
    if manifest.features.as_stored() != declared.features.as_stored() or manifest.columns.given != declared.given:
        raise DataError(
            f"{where} holds other tensors than {scenario.ref} declares, so the declaration was changed without a new "
            "version; build the dataset again"
        )


def index_schema(columns: Columns, reference: ReferenceType) -> pa.Schema:
    """The Arrow schema of a split's index.

    Raises:
        ScenarioError: if a tensor's name is that of another column.
    """
    for name in columns.names:
        if name in (*SAMPLE_COLUMNS, *columns.side) or columns.names.count(name) > 1:
            raise ScenarioError(f"a tensor cannot be named {name!r}, which is a column of the dataset's index")
    return pa.schema(
        [
            ("sample_id", pa.string()),
            ("content_sha256", pa.string()),
            ("reference", pa.type_for_alias(reference)),
            *((column, pa.int64()) for column in columns.side),
            *((name, TENSOR_STRUCT) for name in columns.names),
        ]
    )


def shape_fits(shape: Any, spec: TensorSpec | GivenSpec) -> bool:
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
