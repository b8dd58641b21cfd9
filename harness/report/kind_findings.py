"""What suits which kind of features, by how much, and where the bits lie: the question the benchmark was made for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.report import text
from harness.report.summary import GAP_NMSES, BoundRecord, JointBoundRecord, ScenarioSummary
from harness.statistics.curves import UNCODED_EBPFP
from lamofcbench.scenarios.kinds import KINDS, Kind

NAMES: Mapping[Kind, str] = {
    "kv-cache": "KV caches",
    "ssm-state": "State-space states",
    "text-embedding": "Text embeddings",
    "latent": "Latents",
    "hidden-state": "Hidden states",
}


Rates = Mapping[str, Mapping[str, float]]
"""Of each codec its EBPFP@p by scenario."""


def kind_findings(scenarios: Sequence[ScenarioSummary], rates: Rates, ranking_percent: int) -> list[str]:
    """A sentence or two for each kind of features on which at least two codecs can be compared.

    Args:
        scenarios: of one edition.
        rates: see `rates_of`; they may be of more codecs than the scenarios' summaries.
        ranking_percent: by which EBPFP@p codecs are compared.
    """
    found = []
    for kind in KINDS:
        own = [scenario for scenario in scenarios if scenario.features == kind]
        sentence = _best(kind, [scenario.scenario for scenario in own], rates, ranking_percent)
        if sentence:
            found.append(" ".join(filter(None, (sentence, _between_tensors(own)))))
    return found


def rates_of(scenarios: Sequence[ScenarioSummary], percent: int) -> dict[str, dict[str, float]]:
    """EBPFP@p of each codec by scenario, without anchor and floor, where there is a figure."""
    rates: dict[str, dict[str, float]] = {}
    for scenario in scenarios:
        for codec in scenario.codecs:
            rate = next((part.ebpfp.value for part in codec.retained if part.percent == percent), None)
            if codec.role == "codec" and rate is not None:
                rates.setdefault(codec.codec, {})[scenario.scenario] = rate
    return rates


def _best(kind: Kind, scenarios: Sequence[str], rates: Rates, percent: int) -> str:
    means = {
        codec: math.exp(math.fsum(math.log(found[name]) for name in scenarios) / len(scenarios))
        for codec, found in rates.items()
        if scenarios and found.keys() >= set(scenarios)
    }
    if len(means) < 2 or min(means.values()) >= UNCODED_EBPFP:
        return ""
    (best, lowest), (second, next_rate), *_ = sorted(means.items(), key=lambda item: item[1])
    count = "" if len(scenarios) == 1 else f" ({len(scenarios)} scenarios)"
    return (
        f"{NAMES[kind]}{count}: {text.shown(best)} keeps {percent} % of the score at an EBPFP of "
        f"{text.number(lowest)}; the next, {text.shown(second)}, takes {text.number(next_rate / lowest)} times as much."
    )


def _between_tensors(scenarios: Sequence[ScenarioSummary]) -> str:
    """How much less the joint Gaussian bound is than that of tensors one by one: what joining them can bring."""
    pairs = [
        (_at(scenario.bound, GAP_NMSES[0]), _at(scenario.bound.joint, GAP_NMSES[0]))
        for scenario in scenarios
        if scenario.bound is not None and scenario.bound.joint is not None
    ]
    known = [(alone, joint) for alone, joint in pairs if alone and joint is not None]
    if not known:
        return ""
    alone, joint = (math.fsum(column) / len(known) for column in zip(*known, strict=True))
    share = 100 * (1 - joint / alone)
    return (
        f"At an NMSE of {GAP_NMSES[0]:g} Gaussian tensors need an EBPFP of {text.number(alone)} one by one, and "
        f"{share:.0f} % less where those that share rows are coded together."
    )


def _at(bound: BoundRecord | JointBoundRecord, nmse: float) -> float | None:
    """A bound's EBPFP at an error, between its samples; None outside of them."""
    for (high, low), (left, right) in zip(
        zip(bound.nmse, bound.nmse[1:], strict=False), zip(bound.nmse_ebpfp, bound.nmse_ebpfp[1:], strict=False),
        strict=True,
    ):  # fmt: skip
        if high >= nmse >= low and high > low:
            part = math.log(high / nmse) / math.log(high / low) if low > 0 else (high - nmse) / (high - low)
            return left + part * (right - left)
    return None
