"""Which published files hold a scenario's samples."""

from __future__ import annotations

import re
from pathlib import Path

from dataset_builders.full.language.tasks import task_of as language_task
from dataset_builders.full.published.references import track_of
from lamofcbench.errors import DataError, one_line
from lamofcbench.scenarios.base import DTYPE_BITS, SCENARIOS, Axis, Scenario, TensorSpec

END = ".zst"
OVERHEAD_BYTES = 2**26
"""Of a file beside its tensors: the archive's headers and, after coding, the coded strings."""
_FOLDERS = {
    "cvu-imagenet-val": r"imagenet.*val",
    "cvu-imagenet-a": r"imagenet.*-a(dv)?\b",
    "cvu-imagenet-r": r"imagenet.*-r(en)?\b",
    "cvu-ade20k": r"ade20k",
    "cvu-nyuv2": r"nyu.*v2",
    "cau-librispeech-clean": r"test[-_]clean",
    "cau-librispeech-other": r"test[-_]other",
    "cau-advbench": r"advbench",
    "cau-openbookqa": r"openbookqa",
    "cau-sdqa": r"sd-?qa",
    "ctti-coco-canny": r"samples_features|controlnet",
}


def published_files(scenario: Scenario, source: Path) -> list[Path]:
    """The files of a scenario, by name, numbers in them by value.

    Args:
        scenario: whose samples are wanted.
        source: the folder that holds them, or one above it, such as a whole download.

    Raises:
        DataError: if there are none, or it cannot be told which folder is meant.
    """
    if not source.is_dir():
        raise DataError(f"there is no folder {source}")
    folder = source if any(source.glob(f"*{END}")) else _folder_below(scenario, source)
    return sorted(folder.glob(f"*{END}"), key=_by_numbers)


def most_bytes(scenario: Scenario) -> int:
    """The most that a file may decompress to: the largest tensors that may be in it, and `OVERHEAD_BYTES`.

    Files also hold the tensors of the scenarios that share their raw samples.
    """
    track = track_of(scenario)
    tensors: dict[str, TensorSpec] = {}
    for one in (*SCENARIOS, scenario):
        if track_of(one) == track:
            tensors.update((spec.name, spec) for spec in one.tensors)
    return OVERHEAD_BYTES + sum(map(_most_tensor_bytes, tensors.values()))


def _most_tensor_bytes(spec: TensorSpec) -> int:
    count = 1
    for size in spec.shape:
        count *= size.limit if isinstance(size, Axis) else size
    return count * DTYPE_BITS[spec.dtype] // 8


def _folder_below(scenario: Scenario, source: Path) -> Path:
    folders = sorted({path.parent for path in source.rglob(f"*{END}")})
    if not folders:
        raise DataError(f"{source} holds no published features (*{END})")
    fitting = [folder for folder in folders if _fits(scenario, folder.relative_to(source).as_posix())]
    if len(fitting) != 1:
        among = ", ".join(folder.relative_to(source).as_posix() for folder in fitting or folders)
        found = f"{len(fitting)} folders" if fitting else "no folder"
        raise DataError(
            f"{source} holds {found} for {scenario.id}; name the folder of its files: {one_line(among, 500)}"
        )
    return fitting[0]


def _fits(scenario: Scenario, folder: str) -> bool:
    track, folder = track_of(scenario), folder.lower()
    if track.startswith("clu-"):
        model = "mamba" if track.endswith("-mamba") else "qwen"
        return folder.rpartition("/")[2] == language_task(track).name and ("/" not in folder or model in folder)
    pattern = _FOLDERS.get(track)
    return pattern is not None and re.search(pattern, folder) is not None


def _by_numbers(path: Path) -> list[tuple[bool, int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
