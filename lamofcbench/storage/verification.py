"""Reads every byte of a dataset folder and says what is damaged.

Ordinary reading takes a file that was verified once for sound as long as its size and times stay, checks the rows that
it reads, and never looks at what nobody asks for. Here nothing is remembered: every file that a manifest names is read
to its end, every row and every tensor is held against the declared shapes, and what no manifest names is listed.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from huggingface_hub import DatasetCard

from lamofcbench.audit import Audit
from lamofcbench.errors import DataError, ScenarioError, first_line, shown
from lamofcbench.locks import LOCKS_DIRECTORY
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage.index import SplitIndex
from lamofcbench.storage.integrity import verify_afresh
from lamofcbench.storage.layout import (
    CARD_FILE,
    EVAL_FILE,
    FACTS_FILE,
    MANIFEST_FILE,
    FileRecord,
    Manifest,
    SplitRecord,
    card_configs,
    check_manifest,
    read_manifest,
)
from lamofcbench.storage.shards import Shard

_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_dataset(folder: Path) -> bool:
    """True for a dataset folder, or for one scenario's folder in it."""
    return (folder / MANIFEST_FILE).is_file() or any(folder.glob(f"[!.]*/{MANIFEST_FILE}"))


def verify_dataset(folder: Path, audit: Audit) -> None:
    """Checks a dataset folder, or one scenario's folder in it.

    Args:
        folder: the folder.
        audit: takes what is found.
    """
    if (folder / MANIFEST_FILE).is_file():
        _verify_scenario(folder, audit)
        return
    manifests: dict[str, Manifest | None] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            if path.name != LOCKS_DIRECTORY:
                audit.note(path, "is hidden and left alone; a build that was killed leaves such folders")
        elif (path / MANIFEST_FILE).is_file():
            manifests[path.name] = _verify_scenario(path, audit)
        elif path.name not in (CARD_FILE, EVAL_FILE, FACTS_FILE):
            audit.note(path, "is named by no manifest")
    _verify_card(folder / CARD_FILE, {name: found for name, found in manifests.items() if found is not None}, audit)


def _verify_card(path: Path, manifests: dict[str, Manifest], audit: Audit) -> None:
    if not path.is_file():
        audit.note(path, "is missing, without which plain `datasets` does not find the rows")
        return
    if audit.sha256(path) is None:
        return
    try:
        configs = DatasetCard(path.read_text(encoding="utf-8")).data.get("configs") or []
        missing = [config["config_name"] for config in card_configs(manifests) if config not in configs]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        audit.damaged(path, f"its front matter cannot be read: {first_line(error)}")
        return
    if missing:
        audit.damaged(path, f"its front matter does not name the files of {', '.join(missing)}")


def _verify_scenario(folder: Path, audit: Audit) -> Manifest | None:
    path = folder / MANIFEST_FILE
    manifest = None
    with audit.checking(path):
        audit.count(path.stat().st_size)
        manifest = read_manifest(path)
    if manifest is None:
        return None
    if manifest.scenario != folder.name:
        audit.damaged(path, f"is of scenario {shown(manifest.scenario)}, not of that of its folder")
    _compare_declaration(manifest, path, audit)
    named, contents = {MANIFEST_FILE}, dict[str, str]()
    for split, record in manifest.splits.items():
        named |= {record.index.name, *(shard.name for shard in record.shards)}
        _Split(folder, split, record, manifest, audit, contents).verify()
    for other in sorted(folder.iterdir()):
        if other.name not in named:
            audit.note(other, "is named by no manifest")
    return manifest


def _compare_declaration(manifest: Manifest, path: Path, audit: Audit) -> None:
    if manifest.scenario not in SCENARIOS.names():
        return
    scenario = SCENARIOS.get(manifest.scenario)
    try:
        check_manifest(manifest, scenario, str(path.parent))
    except DataError as error:
        audit.note(path, str(error))
        return
    declared = {"test": scenario.test_samples, "calibration": scenario.calibration_samples}
    for split, record in manifest.splits.items():
        if record.samples != declared[split]:
            audit.note(path, f"has {record.samples} {split} samples, where the scenario declares {declared[split]}")


