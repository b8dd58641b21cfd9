"""What the harness itself costs: everything but encode, decode and tail, a sample; and how its memory grows.

Runs a scenario of small features with the `identity` codec and a tail that does nothing, on 200 and on 2000 samples,
each in a process of its own. The limits are 2 ms a sample, and no growth of memory beyond the noise of an allocator.

    python benchmarks/harness_overhead.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import torch

from harness.running.estimate import peak_memory_bytes
from harness.running.runner import ScenarioRunner
from harness.running.settings import RunSettings
from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec
from lamofcbench.storage import DatasetWriter

SAMPLES = (200, 2000)
WARM_UP = 400
LIMIT_MS = 2.0
LIMIT_GROWTH_BYTES = 5e6
WIDTH, TOKENS, BATCH_SIZE = 32, 8, 8
FEATURE_BYTES = 2 * TOKENS * WIDTH * 4
SHARD_BYTES = 64 * FEATURE_BYTES  # real shards hold tens to hundreds of samples; readers keep eight open


def scenario_of(samples: int) -> Scenario:
    """A scenario of small features."""
    tokens = Axis(name="tokens", limit=64)
    return Scenario(
        id="overhead",
        version=1,
        edition="user",
        category="other",
        title="Nothing but the harness",
        backbone=Backbone(adapter="none", source="."),
        splits=(0,),
        tensors=tuple(
            TensorSpec(name=f"block.{i}", role="hidden", shape=(tokens, WIDTH), dtype="float32") for i in (1, 2)
        ),
        prediction="label",
        metric="accuracy",
        direction="up",
        batch_size=BATCH_SIZE,
        test_samples=samples,
        calibration_samples=1,
        licence="Apache-2.0",
    )


class TrivialTail:
    """Predicts 0."""

    def tail(self, batch: Sequence[FeatureSet]) -> list[int]:
        """One label a sample."""
        return [0] * len(batch)


def write_data(folder: Path, samples: int) -> Path:
    """A dataset of random features; returns its folder."""
    scenario = scenario_of(samples)
    features = FeatureSet({f"block.{i}": torch.randn(TOKENS, WIDTH) for i in (1, 2)})
    with DatasetWriter(folder, scenario, data_revision="0" * 64, shard_bytes=SHARD_BYTES) as writer:
        for split, count in (("test", samples), ("calibration", 1)):
            for index in range(count):
                content = f"{len(split):02x}{index:062x}"
                writer.add(split, f"{split}-{index}", features, reference=0, content_sha256=content)
    return folder


def run(data: Path, samples: int) -> dict[str, float]:
    """Seconds in all and in the stages that are not the harness's, and this process's peak memory."""
    scenario = scenario_of(samples)
    with tempfile.TemporaryDirectory() as results:
        runner = ScenarioRunner(scenario, RunSettings(results=Path(results), data=data, progress=False))
        runner.__dict__["model"] = TrivialTail()
        started, processor_started = time.perf_counter(), time.process_time()
        finished = runner.run_codec(IdentityCodec(scenario.specs))
        total = time.perf_counter() - started
        processor = time.process_time() - processor_started
        timings = pq.read_table(finished.folder / "timings.parquet")
    stages = ("encode_seconds", "decode_seconds", "tail_seconds")
    others = sum(sum(timings.column(name).to_pylist()) for name in stages)
    return {
        "samples": samples,
        "seconds": total,
        "others": others,
        "processor": processor,
        "memory": peak_memory_bytes(),
    }


def measure(folder: Path, samples: int) -> dict[str, float]:
    """`run` in a process of its own, after a short run that pays for imports, caches and other first times."""
    for count in (WARM_UP, samples):
        write_data(folder / str(count), count)
    command = [sys.executable, __file__, "--measure", str(folder), str(samples)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    measured: dict[str, float] = json.loads(output.splitlines()[-1])
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.measure:
        folder, samples = Path(args.measure[0]), int(args.measure[1])
        run(folder / str(WARM_UP), WARM_UP)
        print(json.dumps(run(folder / str(samples), samples)))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        measured = [measure(Path(scratch) / f"of-{samples}", samples) for samples in SAMPLES]
    return report(*measured)


def report(few: dict[str, float], many: dict[str, float]) -> int:
    """Prints both runs and the verdict; returns the exit status."""
    own = [1000 * (m["seconds"] - m["others"]) / m["samples"] for m in (few, many)]
    print("samples  total s  processor s  encode+decode+tail s  harness ms/sample  peak memory MB")
    for m, ms in zip((few, many), own, strict=True):
        figures = f"{m['seconds']:7.2f}  {m['processor']:11.2f}  {m['others']:20.2f}  {ms:17.2f}"
        print(f"{m['samples']:7d}  {figures}  {m['memory'] / 1e6:14.1f}")
    growth = many["memory"] - few["memory"]
    passed = max(own) < LIMIT_MS and growth < LIMIT_GROWTH_BYTES
    verdict = "pass" if passed else "FAIL"
    print(f"{verdict}: at most {max(own):.2f} of {LIMIT_MS} ms a sample, memory grew by {growth / 1e6:.1f} MB")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
