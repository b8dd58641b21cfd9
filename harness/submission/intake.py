"""What may lie in a submission's folder: the files of its layout, of bounded sizes, and nothing that leads elsewhere.

One rule serves a folder on disk and the listing of a pull request, of which nothing is fetched that the rule refuses.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from harness.results.store import RESULT_FILE, RUN_FILE, SAMPLES_FILE, TIMINGS_FILE
from harness.submission.bitstreams import BITSTREAMS_FILE, MAX_FILE_BYTES
from harness.submission.findings import Findings
from harness.submission.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, RESULTS_FOLDER
from lamofcbench.codecs.saving import CONFIG_FILE, MAX_CONFIG_BYTES, STATE_FILE
from lamofcbench.user_files.closure import MAX_BYTES as MAX_SOURCE_BYTES

MAX_FILES = 100_000
MAX_TOTAL_BYTES = 2**36
_PLACE = rf"{RESULTS_FOLDER}/[a-z0-9][a-z0-9._-]{{0,99}}@[1-9]\d{{0,5}}/\w[\w.-]{{0,63}}/[0-9a-f]{{16}}"
_MOST_BYTES = {
    re.escape(MANIFEST_FILE): MAX_MANIFEST_BYTES,
    rf"{_PLACE}/{re.escape(RESULT_FILE)}": 2**18,
    rf"{_PLACE}/{re.escape(RUN_FILE)}": 2**17,
    rf"{_PLACE}/{re.escape(SAMPLES_FILE)}": 2**31,
    rf"{_PLACE}/{re.escape(TIMINGS_FILE)}": 2**28,
    rf"{_PLACE}/{re.escape(BITSTREAMS_FILE)}": MAX_FILE_BYTES,
    rf"{_PLACE}/codec/{re.escape(CONFIG_FILE)}": MAX_CONFIG_BYTES,
    rf"{_PLACE}/codec/fit\.json": 2**16,
    rf"{_PLACE}/codec/{re.escape(STATE_FILE)}": 2**32,
    rf"{_PLACE}/codec/source/([\w-]{{1,100}}/){{0,10}}[\w-][\w.-]{{0,200}}\.py": MAX_SOURCE_BYTES,
}
_LAYOUT = [(re.compile(pattern, re.ASCII), most) for pattern, most in _MOST_BYTES.items()]


def objection(name: str, size_bytes: int) -> str:
    """Why a file cannot be part of a submission; empty where it can.

    Args:
        name: relative to the submission's folder, with ``/``.
        size_bytes: of its content.

    Example:
        >>> objection("submission.json", 400), objection("../submission.json", 400)
        ('', 'is no part of a submission')
    """
    for pattern, most in _LAYOUT:
        if pattern.fullmatch(name) and ".." not in name:
            return f"has {size_bytes} bytes; at most {most} are possible" if size_bytes > most else ""
    return "is no part of a submission"


def check_kinds(folder: Path, findings: Findings) -> bool:
    """Whether there are nothing but regular files, as many and as large together as may be read; opens none.

    Args:
        folder: of the submission.
        findings: takes what is wrong.
    """
    total = 0
    for files, (name, path) in enumerate(_entries(folder), start=1):
        status = path.lstat()
        total += status.st_size
        if not stat.S_ISREG(status.st_mode):
            findings.fault(name, "is no regular file")
        elif files > MAX_FILES or total > MAX_TOTAL_BYTES:
            findings.fault(name, f"is too much: at most {MAX_FILES} files and {MAX_TOTAL_BYTES} bytes are read")
            break
    return not findings.faults


def check_layout(folder: Path, findings: Findings) -> bool:
    """Whether all files are part of a submission, by name and size; arguments as for `check_kinds`."""
    entries = list(_entries(folder))
    for name, path in entries:
        if what := objection(name, path.lstat().st_size):
            findings.fault(name, what)
    findings.count("files of the layout", len(entries), len(entries))
    return not findings.faults


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Everything in a folder that is no folder itself, links to folders included; a repository has no empty folders."""
    for at, folders, files in os.walk(folder):
        folders.sort()
        links = [name for name in folders if Path(at, name).is_symlink()]
        for name in sorted([*files, *links]):
            yield Path(at, name).relative_to(folder).as_posix(), Path(at, name)
