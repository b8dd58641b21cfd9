"""Published features as a dataset: one shard a sample, made by any number of processes, and one index.

Samples are dealt out by their places among the files, each becomes a shard and a record beside it, and the same files
give the same dataset whatever the number of processes. Everything is made in a hidden folder, whose finished samples an
import that is started again takes over; the dataset's own folder is put in place by renaming when all are there.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dataset_builders.full.published.archive import TorchArchive
from dataset_builders.full.published.coded import coding_facts
from dataset_builders.full.published.decompression import decompress
from dataset_builders.full.published.growing import GrowingBytes
from dataset_builders.full.published.naming import read_tree
from dataset_builders.full.published.references import References, file_state, sample_id
from dataset_builders.full.published.sample_shard import write_shard
from dataset_builders.full.published.sources import most_bytes, published_files
from dataset_builders.full.work_folder import Record, Slot, WorkFolder
from lamofcbench.atomic import write_errors, write_text
from lamofcbench.builders import Split
from lamofcbench.errors import DataError, LaMoFCBenchError, first_line
from lamofcbench.references import check_sample
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.building import building
from lamofcbench.storage.integrity import file_sha256

VERSION = 1
"""Raised when the same files are to give another dataset."""

OnError = Literal["stop", "skip"]


@dataclass(frozen=True)
class Task(Slot):
    """One file to import.

    Attributes:
        path: the file.
    """

    path: Path


@dataclass(frozen=True)
class Imported:
    """What an import came to.

    Attributes:
        folder: the dataset's.
        samples: how many it holds, by split.
        skipped: a line for each file that was left out.
        taken_over: samples that an earlier import had finished.
        widened: 16-bit types in the files that are stored as float32, which is exact.
        coded: the file with the figures of features after coding; None for features before.
    """

    folder: Path
    samples: Mapping[str, int]
    skipped: tuple[str, ...]
    taken_over: int
    widened: str
    coded: Path | None


def import_published(
    scenario: Scenario,
    source: Path,
    output: Path,
    *,
    calibration: Path | None = None,
    raw: Path | None = None,
    references: Path | None = None,
    on_error: OnError = "stop",
    processes: int = 1,
    tell: Callable[[str], None] = lambda line: None,
) -> Imported:
    """Writes published features as ``output/<scenario id>/``.

    Args:
        scenario: a full one.
        source: the folder of ``.zst`` files, or one above it.
        output: the dataset folder; other scenarios in it stay.
        calibration: the same for the calibration split; None for a dataset without one.
        raw: the raw data, for references, and images that the tail is given.
        references: JSON object of sample ids and references, instead of the raw data's.
        on_error: whether a file that cannot be imported ends all or is left out.
        processes: how many work at the same time.
        tell: takes the line of each file that is left out.

    Raises:
        DataError: if files or references cannot be found, or one cannot be imported and ``on_error`` is ``stop``; the
            message begins with the file.
    """
    folders: dict[Split, Path] = {"test": source}
    if calibration is not None:
        folders["calibration"] = calibration
    tasks = [
        Task(split, number, path)
        for split, folder in folders.items()
        for number, path in enumerate(published_files(scenario, folder))
    ]
    found = References(scenario, raw, references)
    work = WorkFolder(output / f".{scenario.id}.importing")
    with building(output, scenario.id), write_errors(output / scenario.id, work.path):
        work.prepare(_stamp(scenario, raw, references))
        worker = _Worker(scenario, found, work)
        done = {task: record for task in tasks if (record := worker.finished(task)) is not None}
        taken_over, skipped = len(done), []
        left = [task for task in tasks if task not in done]
        for task, outcome in _outcomes(worker, left, processes):
            if isinstance(outcome, str):
                line = f"{task.path}: {outcome}"
                if on_error == "stop":
                    raise DataError(line)
                skipped.append(line)
                tell(line)
            else:
                done[task] = outcome
        rows = [(task, done[task]) for task in tasks if task in done]
        coded = _publish(scenario, output, work, rows)
    counts: dict[str, int] = {split: sum(task.split == split for task, _ in rows) for split in folders}
    widened = ", ".join(sorted({row["widened"] for _, row in rows} - {""}))
    return Imported(output / scenario.id, counts, tuple(skipped), taken_over, widened, coded)


class _Worker:
    """Imports files one after the other in one process, with one buffer."""

    def __init__(self, scenario: Scenario, references: References, work: WorkFolder) -> None:
        self.scenario, self.references, self.work = scenario, references, work
        self._content: GrowingBytes | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_content": None}

    def id_of(self, task: Task) -> str:
        """The sample's id.

        Raises:
            DataError: if its file is not named as published.
        """
        return sample_id(self.scenario, task.path.name.removesuffix(".zst"))

    def state(self, task: Task) -> list[Any]:
        """What a sample is made from: its file, and what its reference is made of.

        Raises:
            DataError: if a file is not there, or not named as published.
        """
        return [*file_state(task.path), self.references.state_of(self.id_of(task))]

    def finished(self, task: Task) -> Record | None:
        """The record of a sample of which nothing has changed since it was imported."""
        try:
            return self.work.finished(task, self.state(task))
        except DataError:
            return None

    def run(self, task: Task) -> dict[str, Any] | str:
        """The record of the sample, or what is wrong with its file."""
        try:
            return self._import(task)
        except LaMoFCBenchError as error:
            if isinstance(error, OSError):  # nothing else can be written either
                raise
            return str(error)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # hostile files find ways that nobody thought of
            return f"cannot be imported: {type(error).__name__}: {first_line(error)}"

    def _import(self, task: Task) -> dict[str, Any]:
        id, state = self.id_of(task), self.state(task)
        if self._content is None:
            self._content = GrowingBytes(most_bytes(self.scenario))
        content = self._content
        content.restart()
        filling = threading.Thread(target=decompress, args=(task.path, content), daemon=True)
        filling.start()
        try:
            archive = TorchArchive(content)
            sample = read_tree(archive.tree(), self.scenario)
            answer = self.references.of(id)
            id, reference = check_sample(self.scenario.prediction_kind, id, answer.reference, task.path.name)
            written = write_shard(self.work.shard(task), self.scenario, sample.tensors, archive, answer.given)
        finally:
            content.unwanted.set()
            filling.join()
        record = {
            "state": state,
            "sample_id": id,
            "side": dict(answer.side),
            "size_bytes": written.size_bytes,
            "sha256": written.sha256,
            "tensors": written.tensors,
            "widened": written.widened,
            "coded": None if sample.metadata is None else coding_facts(sample.metadata),
        }
        return self.work.keep(task, record, reference)


_worker: _Worker | None = None


def _outcomes(worker: _Worker, tasks: list[Task], processes: int) -> Iterator[tuple[Task, dict[str, Any] | str]]:
    """Records and complaints, in the tasks' order with one process, else as they come."""
    if processes <= 1 or len(tasks) <= 1:
        yield from ((task, worker.run(task)) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # threads of this process must not be copied
    with ProcessPoolExecutor(min(processes, len(tasks)), context, initializer=_start, initargs=(worker,)) as pool:
        futures = {pool.submit(_run, task): task for task in tasks}
        try:
            yield from ((futures[future], future.result()) for future in as_completed(futures))
        except BrokenProcessPool as error:
            raise DataError(
                "a process was killed, perhaps for lack of memory; the same command goes on with what is left"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start(worker: _Worker) -> None:
    global _worker
    _worker = worker


def _run(task: Task) -> dict[str, Any] | str:
    assert _worker is not None
    return _worker.run(task)


# ----------------------------------------------------------------------------------------------------- taking over


def _stamp(scenario: Scenario, raw: Path | None, references: Path | None) -> dict[str, Any]:
    """What must be the same for an earlier import's samples to be taken over."""
    known = None if references is None else file_sha256(references)
    place = None if raw is None else str(raw.resolve())
    return {"version": VERSION, "scenario": scenario.digest, "raw": place, "references": known}


# ----------------------------------------------------------------------------------------------------- publishing


def _publish(scenario: Scenario, output: Path, work: WorkFolder, rows: list[tuple[Task, Record]]) -> Path | None:
    """Puts the dataset in place, and the figures of features after coding beside it."""
    if not any(task.split == "test" for task, _ in rows):
        raise DataError(f"{scenario.id}: no file could be imported, so there is no dataset to write")
    _check_one_kind(scenario, rows)
    coded = _write_coded(scenario, output, rows)
    work.publish(scenario, output, rows, revision=_revision(work, rows), builder=f"published-features@{VERSION}")
    return coded


def _revision(work: WorkFolder, rows: list[tuple[Task, Record]]) -> str:
    """The hex sha256 of all features and references."""
    digest = hashlib.sha256(f"published {VERSION}".encode())
    for task, row in rows:
        reference = hashlib.sha256(repr(work.reference(row)).encode()).hexdigest()
        digest.update(f"{task.split} {row['sample_id']} {row['sha256']} {reference}\n".encode())
    return digest.hexdigest()


def _check_one_kind(scenario: Scenario, rows: list[tuple[Task, dict[str, Any]]]) -> None:
    """Refuses ids that repeat, features in both splits, and those before and after coding in one dataset."""
    owners: dict[tuple[str, str], Task] = {}
    features: dict[str, Task] = {}
    for task, row in rows:
        other = features.setdefault(row["sha256"], task)
        if other.split != task.split:
            raise DataError(
                f"{task.path} and {other.path} hold the same features, in {task.split} and {other.split}; splits must "
                "be disjoint"
            )
        first = owners.setdefault((task.split, row["sample_id"]), task)
        if first is not task:
            raise DataError(f"{task.path} and {first.path} are both sample {row['sample_id']!r} of {scenario.id}")
    kinds = {row["coded"] is None: task for task, row in rows if task.split == "test"}
    if len(kinds) > 1:
        raise DataError(
            f"{kinds[True].path} holds features before coding, {kinds[False].path} after; import them apart"
        )


def _write_coded(scenario: Scenario, output: Path, rows: list[tuple[Task, dict[str, Any]]]) -> Path | None:
    """The figures of features after coding, a line a sample, beside the dataset."""
    lines = [json.dumps({"sample_id": row["sample_id"], **row["coded"]}) for _, row in rows if row["coded"] is not None]
    if not lines:
        return None
    path = output / f"{scenario.id}.coded.jsonl"
    write_text(path, "\n".join(lines) + "\n")
    return path
