"""Sequential warm reading: safetensors shards against one zstd-compressed ``torch.save`` file a sample.

Both layouts hold the same features, made here with the spreads of real ones. Rounds are interleaved, the first round of
each reader only warms the page cache, and the median counts. Every byte reaches torch memory in both: mapped tensors
are cloned; ``torch.load`` has copied them anyway. All on one thread.

    python benchmarks/storage_read.py [--quick] [--scenario ID]
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import zstandard

import lamofcbench
from lamofcbench import Axis, Backbone, FeatureSet, Scenario, TensorSpec
from lamofcbench.features import TORCH_DTYPES
from lamofcbench.storage import DatasetWriter, open_split

ZSTD_LEVEL = 3
TARGET_RATIO = 5.0
TOKENS = Axis(name="tokens", limit=4096)

SYNTHETIC = Scenario(
    id="synthetic-cache",
    version=1,
    edition="user",
    category="other",
    title="Key, value and hidden features of made-up spreads",
    backbone=Backbone(adapter="none", source="none"),
    splits=(4,),
    tensors=(
        TensorSpec(name="key.0", role="key", shape=(8, TOKENS, 128), dtype="bfloat16"),
        TensorSpec(name="value.0", role="value", shape=(8, TOKENS, 128), dtype="bfloat16"),
        TensorSpec(name="ssm_state.0", role="ssm_state", shape=(2048, 16), dtype="float16"),
        TensorSpec(name="hidden", role="hidden", shape=(TOKENS, 1024), dtype="float32"),
    ),
    prediction="text",
    metric="none",
    direction="up",
    batch_size=1,
    test_samples=1,
    calibration_samples=0,
    licence="CC0-1.0",
)


def synthetic_features(count: int) -> Iterable[FeatureSet]:
    """Gaussian features, each channel with a scale of its own and two channels a thousand times larger."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        sizes = {"tokens": int(torch.randint(256, 768, (), generator=generator))}
        tensors = {}
        for spec in SYNTHETIC.tensors:
            shape = spec.sized(sizes)
            scale = torch.randn(shape[-1], generator=generator).exp()
            scale[:2] *= 1000
            tensors[spec.name] = (torch.randn(shape, generator=generator) * scale).to(TORCH_DTYPES[spec.dtype])
        yield FeatureSet(tensors)


def write_both(scenario: Scenario, samples: Iterable[FeatureSet], folder: Path) -> int:
    """Writes the samples in both layouts; returns the bytes of all tensors."""
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    (folder / "zstd").mkdir()
    raw_bytes = 0
    with DatasetWriter(folder, scenario, data_revision="benchmark") as writer:
        for index, features in enumerate(samples):
            raw_bytes += features.raw_bits // 8
            writer.add("test", str(index), features, reference=0, content_sha256="0" * 64)
            buffer = io.BytesIO()
            torch.save({name: tensor.clone() for name, tensor in features.tensors.items()}, buffer)
            (folder / "zstd" / f"{index:06d}.zst").write_bytes(compressor.compress(buffer.getvalue()))
    return raw_bytes


def read_shards(scenario: Scenario, folder: Path) -> None:
    for features in open_split(scenario, "test", folder):
        for tensor in features.tensors.values():
            tensor.clone()


def read_datasets(scenario: Scenario, folder: Path) -> None:
    for row in lamofcbench.load_dataset(scenario, "test", data_dir=folder, cache_dir=folder / "datasets-cache"):
        for spec in scenario.tensors:
            row[spec.name].clone()


def read_zstd(scenario: Scenario, folder: Path) -> None:
    decompressor = zstandard.ZstdDecompressor()
    for path in sorted((folder / "zstd").iterdir()):
        tensors = torch.load(io.BytesIO(decompressor.decompress(path.read_bytes())), weights_only=True)
        assert len(tensors) == len(scenario.tensors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few samples: shows that it runs, measures nothing")
    parser.add_argument("--scenario", help="take a scenario's own test features instead of made-up ones")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rounds = 2 if arguments.quick else 7
    scenario, samples = SYNTHETIC, synthetic_features(4 if arguments.quick else 96)
    if arguments.scenario:
        reader = open_split(arguments.scenario)
        scenario, samples = reader.scenario, iter(reader)
    readers: dict[str, Callable[[Scenario, Path], None]] = {
        "safetensors shards, open_split": read_shards,
        "safetensors shards, load_dataset": read_datasets,
        f"zstd-{ZSTD_LEVEL} torch.save files": read_zstd,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw_bytes = write_both(scenario, samples, folder)
        count = len(open_split(scenario, "test", folder))
        seconds: dict[str, list[float]] = {label: [] for label in readers}
        for round_number in range(rounds + 1):
            for label, read in readers.items():
                start = time.perf_counter()
                read(scenario, folder)
                if round_number:
                    seconds[label].append(time.perf_counter() - start)
    print(f"{count} samples, {raw_bytes / 1e6:.0f} MB of features, {rounds} interleaved rounds")
    print(f"{'layout':34} {'MB/s median':>12} {'min':>8} {'max':>8} {'ms/sample':>10}")
    for label, times in seconds.items():
        median, fastest, slowest = (raw_bytes / 1e6 / t for t in (statistics.median(times), min(times), max(times)))
        per_sample = 1e3 * statistics.median(times) / count
        print(f"{label:34} {median:12.0f} {slowest:8.0f} {fastest:8.0f} {per_sample:10.3f}")
    shards, _, zstd = (statistics.median(times) for times in seconds.values())
    verdict = "reached" if zstd / shards >= TARGET_RATIO else "NOT reached"
    target = "a quick run measures nothing" if arguments.quick else f"target {TARGET_RATIO:.0f}: {verdict}"
    print(f"open_split reads {zstd / shards:.1f} times the MB/s of the zstd files ({target})")


if __name__ == "__main__":
    main()
