"""Speed of `klt` on wide rows, beside the bare matrix product that it cannot do without.

    python benchmarks/klt_speed.py [--width 1024] [--tokens 512] [--rounds 9]

Rows are Gaussian, with deviations that fall like the spectra of hidden states, in bfloat16. The cases are interleaved,
so that whatever else the machine does falls on all alike; medians of processor time on one thread are shown, in 10^6
bytes of raw features a second.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from lamofcbench.codecs.klt import KltCodec
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

CASES = ({"step": 1.0, "rank": 128}, {"step": 0.5, "rank": 128}, {"step": 0.5})
CALIBRATION_SAMPLES, SAMPLES = 24, 4


def processor_seconds(work: Callable[[], object]) -> float:
    """What a piece of work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Fits `klt` in each case and prints a line of speeds for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1024, help="values of a row (default: 1024)")
    parser.add_argument("--tokens", type=int, default=512, help="rows of a sample (default: 512)")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each case (default: 9)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    directions = np.linalg.qr(generator.normal(size=(args.width, args.width)))[0]
    deviations = np.arange(1, args.width + 1) ** -0.7
    tokens = Axis(name="tokens", limit=2**16)
    specs = FeatureSpecs(
        tensors=(TensorSpec(name="hidden", role="hidden", shape=(tokens, args.width), dtype="bfloat16"),)
    )

    def sample(tokens: int) -> FeatureSet:
        rows = (generator.normal(size=(tokens, args.width)) * deviations) @ directions.T
        return FeatureSet({"hidden": torch.from_numpy(rows).to(torch.bfloat16)})

    # Prompts vary in length: were all of one, `klt` would transform over places, too.
    calibration = [sample(args.tokens - index % args.tokens) for index in range(CALIBRATION_SAMPLES)]
    samples = [sample(args.tokens) for _ in range(SAMPLES)]
    codecs = [KltCodec(specs, KltCodec.make_params(case)).fit(calibration) for case in CASES]
    coded = [[codec.encode(features) for features in samples] for codec in codecs]
    products = []
    for codec in codecs:
        kept = len(codec.state["0.analysis"])
        products.append((torch.randn(args.tokens, args.width), torch.randn(args.width, kept)))
    seconds: list[list[list[float]]] = [[[], [], []] for _ in CASES]
    for _ in range(args.rounds):
        for codec, data, (rows, basis), spent in zip(codecs, coded, products, seconds, strict=True):
            spent[0].append(processor_seconds(lambda codec=codec: [codec.encode(one) for one in samples]))
            spent[1].append(processor_seconds(lambda codec=codec, data=data: [codec.decode(one) for one in data]))
            spent[2].append(processor_seconds(lambda rows=rows, basis=basis: [rows @ basis for _ in samples]))
    raw = sum(features.raw_bits for features in samples) / 8e6
    print(f"{'case':<24}{'encode':>8}{'decode':>8}{'product':>9}  MB/s of raw bfloat16")
    for case, spent in zip(CASES, seconds, strict=True):
        encode, decode, product = (raw / statistics.median(times) for times in spent)
        name = ", ".join(f"{key} {value:g}" for key, value in case.items()) + ("" if "rank" in case else ", full rank")
        print(f"{name:<24}{encode:>8.0f}{decode:>8.0f}{product:>9.0f}")


if __name__ == "__main__":
    main()
