"""What a stream of chunks costs over coding at once, and whether the model says the same, on the small edition.

The longest test samples of a scenario, coded at once and in chunks of some tokens by `lamofcbench.streaming`: bytes of
all chunks over those at once, squared error likewise, and the predictions of the tail from both.

    python benchmarks/streams.py --scenarios small-clu-recall small-clu-prose --samples 8
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.features import FeatureSet
from lamofcbench.models.loading import load_model
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split
from lamofcbench.streaming import StreamDecoder, StreamEncoder, joined, split_tokens

CODECS = (
    "uniform:step=0.2",
    "channel:step=0.35",
    "klt:step=0.35",
    "klt:step=1.4",
    "kvtc:ratio=4",
    "kvtc-entropy:ratio=4",
)


def coded(codec: Codec, features: FeatureSet, tokens: int) -> tuple[list[int], list[FeatureSet]]:
    """Bytes and decoded features at once, and in chunks of so many tokens."""
    whole = codec.encode(features)
    sender, receiver = StreamEncoder(codec), StreamDecoder(codec)
    chunks = [sender.append(part) for part in split_tokens(features, codec.specs, tokens)]
    parts = joined([receiver.append(chunk) for chunk in chunks], codec.specs)
    return [len(whole), sum(map(len, chunks))], [codec.decode(whole), parts]


def squared_error(features: FeatureSet, other: FeatureSet) -> float:
    """Each tensor's by its own energy, over tensors."""
    return sum(
        float((features[n].double() - other[n].double()).square().sum() / features[n].double().square().sum())
        for n in features
    )


def told(predictions: Sequence[object]) -> list[object]:
    """Predictions in a form that compares."""
    return [p if isinstance(p, (str, int)) else round(float(torch.as_tensor(p).sum()), 2) for p in predictions]


def measure(scenario_id: str, specs: Sequence[str], samples: int, tokens: int, fitted_on: int | None) -> None:
    """Prints a row for each codec."""
    scenario = SCENARIOS.get(scenario_id)
    calibration, test = (open_split(scenario, split) for split in ("calibration", "test"))
    known = [calibration.features(i).clone() for i in range(len(calibration))][:fitted_on]
    every = [test.features(i) for i in range(len(test))]
    chosen = sorted(every, key=lambda one: -one["hidden"].shape[0])[:samples]
    model = load_model(scenario)
    print(f"{scenario_id}: {samples} samples of {sum(len(f['hidden']) for f in chosen)} tokens")
    print("codec | EBPFP at once | bytes in chunks over at once | error likewise | same predictions")
    for (codec,) in (make_codecs(spec, scenario.specs) for spec in specs):
        codec = codec.fit(known) if codec.needs_calibration else codec
        results = [coded(codec, features.with_given(None), tokens) for features in chosen]
        at_once, in_chunks = (sum(sizes[way] for sizes, _ in results) for way in (0, 1))
        errors = [sum(squared_error(f, r[1][way]) for f, r in zip(chosen, results, strict=True)) for way in (0, 1)]
        said = [
            told(model.tail([r[1][way].with_given(f.given) for f, r in zip(chosen, results, strict=True)]))
            for way in (0, 1)
        ]
        same = sum(first == second for first, second in zip(*said, strict=True))
        rate = 32 * 8 * at_once / sum(f.raw_bits for f in chosen)
        print(
            f"{codec} | {rate:.3f} | {in_chunks / at_once:.4f} | {errors[1] / max(errors[0], 1e-300):.3f} | "
            f"{same} of {samples} {said if same < samples else ''}",
            flush=True,
        )


def main() -> None:
    """Prints a table for each scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", nargs="+", default=["small-clu-recall", "small-clu-prose"])
    parser.add_argument("--codecs", nargs="+", default=CODECS)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--calibration", type=int, help="how many samples codecs are fitted on; all by default")
    arguments = parser.parse_args()
    for scenario in arguments.scenarios:
        measure(scenario, arguments.codecs, arguments.samples, arguments.tokens, arguments.calibration)


if __name__ == "__main__":
    main()
