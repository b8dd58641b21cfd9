"""What it costs to have a codec run in a process of its own, as `--verify-samples` and `lamofcbench validate` do.

    python benchmarks/asking_apart.py [--scenario mini-clu-facts] [--codec zstd] [--rounds 9]

Samples of the test split are encoded and decoded here and there, the cases interleaved, so that whatever else the
machine does falls on all alike. Medians of milliseconds a sample are shown.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from harness.running.decoding_process import DecodingProcess
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split

SAMPLES = 64
PATIENCE_SECONDS = 300.0


def main() -> None:
    """Prints a line for encoding and one for decoding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="mini-clu-facts", metavar="ID", help="default: mini-clu-facts")
    parser.add_argument("--codec", default="zstd", help="one that learns nothing (default: zstd)")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each case (default: 9)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    scenario = SCENARIOS.get(args.scenario)
    split = open_split(scenario, "test")
    samples = [split.features(index) for index in range(min(SAMPLES, len(split)))]
    codec = make_codecs(args.codec, scenario.specs)[0]
    if codec.needs_calibration:
        parser.error(f"{args.codec} has to learn; name one that learns nothing, such as zstd")
    coded = [codec.encode(features) for features in samples]
    most_bytes = [features.raw_bits // 8 + 2**16 for features in samples]
    with tempfile.TemporaryDirectory() as folder, DecodingProcess() as process:
        process.load(codec.save(Path(folder) / "codec"), trust_code=False)

        def encode_there() -> None:
            for features, most in zip(samples, most_bytes, strict=True):
                process.encode(features, seconds=PATIENCE_SECONDS, most_bytes=most)

        def decode_there() -> None:
            for data, most in zip(coded, most_bytes, strict=True):
                process.decode(data, seconds=PATIENCE_SECONDS, most_bytes=most)

        cases: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "encode": (lambda: [codec.encode(features) for features in samples], encode_there),
            "decode": (lambda: [codec.decode(data) for data in coded], decode_there),
        }
        spent: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in cases}
        for _ in range(args.rounds):
            for name, works in cases.items():
                for work, seconds in zip(works, spent[name], strict=True):
                    began = time.perf_counter()
                    work()
                    seconds.append(time.perf_counter() - began)
    raw = statistics.fmean(features.raw_bits // 8 for features in samples)
    print(f"{args.codec} on {args.scenario}, {raw / 1e3:.0f} kB a sample{'here':>12}{'apart':>8}  ms a sample")
    for name, both in spent.items():
        here, apart = (1e3 * statistics.median(seconds) / len(samples) for seconds in both)
        print(f"{name:<44}{here:>8.2f}{apart:>8.2f}")


if __name__ == "__main__":
    main()
