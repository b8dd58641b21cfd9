"""What both sides of the comparison share: a loop that answers requests, one JSON object a line.

A side is a process of its own, because the two need different environments; large tensors pass as safetensors files.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch


def serve(tasks: Mapping[str, Callable[..., Any]]) -> None:
    """Answers each request ``{"task": name, **arguments}`` of standard input with one line of standard output."""
    answers, sys.stdout = sys.stdout, sys.stderr  # a library that prints must not disturb the answers
    tasks = {"peak_memory_bytes": peak_memory_bytes, "threads": set_threads, **tasks}
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(tasks[request.pop("task")](**request)), file=answers, flush=True)


def set_threads(threads: int) -> None:
    """Sets how many threads torch computes with."""
    torch.set_num_threads(threads)


def peak_memory_bytes() -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The result of some work, with its wall and processor time in seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, {"wall_s": time.perf_counter() - wall, "processor_s": time.process_time() - processor}