class _Split:
    """The checks of one split; ``contents`` says in which split each raw sample was found until now."""

    def __init__(
        self,
        folder: Path,
        split: str,
        record: SplitRecord,
        manifest: Manifest,
        audit: Audit,
        contents: dict[str, str],
    ) -> None:
        self.folder, self.split, self.record, self.audit, self.contents = folder, split, record, audit, contents
        self.manifest, self.columns = manifest, manifest.columns
        self.prefix = f"{manifest.scenario}/"
        self.path = folder / record.index.name
        self.used: dict[str, set[str]] = {shard.name: set() for shard in record.shards}
        self.samples: Counter[str] = Counter()

    def verify(self) -> None:
        """Checks all files, rows and tensors."""
        record, audit = self.record, self.audit
        placed = sum(shard.samples for shard in record.shards)
        if placed != record.samples:
            audit.damaged(
                self.folder / MANIFEST_FILE, f"{self.path.name} has {record.samples} samples, its shards {placed}"
            )
        sound = {shard.name for shard in record.shards if self._is_sound(shard)}
        if not self._is_sound(record.index):
            return
        with audit.checking(self.path):
            index = SplitIndex(
                self.path,
                record.index,
                samples=record.samples,
                columns=self.columns,
                reference=self.manifest.reference,
                files=frozenset(self.prefix + name for name in self.used),
            )
            self._verify_rows(index, sound)
            self._verify_use(sound)

    def _is_sound(self, file: FileRecord) -> bool:
        path = self.folder / file.name
        try:
            verify_afresh(path, file)
            self.audit.count(file.size_bytes)
        except DataError as error:
            self.audit.damaged(path, str(error))
            return False
        return True

    def _verify_rows(self, index: SplitIndex, sound: set[str]) -> None:
        ids: set[str] = set()
        shard: Shard | None = None
        for number in range(len(index)):
            row = index.row(number)
            where = f"row {number}"
            if row["sample_id"] in ids:
                self.audit.damaged(self.path, f"{where} repeats the sample id {shown(row['sample_id'])}")
            ids.add(row["sample_id"])
            if not _SHA256.fullmatch(row["content_sha256"]):
                self.audit.damaged(self.path, f"{where} has the content hash {shown(row['content_sha256'])}")
            elif (other := self.contents.setdefault(row["content_sha256"], self.split)) != self.split:
                self.audit.damaged(self.path, f"{where} is a sample of the {other} split, too")
            files = {row[name]["file"].removeprefix(self.prefix) for name in self.columns.tensors}
            if len(files) > 1:
                self.audit.damaged(self.path, f"{where} has its tensors in {len(files)} shards")
            for name in files & sound:
                if shard is None or Path(shard.uri).name != name:
                    shard = self._open(name)
                    if shard is None:
                        sound.discard(name)
                        continue
                self.samples[name] += 1
                self._verify_tensors(row, shard, where)

    def _open(self, name: str) -> Shard | None:
        path = self.folder / name
        with self.audit.checking(path), path.open("rb") as file:
            return Shard(str(path), path, file)
        return None

    def _verify_tensors(self, row: dict, shard: Shard, where: str) -> None:
        file = Path(shard.uri).name
        tensors = {}
        for name in self.columns.tensors:
            reference = row[name]
            if reference["file"] == self.prefix + file:
                self.used[file].add(reference["key"])
                try:
                    tensors[name] = shard.tensor(reference["key"], reference["dtype"], reference["shape"])
                except DataError as error:
                    self.audit.damaged(self.path, f"{where}: {error}")
                    return
        if len(tensors) == len(self.columns.tensors):
            try:
                self.columns.joined(tensors, row)
            except ScenarioError as error:
                self.audit.damaged(self.path, f"{where}: {error}")

    def _verify_use(self, sound: set[str]) -> None:
        for shard in self.record.shards:
            if shard.name in sound:
                path, found = self.folder / shard.name, self.samples[shard.name]
                if found != shard.samples:
                    self.audit.damaged(path, f"holds {found} samples, its manifest says {shard.samples}")
                opened = self._open(shard.name)
                unused = len(opened.keys - self.used[shard.name]) if opened is not None else 0
                if unused:
                    self.audit.note(path, f"holds {unused} tensors that no row names")
