"""What a language model's outliers do to each codec, on the prose of the small edition.

    python hub_cards/small_outliers.py results/bench-small

The first token of a prompt is an attention sink, and its hidden state carries massive activations: a few channels a
thousand times as large as the rest. The codecs that ``make bench-small`` saved decode some test samples once more; then
the decoded features of the first token, or of the channels that carry the activations, are replaced by uncoded ones.
What that takes off the divergence is what coding the outliers has cost. Of each codec's rate points the one counts
whose divergence is nearest to `NEAR_NATS`, where codecs differ most.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from edition_leaderboard import summary_of
from torch import Tensor
from tqdm import tqdm

from harness.report.summary import CodecSummary, RatePoint, ScenarioSummary
from harness.results.store import CODEC_DIRECTORY
from harness.running.fidelity import Fidelity
from lamofcbench.atomic import write_json
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.registry import load_saved
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.features import FeatureSet
from lamofcbench.models.loading import load_model
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split

SCENARIO = "small-clu-prose"
OUTLIERS = Path(__file__).parent / "small" / "outliers.json"
SAMPLES = 16
NEAR_NATS = 0.1
MASSIVE = 100.0
"""A channel of the hidden state carries massive activations where one exceeds so many times the median magnitude."""


def massive_channels(samples: Sequence[FeatureSet]) -> Tensor:
    """The channels of the hidden state that carry massive activations, int64 ``[channels]``."""
    hidden = torch.cat([features["hidden"].float().abs() for features in samples])
    return (hidden.amax(0) > MASSIVE * hidden.median()).nonzero()[:, 0]


def with_first_token(original: FeatureSet, decoded: FeatureSet) -> FeatureSet:
    """The decoded features, of the first token the uncoded ones."""
    tensors = {}
    for name, tensor in decoded.tensors.items():
        tensors[name] = tensor.clone()
        tensors[name][..., :1, :] = original[name][..., :1, :]
    return FeatureSet(tensors, decoded.side)


def with_channels(original: FeatureSet, decoded: FeatureSet, channels: Tensor) -> FeatureSet:
    """The decoded features, with uncoded channels of the hidden state."""
    hidden = decoded["hidden"].clone()
    hidden[:, channels] = original["hidden"][:, channels]
    return FeatureSet({**decoded.tensors, "hidden": hidden}, decoded.side)


def chosen_points(scenario: ScenarioSummary) -> Iterator[tuple[CodecSummary, RatePoint]]:
    """Each codec with its point whose divergence is nearest to `NEAR_NATS`, on a logarithmic scale."""
    for codec in scenario.codecs:
        known = [(point, point.divergence_nats.value) for point in codec.points if point.divergence_nats.value]
        if codec.role == "codec" and known:
            yield codec, min(known, key=lambda pair: abs(math.log(pair[1] / NEAR_NATS)))[0]


class Probe:
    """The test samples, and how far replaced features are from uncoded ones."""

    def __init__(self) -> None:
        self.scenario = SCENARIOS.get(SCENARIO)
        reader = open_split(self.scenario, "test")
        self.samples = [reader.features(index) for index in range(SAMPLES)]
        self.uncoded = [features.with_given(None) for features in self.samples]
        self.channels = massive_channels(self.uncoded)
        self._fidelity = Fidelity(load_model(self.scenario))

    @torch.no_grad()
    def nats(self, changed: Callable[[FeatureSet, FeatureSet], FeatureSet], decoded: Sequence[FeatureSet]) -> float:
        """Mean divergence over scored tokens, of decoded features that are changed by (uncoded, decoded)."""
        columns, size = [], self.scenario.batch_size
        for start in range(0, len(self.samples), size):
            part = slice(start, start + size)
            features = [
                changed(original, one).with_given(original.given)
                for original, one in zip(self.samples[part], decoded[part], strict=True)
            ]
            columns += self._fidelity.tail(start, self.samples[part], features)[1]
        return sum(c["response_divergence_nats"] for c in columns) / sum(c["response_positions"] for c in columns)

    def measured(self, codec: Codec) -> dict[str, float]:
        """The divergences of a codec, and its normalised error of the first token and of the others' hidden states."""
        decoded = [codec.decode(codec.encode(features)) for features in self.uncoded]
        pairs = list(zip(self.uncoded, decoded, strict=True))
        return {
            "nats": self.nats(lambda _, one: one, decoded),
            "nats_with_first_token": self.nats(with_first_token, decoded),
            "nats_with_channels": self.nats(lambda a, b: with_channels(a, b, self.channels), decoded),
            "first_token_error": _relative([(a["hidden"][:1], b["hidden"][:1]) for a, b in pairs]),
            "others_error": _relative([(a["hidden"][1:], b["hidden"][1:]) for a, b in pairs]),
        }


def _relative(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Squared error over energy."""
    error = sum(float((a.double() - b.double()).square().sum()) for a, b in pairs)
    return error / sum(float(a.double().square().sum()) for a, _ in pairs)


def outliers(results: Path, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """What is measured, as plain JSON values.

    Args:
        results: of the bench.
        before: what was measured earlier; figures of the same results on the same data stay, and those of codecs that
            the results lack.

    Raises:
        LaMoFCBenchError: if there is no report of the scenario.
    """
    scenario = next((part for part in summary_of(results).scenarios if part.scenario == SCENARIO), None)
    if scenario is None:
        raise LaMoFCBenchError(f"{results} has no results of {SCENARIO}")
    probe = Probe()
    hidden = torch.cat([features["hidden"].float().abs() for features in probe.uncoded])
    kept = before["codecs"] if before is not None and before["data_revision"] == scenario.data_revision else {}
    found = {}
    for codec, point in tqdm(list(chosen_points(scenario))):
        known = kept.get(codec.codec, {})
        if (known.get("label"), known.get("ebpfp")) == (point.label, point.ebpfp):
            found[codec.codec] = known  # the same result: its code may have gone on since, and load it no more
            continue
        saved = load_saved(results / point.folder / CODEC_DIRECTORY)
        found[codec.codec] = {"label": point.label, "ebpfp": point.ebpfp, **probe.measured(saved)}
    return {
        "samples": SAMPLES,
        "data_revision": scenario.data_revision,
        "largest": float(hidden.max()),
        "median": float(hidden.median()),
        "channels": probe.channels.tolist(),
        "codecs": kept | found,
    }


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="what `make bench-small` wrote")
    write_json(OUTLIERS, outliers(parser.parse_args().results, measured()))


def measured() -> dict[str, Any] | None:
    """What was measured last; None where nothing was."""
    return json.loads(OUTLIERS.read_text(encoding="utf-8")) if OUTLIERS.is_file() else None


if __name__ == "__main__":
    main()
