"""Importing published features against decompressing them and nothing else.

Files are made in the published layout, with the spreads of real features, at the size of real samples. Decompression
alone reads the same files into the same kind of buffer, in one thread of as many processes as import. Rounds are
interleaved (A B A B), and the median of wall time counts; processor time is shown beside it, since import hashes and
writes what it decompresses, in threads beside that.

    python benchmarks/import_speed.py [--samples N] [--scenario ID] [--processes N] [--rounds N]
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import zstandard

from dataset_builders.full.published.decompression import decompress
from dataset_builders.full.published.growing import GrowingBytes
from dataset_builders.full.published.importing import import_published
from dataset_builders.full.published.sources import most_bytes, published_files
from lamofcbench.scenarios.base import SCENARIOS, Scenario

ZSTD_LEVEL = 3
TARGET = 0.8
TOKENS = {"cvu-imagenet-val": 1029, "clu-truthfulqa-mc1": 300}


def heavy_tailed(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """Gaussian values, each channel with a spread of its own."""
    spreads = torch.exp(torch.randn(shape[-1], generator=generator))
    return (torch.randn(shape, generator=generator) * spreads).to(dtype)


def published_tree(id: str, generator: torch.Generator) -> dict:
    tokens = TOKENS[id]
    if id == "cvu-imagenet-val":
        blocks = {}
        for block in (9, 39):
            blocks[f"backbone.blocks.{block}"] = [heavy_tailed((1, tokens, 4096), torch.float32, generator)]
        return blocks
    caches = {
        name: [heavy_tailed((1, 8, tokens, 128), torch.bfloat16, generator) for _ in range(5)]
        for name in ("key", "value")
    }
    return {"output": heavy_tailed((1, tokens, 4096), torch.bfloat16, generator), **caches}


def make_files(id: str, folder: Path, count: int) -> int:
    """Writes files; returns how many bytes they decompress to."""
    generator, total = torch.Generator().manual_seed(1), 0
    for number in range(count):
        buffer = io.BytesIO()
        torch.save(published_tree(id, generator), buffer)
        total += buffer.tell()
        name = f"n01440764-{number}" if id.startswith("cvu") else f"sample{number}-layer4-item1"
        (folder / f"{name}.zst").write_bytes(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(buffer.getvalue()))
    return total


def decompression_alone(scenario: Scenario, source: Path) -> None:
    content = GrowingBytes(most_bytes(scenario))
    for path in published_files(scenario, source):
        content.restart()
        decompress(path, content)
        content.wait_for_end()


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds, those of ended child processes included."""

    def used() -> float:
        return sum(os.times()[:4])

    wall, cpu = time.perf_counter(), used()
    work()
    return time.perf_counter() - wall, used() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", choices=sorted(TOKENS), default="cvu-imagenet-val")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    scenario = SCENARIOS.get(args.scenario)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.mkdir()
        total = make_files(args.scenario, source, args.samples)
        rounds: dict[str, list[tuple[float, float]]] = {"decompression": [], "import": []}
        for number in range(args.rounds + 1):  # the first fills the page cache
            alone = timed(lambda: decompression_alone(scenario, source))
            output = Path(folder) / f"out-{number}"
            whole = timed(partial(import_published, scenario, source, output, processes=args.processes))
            shutil.rmtree(output)
            if number:
                rounds["decompression"].append(alone)
                rounds["import"].append(whole)
    print(f"{args.scenario}, {args.samples} samples, {total / 1e6:.0f} MB, {args.processes} processes")
    for name, seconds in rounds.items():
        wall, cpu = (statistics.median(part) for part in zip(*seconds, strict=True))
        print(
            f"{name:>14}: {total / wall / 1e6:5.0f} MB/s by the clock, {total / cpu / 1e6:5.0f} MB/s of processor time"
        )
    ratios = [alone[0] / whole[0] for alone, whole in zip(*rounds.values(), strict=True)]
    ratio = statistics.median(ratios)
    print(f"import is at {ratio:.0%} of decompression's speed (target {TARGET:.0%}); rounds: "
          f"{', '.join(f'{one:.0%}' for one in ratios)}")  # fmt: skip


if __name__ == "__main__":
    main()
