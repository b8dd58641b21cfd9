"""Reads every byte of a results folder and says what is damaged. No code that came with a result is run.

Ordinary reading believes a result's files as far as they agree with each other. Here every file is hashed and held
against the hashes that ``run.json`` recorded, every bitstream against its own checksum, the figures of ``result.json``
against the table of samples, and the saved codec against its fingerprint.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.torch import load_file as load_tensors

from harness.results import hashes, store
from harness.results.result import TIMING_COLUMNS, Result
from harness.results.scoring import make_metric, mse_of, rate_of, read_figures, score_table, tensors_of
from harness.results.store import (
    BITSTREAM_DIRECTORY,
    CODEC_DIRECTORY,
    FIT_FILE,
    JOURNAL_DIRECTORY,
    RESULT_FILE,
    RUN_FILE,
    SAMPLES_FILE,
    TIMINGS_FILE,
    ResultFolder,
    codec_directory,
)
from harness.results.tables import allowed_bytes, read_table
from lamofcbench.audit import Audit
from lamofcbench.bitstream import BitstreamReader
from lamofcbench.codecs.saved_source import SOURCE_FOLDER, read_source
from lamofcbench.codecs.saving import CONFIG_FILE, STATE_FILE, fingerprint_of
from lamofcbench.errors import BitstreamError, CodecError, first_line, shown
from lamofcbench.registry import is_file_reference
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage.batches import PARQUET_ERRORS, bounded_batches

MAX_BITSTREAM_BYTES = 2**31
MOST_MISSING = 10
"""Bitstreams that are named one by one."""
_NAMES = {RESULT_FILE, SAMPLES_FILE, TIMINGS_FILE, RUN_FILE, store.CONFIG_FILE}
_TOLERANCE = 1e-9
_BITSTREAM = re.compile(r"(0|[1-9]\d{0,11})\.bin")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def is_results(folder: Path) -> bool:
    """True for a results folder, or for the folder of one result in it."""
    return _is_result(folder) or any(map(_is_result, folder.glob("*@*/*/*")))


def verify_results(folder: Path, audit: Audit) -> None:
    """Checks all results of a folder, finished or not.

    Args:
        folder: the results folder, or that of one result.
        audit: takes what is found.
    """
    folders = [folder] if _is_result(folder) else sorted(filter(_is_result, folder.glob("*@*/*/*")))
    for path in folders:
        _ResultCheck(path.absolute(), audit).verify()


def _is_result(folder: Path) -> bool:
    known = (RESULT_FILE, SAMPLES_FILE, CODEC_DIRECTORY, JOURNAL_DIRECTORY)
    return folder.is_dir() and any((folder / name).exists() for name in known)


class _ResultCheck:
    """The checks of one result."""

    def __init__(self, path: Path, audit: Audit) -> None:
        self.path, self.audit = path, audit
        self.folder = ResultFolder(path)
        self.result: Result | None = None
        self.hashes: Mapping[str, str] | None = None
        self.fingerprint: bytes | None = None
        self.coded_bytes: dict[int, int] = {}

    def verify(self) -> None:
        """Checks all files."""
        self._read_run()
        self._read_files()
        with self.audit.checking(self.path / RESULT_FILE):
            self.result = self.folder.read_result()
            self._check_place()
        self._check_codec()
        self._check_samples()
        self._check_timings()
        self._check_journal()
        self._check_bitstreams()

    # ---------------------------------------------------------------------------------------------- files and hashes

    def _read_run(self) -> None:
        path = self.path / RUN_FILE
        if not path.exists():
            if (self.path / RESULT_FILE).exists():
                self.audit.damaged(path, "is missing")
            return
        run = self.audit.json(path)
        try:
            self.hashes = hashes.recorded(run)
        except (ValueError, RecursionError) as error:
            self.audit.damaged(path, first_line(error))
        else:
            if run is not None and self.hashes is None:
                self.audit.note(path, "holds no hashes, because an older version wrote it; figures are compared alone")

    def _read_files(self) -> None:
        """Reads every file but the bitstreams and compares it with its recorded hash."""
        seen = set()
        for path in self._files():
            name = path.relative_to(self.path).as_posix()
            if name == RUN_FILE or name.startswith(f"{BITSTREAM_DIRECTORY}/"):
                continue
            seen.add(name)
            found = self.audit.sha256(path)
            if found is None:
                continue
            if self.hashes is not None and self.hashes.get(name, found) != found:
                self.audit.damaged(path, f"is not what {RUN_FILE} recorded: its sha256 differs")
            elif not name.startswith((f"{CODEC_DIRECTORY}/", f"{JOURNAL_DIRECTORY}/")) and name not in _NAMES:
                self.audit.note(path, "is no part of a result")
        for name in sorted(set(self.hashes or ()) - seen):
            self.audit.damaged(self.path / name, f"is missing, though {RUN_FILE} recorded it")

    def _files(self) -> Iterator[Path]:
        for directory, folders, files in os.walk(self.path):
            folders.sort()
            for name in folders:
                if Path(directory, name).is_symlink():
                    self.audit.note(Path(directory, name), "is a link to a folder and not followed")
            yield from (Path(directory, name) for name in sorted(files))

    # ---------------------------------------------------------------------------------------------------- the report

    def _check_place(self) -> None:
        result, path = self.result, self.path / RESULT_FILE
        if result is None:
            self.audit.note(self.path, "is unfinished")
            return
        place = codec_directory(self.path.parents[2], result.ref, result.codec.name) / result.config_hash
        if place != self.path:
            self.audit.damaged(path, f"belongs to {shown(store.ResultFolder(place).place, 200)}, not to its folder")
        self.fingerprint = bytes.fromhex(result.codec.fingerprint)

    def _check_samples(self) -> None:
        path = self.path / SAMPLES_FILE
        if self.result is None or not self._check_table(path, self.result.samples):
            return
        with self.audit.checking(path):
            table = read_figures(path)
            try:
                if table["index"].to_pylist() != list(range(self.result.samples)):
                    self.audit.damaged(path, "does not hold the samples in their order")
                self.coded_bytes = dict(enumerate(table["coded_bytes"].to_pylist()))
                figures = self._figures(table)
            except (LookupError, TypeError, ValueError, ArithmeticError, pa.ArrowException) as error:
                self.audit.damaged(path, f"does not hold what a result's table does: {first_line(error)}")
                return
            for name, (stated, found) in figures.items():
                if not agree(stated, found):
                    self.audit.damaged(
                        self.path / RESULT_FILE, f"says {name} {shown(stated)}; {SAMPLES_FILE} gives {shown(found)}"
                    )

    def _figures(self, table: pa.Table) -> dict[str, tuple[Any, Any]]:
        """What the report states beside what the samples give, by name."""
        assert self.result is not None
        result = self.result
        figures = {
            "rate": (result.rate.model_dump(), rate_of(table).model_dump()),
            "mse": (result.mse, mse_of(table)),
            "tensors": (
                {name: tensor.model_dump() for name, tensor in result.tensors.items()},
                {name: tensor.model_dump() for name, tensor in tensors_of(table).items()},
            ),
        }
        if result.scenario in SCENARIOS.names():
            scenario = SCENARIOS.get(result.scenario)
            own_code = is_file_reference(scenario.metric) or scenario.metric.startswith(":")
            if scenario.digest == result.scenario_digest and not own_code:
                figures["score"] = (result.score, score_table(make_metric(scenario), table))
        return figures

    def _check_timings(self) -> None:
        path = self.path / TIMINGS_FILE
        if self.result is None or not path.exists() or not self._check_table(path, self.result.samples):
            return
        with self.audit.checking(path):
            table = read_table(path)
            if set(table.column_names) != set(TIMING_COLUMNS):
                self.audit.damaged(path, "holds other columns than timings do")
            elif table["index"].to_pylist() != list(range(self.result.samples)):
                self.audit.damaged(path, "does not hold the samples in their order")

    def _check_table(self, path: Path, rows: int) -> bool:
        """Reads a whole table, a few rows in memory at a time, with the checksums of its pages."""
        if not self.audit.is_regular(path):
            return False
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                if file.metadata.num_rows != rows:
                    raise ValueError(f"it holds {file.metadata.num_rows} samples, {RESULT_FILE} says {rows}")
                for batch in bounded_batches(file, allowed_bytes(path)):
                    batch.validate(full=True)
        except PARQUET_ERRORS as error:
            self.audit.damaged(path, f"cannot be read: {first_line(error)}")
            return False
        return True

    # ----------------------------------------------------------------------------------------------------- the codec

    def _check_codec(self) -> None:
        folder = self.path / CODEC_DIRECTORY
        path = folder / CONFIG_FILE
        if not path.exists():
            if self.result is not None:
                self.audit.damaged(path, "is missing")
            return
        try:
            config = json.loads(path.read_bytes())
            stated = str(config.pop("fingerprint"))
            if "codec_source_sha256" in config:
                self.audit.note(path, "is of an older version, which held its source otherwise; it is not checked")
                return
            source = config["codec_source"]
            del config["codec_class"]  # where the class stands in its source, which the fingerprint covers
            name, params = config["codec"], config["codec_params"]
            found = fingerprint_of(config, load_tensors(folder / STATE_FILE)).hex()
        except (OSError, SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            self.audit.damaged(folder, f"is no saved codec: {type(error).__name__}: {first_line(error)}")
            return
        if stated != found or not _FINGERPRINT.fullmatch(stated):
            self.audit.damaged(path, f"and {STATE_FILE} do not add up to the fingerprint that it states")
        else:
            self.fingerprint = self.fingerprint or bytes.fromhex(stated)
        self._check_fit(folder / FIT_FILE)
        if source is not None:
            try:
                read_source(folder, source)
            except CodecError as error:
                self.audit.damaged(folder / SOURCE_FOLDER, f"is not the source that {CONFIG_FILE} names: {error}")
        if self.result is not None:
            codec = self.result.codec
            if (codec.name, codec.params, codec.fingerprint) != (name, params, stated):
                self.audit.damaged(self.path / RESULT_FILE, f"is of another codec than {CODEC_DIRECTORY}/ holds")

    def _check_fit(self, path: Path) -> None:
        if path.exists():
            try:
                json.loads(path.read_bytes())
            except (OSError, ValueError, RecursionError) as error:
                self.audit.damaged(path, f"is no JSON: {first_line(error)}")

    # ------------------------------------------------------------------------------------- the journal and the bytes

    def _check_journal(self) -> None:
        for path in self.folder.journal.files():
            with self.audit.checking(path), path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    try:
                        entry = self.folder.journal.parse(line)
                        if entry is not None:
                            sizes = {row["index"]: row["coded_bytes"] for row in entry["rows"]}
                    except (ValueError, LookupError, TypeError, RecursionError):
                        entry = None
                    if entry is not None:
                        self.coded_bytes = {**sizes, **self.coded_bytes}
                    elif line.endswith(b"\n"):
                        self.audit.damaged(path, f"line {number} does not match its checksum; it is computed again")
                    else:
                        self.audit.note(path, f"line {number} was torn when the run ended; it is computed again")

    def _check_bitstreams(self) -> None:
        folder = self.path / BITSTREAM_DIRECTORY
        if not folder.is_dir():
            return
        for path in sorted(folder.iterdir()):
            match = _BITSTREAM.fullmatch(path.name)
            if match is None:
                self.audit.note(path, "is no bitstream")
            elif self.audit.is_regular(path):
                self._check_bitstream(path, self.coded_bytes.get(int(match[1])))
        if self.result is not None:
            self._check_missing(self.result.samples)

    def _check_missing(self, samples: int) -> None:
        """Tells of the first bitstreams that are missing, and how many are."""
        missing = [index for index in range(samples) if not self.folder.bitstream(index).exists()]
        for index in missing[:MOST_MISSING]:
            self.audit.damaged(self.folder.bitstream(index), "is missing")
        if len(missing) > MOST_MISSING:
            folder = self.path / BITSTREAM_DIRECTORY
            self.audit.damaged(folder, f"lacks {len(missing)} of {samples} bitstreams; the others are not listed")

    def _check_bitstream(self, path: Path, coded_bytes: int | None) -> None:
        size = path.stat().st_size
        if coded_bytes is None:
            self.audit.note(path, "is of a sample that no table names")
        elif size != coded_bytes:
            self.audit.damaged(path, f"has {size} bytes, recorded as {coded_bytes}")
        if size > MAX_BITSTREAM_BYTES:
            self.audit.damaged(path, f"is larger than {MAX_BITSTREAM_BYTES} bytes and not read")
            return
        with self.audit.checking(path):
            data = path.read_bytes()
            self.audit.count(len(data))
            if self.fingerprint is not None:
                try:
                    BitstreamReader(data, self.fingerprint)
                except BitstreamError as error:
                    self.audit.damaged(path, str(error))


def agree(stated: Any, found: Any) -> bool:
    """True for equal figures, numbers but for rounding."""
    if isinstance(stated, Mapping) and isinstance(found, Mapping):
        return stated.keys() == found.keys() and all(agree(stated[name], found[name]) for name in stated)
    if isinstance(stated, float) and isinstance(found, float):
        return math.isclose(stated, found, rel_tol=_TOLERANCE, abs_tol=1e-300)
    return stated == found
