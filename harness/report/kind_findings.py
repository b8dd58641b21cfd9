"""What suits which kind of features, by how much, and where the bits lie: the question the benchmark was made for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.report import text
from harness.report.summary import GAP_NMSES, ScenarioSummary
from harness.statistics.curves import UNCODED_EBPFP, ReachedRate, geometric_mean, rate_at_error
from lamofcbench.scenarios.kinds import KINDS, Kind

NAMES: Mapping[Kind, str] = {
    "kv-cache": "KV caches",
    "ssm-state": "State-space states",
    "text-embedding": "Text embeddings",
    "latent": "Latents",
    "hidden-state": "Hidden states",
}


Rates = Mapping[str, Mapping[str, ReachedRate]]
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


def rates_of(scenarios: Sequence[ScenarioSummary], percent: int) -> Rates:
    """EBPFP@p of each codec by scenario, without anchor and floor, where there is a figure."""
    rates: dict[str, dict[str, ReachedRate]] = {}
    for scenario in scenarios:
        for codec in scenario.codecs:
            rate = codec.retained_at(percent)
            if codec.role == "codec" and rate.ebpfp.value is not None and rate.bound is not None:
                rates.setdefault(codec.codec, {})[scenario.scenario] = ReachedRate(rate.ebpfp.value, rate.bound)
    return rates


def _best(kind: Kind, scenarios: Sequence[str], rates: Rates, percent: int) -> str:
    means = {
        codec: float(geometric_mean([found[name].ebpfp for name in scenarios]))
        for codec, found in rates.items()
        if scenarios and found.keys() >= set(scenarios)
    }
    if len(means) < 2 or min(means.values()) >= UNCODED_EBPFP:
        return ""
    (best, lowest), (second, next_rate), *_ = sorted(means.items(), key=lambda item: item[1])
    count = "" if len(scenarios) == 1 else f" ({len(scenarios)} scenarios)"
    at_most, next_at_most = (any(rates[name][one].bound == "at most" for one in scenarios) for name in (best, second))
    lead = text.lead(lowest, next_rate, at_most=at_most, next_at_most=next_at_most)
    return (
        f"{NAMES[kind]}{count}: {text.shown(best)} keeps {percent} % of the score at an EBPFP of "
        f"{'at most ' if at_most else ''}{text.number(lowest)}; the next, {text.shown(second)}, "
        f"{f'takes {lead}' if lead else f'at one of at most {text.number(next_rate)}'}."
    )


def _between_tensors(scenarios: Sequence[ScenarioSummary]) -> str:
    """How much less the joint Gaussian bound is than that of tensors one by one: what joining them can bring."""
    pairs = [
        [rate_at_error(one.nmse_ebpfp, one.nmse, GAP_NMSES[0]) for one in (scenario.bound, scenario.bound.joint)]
        for scenario in scenarios
        if scenario.bound is not None and scenario.bound.joint is not None
    ]
    known = [(alone, joint) for alone, joint in pairs if not math.isnan(alone + joint)]
    if not known:
        return ""
    alone, joint = (math.fsum(column) / len(known) for column in zip(*known, strict=True))
    share = 100 * (1 - joint / alone)
    return (
        f"At an NMSE of {GAP_NMSES[0]:g} Gaussian tensors need an EBPFP of {text.number(alone)} one by one, and "
        f"{share:.0f} % less where those that share rows are coded together."
    )
