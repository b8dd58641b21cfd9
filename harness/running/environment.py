"""Where a run happens: seed, threads, device, versions. What differs between machines goes into ``run.json``."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.version import __version__

PACKAGES = (
    "torch", "numpy", "transformers", "safetensors", "datasets", "pyarrow", "accelerate", "numba", "diffusers",
    "pillow", "zstandard", "imagecodecs", "av", "imageio-ffmpeg",
)  # fmt: skip
"""That compute, store or code: figures and bytes may depend on their versions."""


def seed_everything(seed: int, *parts: int) -> None:
    """Seeds every generator from the run's seed and what identifies the work, such as a batch's number.

    A batch's random numbers thus depend neither on the batches before it nor on the process that computes it.
    """
    words = np.random.SeedSequence([seed, *parts]).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.default_generator.manual_seed(int(words[2]))
    if torch.cuda.is_initialized():  # `torch.manual_seed` would queue a call, with a stack trace, for a CUDA to come
        torch.cuda.manual_seed_all(int(words[2]))


@contextlib.contextmanager
def pinned_threads(threads: int) -> Iterator[None]:
    """Runs torch on a fixed number of threads, because their number changes the last bits of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_device(name: str | None, local_rank: int = 0) -> str:
    """The device to run on: the named one, else a CUDA device where there is one, else the CPU.

    Raises:
        LaMoFCBenchError: if the named device is not there.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise LaMoFCBenchError(f"unknown device {name!r}; name cpu, cuda or cuda:N") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise LaMoFCBenchError(f"device {name!r} is not there: torch sees no CUDA device")
        count = torch.cuda.device_count()
        index = local_rank % count if device.index is None else device.index
        if index >= count:
            raise LaMoFCBenchError(f"device {name!r} is not there: torch sees {count} CUDA devices, from 0 on")
        return f"cuda:{index}"
    if device.type != "cpu" or device.index:
        raise LaMoFCBenchError(f"device {name!r} is none that features are coded on; name cpu, cuda or cuda:N")
    return "cpu"


def synchronise(device: str) -> None:
    """Waits for the device, so that a clock read afterwards covers its work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def describe(device: str) -> dict[str, Any]:
    """Versions and hardware, for ``run.json``."""
    return {
        "lamofcbench": __version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "device": device,
        "device_name": device_name(device),
        "packages": packages(),
    }


def packages() -> dict[str, str | None]:
    """The versions of the packages that decide figures; None of one that is not installed."""
    return {name: _version(name) for name in PACKAGES}


def device_name(device: str) -> str:
    """What the device is called: a GPU's name, or the processor's."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()


def source_commit() -> str | None:
    """The commit of the clone that this package runs from, with ``+dirty`` after changes; None outside a clone."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
