"""The `datasets` builder behind ``load_dataset``: rows from the index, tensors as references into the shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from lamofcbench.errors import DataError
from lamofcbench.scenarios.base import SCENARIOS, Scenario
from lamofcbench.storage.columns import Columns
from lamofcbench.storage.feature import FORMAT, SafeTensor
from lamofcbench.storage.reader import SplitReader
from lamofcbench.storage.sources import Source, find_source, resolve_scenario

ROWS_PER_PIECE = 8
"""What one worker generates or streams at a time; `datasets` deals such pieces out to processes."""

_REFERENCE_VALUES = {"string": "string", "int64": "int64", "double": "float64", "binary": "binary"}


@dataclass
class FeaturesConfig(datasets.BuilderConfig):
    """What tells one prepared dataset from another; `datasets` makes its cache key of these fields.

    Attributes:
        source: absolute folder, or Hub repository at a commit, so that a relative path never meets another folder's
            cache.
        manifest_sha256: of the scenario's manifest, which names the hashes of everything else; without it a changed
            index would silently give the old rows.
    """

    source: str = ""
    manifest_sha256: str = ""


class LaMoFCBench(datasets.GeneratorBasedBuilder):
    """Builds the rows of one scenario."""

    BUILDER_CONFIG_CLASS = FeaturesConfig
    BUILDER_CONFIGS = [FeaturesConfig(name=s.id, version=f"{s.version}.0.0") for s in SCENARIOS]  # noqa: RUF012

    def __init__(
        self,
        *,
        config_name: str | Scenario | None = None,
        data_dir: str | Path | None = None,
        data_files: Any = None,
        repo: str | None = None,
        revision: str | None = None,
        **kwargs: Any,
    ) -> None:
        if config_name is None:  # datasets would make up a configuration called "default"
            raise DataError(f"which scenario? load_dataset('lamofcbench', ID); known: {', '.join(SCENARIOS.names())}")
        if data_files is not None:
            raise DataError("data_files is not supported; pass data_dir='FOLDER' or repo='org/name'")
        self.scenario = resolve_scenario(config_name)
        self.source: Source = find_source(self.scenario, data_dir=data_dir, repo=repo, revision=revision)
        self.manifest = self.source.manifest(self.scenario)
        # An instance attribute, so that datasets neither refuses a user's scenario nor mixes in the listed ones.
        self.BUILDER_CONFIGS = []
        super().__init__(
            config_name=self.scenario.id,
            version=datasets.Version(f"{self.scenario.version}.0.0"),
            source=self.source.uri,
            manifest_sha256=self.manifest.sha256,
            **kwargs,
        )

    def _info(self) -> datasets.DatasetInfo:
        columns = Columns.of(self.scenario)
        features = {"sample_id": datasets.Value("string"), "content_sha256": datasets.Value("string")}
        features["reference"] = datasets.Value(_REFERENCE_VALUES[self.manifest.reference])
        features.update((name, datasets.Value("int64")) for name in columns.side)
        features.update((name, SafeTensor()) for name in columns.tensors)
        return datasets.DatasetInfo(
            description=self.scenario.title, license=self.scenario.licence, features=datasets.Features(features)
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        generators = []
        for split in self.manifest.splits:
            reader = SplitReader(self.scenario, split, self.source, self.manifest)
            reader.check()  # here an error reaches the user as it is; from the generator datasets would wrap it
            pieces = [
                (start, min(start + ROWS_PER_PIECE, len(reader))) for start in range(0, len(reader), ROWS_PER_PIECE)
            ]
            generators.append(datasets.SplitGenerator(name=split, gen_kwargs={"reader": reader, "pieces": pieces}))
        return generators

    def _generate_examples(self, reader: SplitReader, pieces: list[tuple[int, int]]) -> Iterator[tuple[int, dict]]:
        for start, stop in pieces:
            for index in range(start, stop):
                yield index, reader.row(index)

    def as_dataset(self, *args: Any, **kwargs: Any) -> Any:
        """The prepared dataset or datasets, in the format that keeps tensors as they are stored."""
        return super().as_dataset(*args, **kwargs).with_format(FORMAT)

    def as_streaming_dataset(self, *args: Any, **kwargs: Any) -> Any:
        """The dataset or datasets as a stream, in the same format."""
        return super().as_streaming_dataset(*args, **kwargs).with_format(FORMAT)
