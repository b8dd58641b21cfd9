"""Speed and rate-distortion of every codec at the middle of its ladder, on one thread.

    python benchmarks/codec_speed.py [--quick] [--scenario ID] [--codecs SPEC ...]

Without a scenario the features are made up: a key-value cache set and a pair of ViT levels with channel scales that
differ by orders of magnitude and values a thousand times the quartiles in two channels. Rounds are interleaved, so that
whatever else the machine does falls on all codecs alike; medians of processor time are shown. MB/s are of raw feature
bytes in their stored dtypes, so a codec that works on values is twice as slow by it on half precision.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np
import torch

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.registry import CODECS, make_codecs
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.features import FeatureSet
from lamofcbench.rates import bpfp, ebpfp
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

CALIBRATION_SAMPLES = 10


def cache_specs(heads: int, dim: int, width: int, layers: int = 5) -> FeatureSpecs:
    """A decoder's caches and hidden state, bfloat16."""
    tokens = Axis(name="tokens", limit=2**16)
    caches = [
        TensorSpec(name=f"{role}.{layer}", role=role, shape=(heads, tokens, dim), dtype="bfloat16")
        for role in ("key", "value")
        for layer in range(layers)
    ]
    hidden = TensorSpec(name="hidden", role="hidden", shape=(tokens, width), dtype="bfloat16")
    return FeatureSpecs(tensors=(*caches, hidden))


def vit_specs(width: int) -> FeatureSpecs:
    """Two levels of a ViT, float32."""
    tokens = Axis(name="tokens", limit=2**16)
    levels = (TensorSpec(name=f"block.{n}", role="hidden", shape=(tokens, width), dtype="float32") for n in (9, 39))
    return FeatureSpecs(tensors=tuple(levels))


def made_up_sample(specs: FeatureSpecs, tokens: int, seed: int) -> FeatureSet:
    """Student-t values with lognormal channel scales, channel means, and two massive channels in hidden states."""
    generator = np.random.default_rng(seed)
    tensors = {}
    for row, spec in enumerate(specs.tensors):
        shape = spec.sized({"tokens": tokens})
        fixed = np.random.default_rng(row)
        channels = (shape[0], 1, shape[2]) if spec.role in ("key", "value") else (1, shape[-1])
        scales = np.exp(fixed.normal(0, 0.6, channels))
        values = generator.standard_t(6, shape) * scales + fixed.normal(0, 1, channels) * scales
        if spec.role == "hidden":
            values[..., [3, shape[-1] // 2]] *= 1000.0
        tensors[spec.name] = torch.from_numpy(values)
    return FeatureSet(tensors).cast(specs)


def data_sets(quick: bool) -> dict[str, tuple[FeatureSpecs, list[FeatureSet], list[FeatureSet]]]:
    """Name to specs, calibration samples and test samples."""
    sizes = {"caches": (cache_specs(4, 64, 512), 40), "vit": (vit_specs(384), 197)}
    if not quick:
        sizes = {"caches": (cache_specs(8, 128, 4096), 96), "vit": (vit_specs(1024), 1029)}
    made = {}
    for name, (specs, tokens) in sizes.items():
        calibration = [made_up_sample(specs, tokens // 2 + n, 1000 + n) for n in range(CALIBRATION_SAMPLES)]
        made[name] = (specs, calibration, [made_up_sample(specs, tokens + n, n) for n in range(2)])
    return made


def scenario_data(scenario_id: str, samples: int) -> tuple[FeatureSpecs, list[FeatureSet], list[FeatureSet]]:
    """The same of a scenario's own features."""
    from lamofcbench import open_split
    from lamofcbench.scenarios.base import SCENARIOS

    calibration, test = (open_split(scenario_id, split) for split in ("calibration", "test"))
    specs = SCENARIOS.get(scenario_id).specs
    return specs, list(calibration), [test.features(n) for n in range(min(samples, len(test)))]


def middle_points(specs: FeatureSpecs, texts: Sequence[str]) -> list[Codec]:
    """The named codecs, or the middle point of every registered one that does without the tail."""
    if texts:
        return [codec for text in texts for codec in make_codecs(text, specs)]
    found = [c for c in CODECS if not c.unavailable() and not c.needs_sensitivity]
    return [c(specs, c.make_params(c.rate_points[len(c.rate_points) // 2])) for c in found]


def measure(
    specs: FeatureSpecs, calibration: list[FeatureSet], test: list[FeatureSet], rounds: int, texts: Sequence[str]
) -> None:
    """Prints a line for each codec."""
    codecs = [codec.fit(calibration) for codec in middle_points(specs, texts)]
    megabytes = sum(features.raw_bits for features in test) / 8e6
    seconds: dict[tuple[int, str], list[float]] = {}
    for codec in codecs:
        codec.decode(codec.encode(test[0]))  # builds tables, touches memory
    for _ in range(rounds):
        for n, codec in enumerate(codecs):
            start = time.process_time()
            coded = [codec.encode(features) for features in test]
            middle = time.process_time()
            for data in coded:
                codec.decode(data)
            seconds.setdefault((n, "encode"), []).append(middle - start)
            seconds.setdefault((n, "decode"), []).append(time.process_time() - middle)
    print(f"{'codec':<44}{'EBPFP':>8}{'BPFP':>8}{'MSE':>11}{'relative':>10}{'encode MB/s':>13}{'decode MB/s':>13}")
    for n, codec in enumerate(codecs):
        coded = [codec.encode(features) for features in test]
        bits = 8 * sum(map(len, coded))
        error, relative = distortion(test, [codec.decode(data) for data in coded])
        rates = ebpfp(bits, sum(f.raw_bits for f in test)), bpfp(bits, sum(f.elements for f in test))
        speeds = [megabytes / statistics.median(seconds[n, stage]) for stage in ("encode", "decode")]
        print(
            f"{codec!r:<44.43}{rates[0]:>8.3f}{rates[1]:>8.3f}{error:>11.3g}{relative:>10.2g}{speeds[0]:>13.0f}{speeds[1]:>13.0f}"
        )


def distortion(test: list[FeatureSet], decoded: list[FeatureSet]) -> tuple[float, float]:
    """Mean squared error over all elements, and the mean over tensors of the error relative to the variance."""
    total, elements, relatives = 0.0, 0, []
    for name in test[0]:
        before = torch.cat([f[name].double().flatten() for f in test])
        squared = (torch.cat([f[name].double().flatten() for f in decoded]) - before).square()
        total, elements = total + squared.sum().item(), elements + before.numel()
        relatives.append(squared.mean().item() / max(before.var(correction=0).item(), 1e-300))
    return total / max(elements, 1), statistics.mean(relatives)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller features and fewer rounds")
    parser.add_argument("--scenario", action="append", default=[], help="measure a scenario's own features instead")
    parser.add_argument("--samples", type=int, default=64, help="test samples of a scenario")
    parser.add_argument("--codecs", nargs="*", default=[], metavar="SPEC", help="instead of all middle points")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        made = {name: scenario_data(name, arguments.samples) for name in arguments.scenario} or data_sets(
            arguments.quick
        )
        for name, (specs, calibration, test) in made.items():
            size = sum(features.raw_bits for features in test) / 8e6
            print(f"\n{name}: {len(test)} samples, {size:.1f} MB raw, fitted on {len(calibration)}")
            measure(specs, calibration, test, 3 if arguments.quick else 7, arguments.codecs)
    except LaMoFCBenchError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
