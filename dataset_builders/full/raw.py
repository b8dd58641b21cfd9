"""Raw data of the full edition: folders that the user names, or repositories of the Hub as they are found there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamofcbench.builders import Split
from lamofcbench.errors import DataError, first_line, one_line
from lamofcbench.pins import read_pins

TEST_NAMES, TRAINING_NAMES = ("test", "testing", "val", "validation"), ("train", "training")
"""How folders and files of raw data call what they are of."""
MAX_TABLE_BYTES = 2**33
_OPTIONS: Mapping[Split, str] = {"test": "--raw", "calibration": "--calibration"}
PUBLISHED = "Yoweey/FeatureCoding-RawDatasets"
"""The authors' raw samples, by names of folders; its content was not seen."""


@dataclass(frozen=True)
class Repository:
    """Where raw data are on the Hub.

    Attributes:
        name: of a dataset repository.
        patterns: of the files that are needed.
        below: the folder in it that holds nothing else: one commit's files share a folder, whatever they were
            downloaded for.
    """

    name: str
    patterns: tuple[str, ...]
    below: str = ""

    def folder(self) -> Path:
        """The files, downloaded once, at the commit that the user's pins name, else at the newest.

        Raises:
            DataError: if they cannot be had.
        """
        from huggingface_hub import snapshot_download

        commit = read_pins().get(self.name)
        try:
            folder = snapshot_download(
                self.name, repo_type="dataset", revision=commit, allow_patterns=list(self.patterns)
            )
        except Exception as error:  # no network, offline mode, no such repository, terms not agreed to
            raise DataError(
                f"cannot get {', '.join(self.patterns)} of the Hub dataset {self.name}: {first_line(error)}; where "
                "there is no network, download them elsewhere and name their folder with --raw or --calibration"
            ) from error
        return Path(folder) / self.below


def published(folder: str) -> Repository:
    """A folder of the authors' raw samples."""
    return Repository(PUBLISHED, (f"{folder}/*",), folder)


@dataclass(frozen=True)
class RawData:
    """What the user names of a scenario's raw data.

    Attributes:
        test: folder of the test samples; None for the repository of the task.
        calibration: folder of the calibration samples; None for ``test`` where that is named, else the task's
            repository.
        samples: JSON list of the test samples; None for the first of the task's order.
        definitions: of the language tasks, ``machine/clu/custom_tasks`` of a checkout of the published code.
    """

    test: Path | None = None
    calibration: Path | None = None
    samples: Path | None = None
    definitions: Path | None = None

    def folder(self, split: Split, repository: Repository | None, what: str) -> Path:
        """The folder of a split's raw samples.

        Args:
            split: whose.
            repository: where they are on the Hub; None where it has none in a layout that is known.
            what: they are, for the message.

        Raises:
            DataError: if the folder is not there, or nothing is known of one.
        """
        named = self.test if split == "test" or self.calibration is None else self.calibration
        if named is not None:
            if not named.is_dir():
                raise DataError(f"there is no folder {named} of raw data")
            return named
        if repository is None:
            raise DataError(f"the {split} samples are {what}; name their folder with {_OPTIONS[split]}")
        return repository.folder()

    def files(
        self, split: Split, folder: Path, ends: Sequence[str], what: str, names: Sequence[str] = ()
    ) -> list[Path]:
        """The files of a split, by name; see `files_of`.

        Args:
            split: whose.
            folder: of its raw samples, as `folder` gives it.
            ends: of the files' names, in lower case.
            what: they are, for messages.
            names: of the split; none for the usual ones.

        Raises:
            DataError: if there are none.
        """
        own = split == "test" or self.calibration is not None or self.test is None
        found = files_of(folder, names or (TEST_NAMES if split == "test" else TRAINING_NAMES), ends, own=own)
        if not found:
            raise DataError(
                f"{folder} holds no files of the {split} split, {what}; name their folder with {_OPTIONS[split]}"
            )
        return found


def files_of(root: Path, names: Sequence[str], ends: Sequence[str], *, own: bool = True) -> list[Path]:
    """The files of a split below a folder, by name.

    Those count whose folder or name says so (``val/...``, ``train-00000-of-00001.parquet``).

    Args:
        root: the folder.
        names: of the split, the likeliest first.
        ends: of the files' names, in lower case.
        own: whether the folder may hold nothing but this split, so that all count where no name says anything.

    Returns:
        None of them where there are none, or where names tell of other splits only.
    """
    files = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in ends and path.is_file()]
    for name in names:
        found = [path for path in files if _is_of(path.relative_to(root), name)]
        if found:
            return found
    others = {*TEST_NAMES, *TRAINING_NAMES, "dev"}
    said = any(_is_of(path.relative_to(root), name) for path in files for name in others)
    return files if own and not said else []


def _is_of(path: Path, name: str) -> bool:
    *folders, file = (part.lower() for part in path.parts)
    return name in folders or any(file.startswith(f"{name}{mark}") for mark in "-_.")


def rows(files: Iterable[Path], columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of Parquet files and of JSON lines, one file after the other.

    Args:
        files: ``.parquet``, ``.jsonl`` or ``.json``.
        columns: that are needed, of Parquet files; None for all.

    Raises:
        DataError: if a file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in files:
        try:
            if file.stat().st_size > MAX_TABLE_BYTES:
                raise ValueError(f"it is larger than {MAX_TABLE_BYTES} bytes")
            if file.suffix == ".parquet":
                with pq.ParquetFile(file) as table:
                    wanted = (
                        None
                        if columns is None
                        else [c for c in columns if c.partition(".")[0] in table.schema_arrow.names]
                    )
                    for batch in table.iter_batches(batch_size=64, columns=wanted):
                        yield from batch.to_pylist()
            else:
                with file.open(encoding="utf-8") as lines:
                    yield from (json.loads(line) for line in lines if line.strip())
        except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
            raise DataError(f"cannot read {one_line(str(file), 300)}: {first_line(error)}") from error
