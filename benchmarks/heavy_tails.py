"""What `klt` costs beside `channel` on features that no transform suits: heavy tails, sinks, few calibration samples.

    python benchmarks/heavy_tails.py [--width 1280] [--tokens 64] [--calibration 8 25 50 100] [--kinds sinks ...]

Where there is nothing to predict, a joint transform can only lose: its rate may be some hundredths above that of
`channel`, which quantises column by column. A line for each kind of features and number of calibration samples shows
the ratio of their bits a feature point at equal errors, each error in parts of that of the calibration mean. Rates are
of whole bitstreams of test samples, interpolated between steps that are half an octave apart.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from harness.statistics.distortion import squared_error
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.registry import CODECS
from lamofcbench.features import FeatureSet
from lamofcbench.rates import bpfp
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

Rows = NDArray[np.float64]
Generator = np.random.Generator

ERRORS = (0.1, 0.03, 0.01)
TEST_SAMPLES = 8
LARGEST_FACTOR, SINK_COLUMNS, SINK = 10.0, 4, 1000.0
"""Of rows that deviate more than others, and of the first token's in a few columns."""


def student(freedom: float) -> Callable[[Generator, tuple[int, int]], Rows]:
    """Independent values with tails of so many degrees of freedom."""
    return lambda generator, shape: generator.standard_t(freedom, shape)


def laplace(generator: Generator, shape: tuple[int, int]) -> Rows:
    """Independent values with exponential tails."""
    return generator.laplace(size=shape)


def mixture(generator: Generator, shape: tuple[int, int]) -> Rows:
    """Gaussian rows, one in fifty of which deviates ten times as much."""
    factors = np.where(generator.random((shape[0], 1)) < 0.02, LARGEST_FACTOR, 1.0)
    return generator.normal(size=shape) * factors


def sinks(generator: Generator, shape: tuple[int, int]) -> Rows:
    """Heavy tails, and a first row with a few values a thousand times as large."""
    rows = generator.standard_t(4, shape)
    rows[0, :: shape[1] // SINK_COLUMNS] += SINK
    return rows


def low_rank(generator: Generator, shape: tuple[int, int]) -> Rows:
    """A few heavy-tailed factors, the same in all samples, and as much noise."""
    factors = np.random.default_rng(1).normal(size=(16, shape[1])) / 4
    return generator.standard_t(3, (shape[0], 16)) @ factors + generator.normal(size=shape)


KINDS: dict[str, Callable[[Generator, tuple[int, int]], Rows]] = {
    "t2.2": student(2.2),
    "t3": student(3),
    "t4": student(4),
    "laplace": laplace,
    "mixture": mixture,
    "sinks": sinks,
    "low-rank": low_rank,
}


def samples(kind: str, count: int, shape: tuple[int, int], seed: int) -> list[FeatureSet]:
    """Samples of one tensor whose columns have means and deviations of their own, log-normal ones."""
    columns = np.random.default_rng(0)
    scales, means = np.exp(columns.normal(0, 0.6, shape[1])), columns.normal(0, 1, shape[1])
    generator = np.random.default_rng(seed)
    return [
        FeatureSet({"hidden": torch.from_numpy((KINDS[kind](generator, shape) + means) * scales).to(torch.bfloat16)})
        for _ in range(count)
    ]


def distortion(codec: Codec, test: Sequence[FeatureSet], coded: Sequence[bytes]) -> float:
    """Of all test samples together but for their first rows, whose sinks would outweigh everything else."""
    pairs = zip(test, map(codec.decode, coded), strict=True)
    return sum(squared_error(own["hidden"][1:], one["hidden"][1:]) for own, one in pairs)


class Curve:
    """Rates and errors of a codec at steps of half an octave, measured as they are asked for.

    Args:
        codec: its name.
        calibration: what it is fitted on.
        test: what it codes.
    """

    def __init__(self, codec: str, specs: FeatureSpecs, calibration: list[FeatureSet], test: list[FeatureSet]) -> None:
        self._codec_class, self._specs = CODECS.get(codec), specs
        self._calibration, self._test = calibration, test
        mean = CODECS.get("mean")(specs, {}).fit(calibration)
        self._scale = distortion(mean, test, [mean.encode(one) for one in test])
        self._known: dict[int, tuple[float, float]] = {}

    def at(self, half_octave: int) -> tuple[float, float]:
        """Bits a feature point and normalised error at a step."""
        if half_octave not in self._known:
            codec = self._codec_class(self._specs, {"step": 2.0 ** (half_octave / 2)}).fit(self._calibration)
            coded = [codec.encode(one) for one in self._test]
            rate = bpfp(8 * sum(map(len, coded)), sum(one.elements for one in self._test))
            self._known[half_octave] = rate, distortion(codec, self._test, coded) / self._scale
        return self._known[half_octave]

    def rate(self, error: float) -> float:
        """Bits a feature point at a normalised error."""
        at = 0
        while self.at(at)[1] > error:
            at -= 1
        while self.at(at + 1)[1] <= error:
            at += 1
        (rate, low), (coarser_rate, high) = self.at(at), self.at(at + 1)
        share = math.log(error / low) / math.log(high / low)
        return rate + share * (coarser_rate - rate)


def main() -> None:
    """Prints a line for each kind and number of calibration samples, and the largest ratio of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1280, help="values of a row (default: 1280)")
    parser.add_argument("--tokens", type=int, default=64, help="rows of a sample (default: 64)")
    parser.add_argument("--calibration", type=int, nargs="+", default=[8, 25, 50, 100], help="samples to fit on")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of features (default: all)")
    args = parser.parse_args()
    shape = (args.tokens, args.width)
    axis = Axis(name="tokens", limit=2**16)
    specs = FeatureSpecs(tensors=(TensorSpec(name="hidden", role="hidden", shape=(axis, shape[1]), dtype="bfloat16"),))
    print("klt over channel, bits at equal error:", *(f"NMSE {error:g}" for error in ERRORS))
    worst = 0.0
    for kind in args.kinds:
        test = samples(kind, TEST_SAMPLES, shape, seed=1)
        for count in args.calibration:
            calibration = samples(kind, count, shape, seed=2)
            ours, theirs = (Curve(name, specs, calibration, test) for name in ("klt", "channel"))
            ratios = [ours.rate(error) / theirs.rate(error) for error in ERRORS]
            worst = max(worst, *ratios)
            print(f"{kind:<10}{count:>5} samples", *(f"{ratio:>9.4f}" for ratio in ratios), flush=True)
    print(f"largest: {worst:.4f}")


if __name__ == "__main__":
    main()
