"""CompressAI's own environment, and the two processes of the comparison."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import torch

SIDES = Path(__file__).parent
COMPRESSAI = "compressai==1.2.8"
NEEDS = ("numpy<2", "einops", "pandas", "pillow", "pytorch-msssim", "safetensors", "scipy", "torch-geometric", "tqdm")
"""What the import of CompressAI needs, apart from torch and from torchvision."""
WITHOUT_NEEDS = (COMPRESSAI, "torchvision")
"""Installed without what they ask for: torchvision would bring a torch of its own, CompressAI all that it may use."""


def environment_python(directory: Path) -> Path:
    """The interpreter of an environment for CompressAI, which is made where there is none.

    It gets the version of torch that runs here, since only equal versions compute equal bits. CompressAI has an
    extension in C++; where no wheel fits, pip compiles it.
    """
    python = directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if (directory / "complete").exists():
        return python
    venv.create(directory, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, f"torch=={torch.__version__.partition('+')[0]}", *NEEDS], check=True)
    subprocess.run([*install, "--no-deps", *WITHOUT_NEEDS], check=True)
    (directory / "complete").touch()
    return python


class Side:
    """A process that answers requests; see `protocol.serve`.

    Args:
        python: its interpreter.
        script: its name in this folder.
        threads: how many threads it computes with.
    """

    def __init__(self, python: Path, script: str, threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [str(python), str(SIDES / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self("threads", threads=threads)

    def __call__(self, task: str, **arguments: Any) -> Any:
        """The answer to a request; paths may be `Path`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"task": task, **arguments}, default=str) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"error: a side of the comparison failed at {task!r}; what it printed stands above")
        return json.loads(answer)

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def reference_side(environment: Path, threads: int) -> Side:
    """CompressAI."""
    return Side(environment_python(environment), "reference_side.py", threads)


def our_side(threads: int) -> Side:
    """This repository, in the environment that runs the comparison."""
    return Side(Path(sys.executable), "our_side.py", threads)
