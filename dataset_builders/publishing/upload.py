"""Uploads a dataset folder to a dataset repository: shards first, then, in one commit, what makes them findable.

Whoever reads the repository at any commit finds whole scenarios only. What the repository holds by hash is not sent
again, so an upload that was cut off goes on; each commit names the one that it stands upon, so that a second publisher
is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_builders.publishing.card import card, figures_of
from dataset_builders.publishing.eval_yaml import eval_yaml
from lamofcbench.audit import Audit
from lamofcbench.errors import DataError, first_line
from lamofcbench.hub import HubError, MovedError, check_repository, hub_errors, signed_in
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.statistics import tensor_statistics
from lamofcbench.storage import open_split
from lamofcbench.storage.layout import (
    CARD_FILE,
    EVAL_FILE,
    FACTS_FILE,
    MANIFEST_FILE,
    FileRecord,
    Manifest,
    read_manifest,
)
from lamofcbench.storage.verification import verify_dataset

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

COMMIT_FILES, COMMIT_BYTES = 50, 5 * 10**9
"""At most so much goes into one commit: what is committed is not looked at again."""
STATISTICS_SAMPLES = 16
"""Calibration samples whose values the card describes."""
DATASET = "dataset"


@dataclass(frozen=True)
class Published:
    """What an upload came to.

    Attributes:
        url: of the repository at the commit.
        commit: 40 hex digits.
        sent_files: shards that were sent.
        present_files: those that the repository held already, by hash.
    """

    url: str
    commit: str
    sent_files: int
    present_files: int


def publish(
    folder: Path, repo: str, *, private: bool = False, tell: Callable[[str], Any] = lambda line: None
) -> Published:
    """Verifies a dataset folder and uploads what the repository lacks of it.

    Args:
        folder: of ``lamofcbench build`` or ``import``.
        repo: ``org/name``; made where it is not there.
        private: whether a repository that is made is private.
        tell: takes a line for each step.

    Raises:
        DataError: if the folder holds no dataset, or something in it is damaged.
        HubError: if the repository's name is none, the Hub refuses or the connection breaks; the same call goes on
            where it stopped.
        MovedError: if somebody else commits to the repository meanwhile.
    """
    check_repository(repo)
    manifests = _verified(folder, tell)
    api = signed_in()
    with hub_errors(f"cannot make or see the dataset repository {repo}"):
        api.create_repo(repo, repo_type=DATASET, private=private, exist_ok=True)
    return _Upload(api, folder, repo, manifests, tell).run()


def _verified(folder: Path, tell: Callable[[str], Any]) -> dict[str, Manifest]:
    paths = sorted(folder.glob(f"[!.]*/{MANIFEST_FILE}"))
    if not paths:
        raise DataError(f"{folder} holds no dataset (no */{MANIFEST_FILE}); `lamofcbench build` makes one")
    audit = Audit()
    verify_dataset(folder, audit)
    if audit.damage:
        raise DataError(f"{audit.damage[0]}; nothing was sent, and `lamofcbench verify {folder}` lists all damage")
    tell(f"verified {audit.files} files, {audit.bytes_read / 1e6:.0f} MB")
    return {path.parent.name: read_manifest(path) for path in paths}


class _Upload:
    """One upload, from the commit that the repository is at now."""

    def __init__(
        self, api: HfApi, folder: Path, repo: str, manifests: Mapping[str, Manifest], tell: Callable[[str], Any]
    ) -> None:
        from huggingface_hub.hf_api import RepoFile

        self.api, self.folder, self.repo, self.manifests, self.tell = api, folder, repo, manifests, tell
        with hub_errors(f"cannot read the dataset repository {repo}"):
            self.head: str = api.repo_info(repo, repo_type=DATASET).sha or ""
            entries = api.list_repo_tree(repo, repo_type=DATASET, recursive=True, revision=self.head)
            files = [entry for entry in entries if isinstance(entry, RepoFile)]
        self.present = {file.path: file.lfs.sha256 if file.lfs is not None else "" for file in files}

    def run(self) -> Published:
        """Sends shards, then all else."""
        missing = list(self._missing())
        batches = list(_batches(missing))
        for number, batch in enumerate(batches, start=1):
            size = sum(record.size_bytes for _, record in batch)
            self.tell(f"sending {len(batch)} files, {size / 1e6:.0f} MB ({number} of {len(batches)})")
            self._commit(
                [self._add_verified(path, record) for path, record in batch], f"Shards ({number} of {len(batches)})"
            )
        self._commit(self._last(), f"Publish {', '.join(sorted(self.manifests))}")
        files = sum(1 for _ in self._shards())
        url = f"{self.api.endpoint}/datasets/{self.repo}/tree/{self.head}"
        return Published(url, self.head, len(missing), files - len(missing))

    def _shards(self) -> Iterator[tuple[str, FileRecord]]:
        """Every shard, by its path."""
        splits = [
            (name, split) for name, manifest in sorted(self.manifests.items()) for split in manifest.splits.values()
        ]
        for name, split in splits:
            yield from ((f"{name}/{shard.name}", shard) for shard in split.shards)

    def _missing(self) -> Iterator[tuple[str, FileRecord]]:
        yield from ((path, record) for path, record in self._shards() if self.present.get(path) != record.sha256)

    def _last(self) -> list[CommitOperationAdd | CommitOperationDelete]:
        """Indices, manifests, card, benchmark file and facts; and away with shards that no manifest names any more."""
        from huggingface_hub import CommitOperationDelete

        others = self._others()
        figures = {**self._facts(), **{name: self._figures(name) for name in self.manifests}}
        together = {**others, **self.manifests}
        contents = {
            CARD_FILE: card(self.repo, together, figures),
            EVAL_FILE: eval_yaml(together.values()),
            FACTS_FILE: json.dumps({name: figures.get(name) for name in sorted(together)}, indent=1) + "\n",
        }
        named = {path for path, _ in self._shards()}
        operations: list[CommitOperationAdd | CommitOperationDelete] = []
        for name, manifest in sorted(self.manifests.items()):
            indices = {f"{name}/{split.index.name}": split.index for split in manifest.splits.values()}
            own = [*indices, f"{name}/{MANIFEST_FILE}"]
            operations += [self._add_verified(path, record) for path, record in indices.items()]
            operations += [self._add(own[-1], self.folder / own[-1])]
            former = [path for path in self.present if path.startswith(f"{name}/") and path not in {*named, *own}]
            operations += map(CommitOperationDelete, former)
        return operations + [self._add(path, text.encode()) for path, text in contents.items()]

    def _others(self) -> dict[str, Manifest]:
        """Manifests of scenarios that the repository holds beside those of the folder."""
        paths = [path for path in self.present if path.endswith(f"/{MANIFEST_FILE}")]
        names = [path.partition("/")[0] for path in paths if path.count("/") == 1]
        return {
            name: read_manifest(self._fetched(f"{name}/{MANIFEST_FILE}"))
            for name in names
            if name not in self.manifests
        }

    def _facts(self) -> dict[str, Any]:
        """What the repository's card says of the tensors of those."""
        if FACTS_FILE not in self.present:
            return {}
        try:
            found = json.loads(self._fetched(FACTS_FILE).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise HubError(f"{FACTS_FILE} of {self.repo} is no JSON ({first_line(error)}); remove it there") from error
        if not isinstance(found, dict):
            return {}
        return {name: figures for name, figures in found.items() if _are_figures(figures)}

    def _fetched(self, path: str) -> Path:
        from huggingface_hub import hf_hub_download

        with hub_errors(f"cannot get {path} of {self.repo}"):
            return Path(hf_hub_download(self.repo, path, repo_type=DATASET, revision=self.head))

    def _figures(self, name: str) -> dict[str, Any] | None:
        """Of the tensors of a scenario that is declared here."""
        if name not in SCENARIOS.names():
            return None
        split = "calibration" if "calibration" in self.manifests[name].splits else "test"
        reader = open_split(name, split, self.folder)
        count = min(len(reader), STATISTICS_SAMPLES)
        samples = (reader.features(index) for index in range(count))
        return figures_of(tensor_statistics(samples, SCENARIOS.get(name).specs, count))

    def _add_verified(self, path: str, record: FileRecord) -> CommitOperationAdd:
        """A file to send, if it still is what was verified: the client hashes it anyway."""
        operation = self._add(path, self.folder / path)
        if operation.upload_info.sha256.hex() != record.sha256:
            raise DataError(f"{self.folder / path} has changed since it was verified; build the dataset again")
        return operation

    def _add(self, path: str, content: Path | bytes) -> CommitOperationAdd:
        from huggingface_hub import CommitOperationAdd

        return CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))

    def _commit(self, operations: Sequence[CommitOperationAdd | CommitOperationDelete], message: str) -> None:
        """Commits upon the head, if it still is the newest commit; it has no need to where all is there already."""
        again = "the same command goes on, and sends nothing again that is there"
        try:
            with hub_errors(f"the upload to {self.repo} stopped; {again}"):
                done = self.api.create_commit(
                    self.repo, operations, commit_message=message, repo_type=DATASET, parent_commit=self.head
                )
            if done.oid != self.head and not _was_sent(operations):
                raise MovedError(f"{self.repo} is at {done.oid[:8]}")
        except MovedError as error:
            raise MovedError(
                f"somebody else has committed to {self.repo} since {self.head[:8]}; see what it was, then run the same "
                "command, which sends nothing again that is there"
            ) from error
        self.head = done.oid


def _was_sent(operations: Sequence[CommitOperationAdd | CommitOperationDelete]) -> bool:
    """Whether the client made a commit of them, whose parent the Hub has checked then.

    Where every addition is there already the client asks for no commit, and gives the newest one that there is. What it
    gives looks alike in both cases; only the additions know.
    """
    from huggingface_hub import CommitOperationAdd

    return any(one._is_committed for one in operations if isinstance(one, CommitOperationAdd))


def _are_figures(found: object) -> bool:
    """Whether somebody's facts of a scenario are what the card shows: numbers of tensors by name."""
    return isinstance(found, dict) and all(
        isinstance(tensor, dict) and all(isinstance(figure, int | float | None) for figure in tensor.values())
        for tensor in found.values()
    )


def _batches(files: Sequence[tuple[str, FileRecord]]) -> Iterator[list[tuple[str, FileRecord]]]:
    batch: list[tuple[str, FileRecord]] = []
    size = 0
    for path, record in files:
        if batch and (len(batch) == COMMIT_FILES or size + record.size_bytes > COMMIT_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((path, record))
        size += record.size_bytes
    if batch:
        yield batch
