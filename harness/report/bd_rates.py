"""BD-rates of codecs to a reference, with intervals from the draws of both curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.report.scored import Draws, Scored
from harness.report.summary import BDRateRecord, CodecSummary
from harness.statistics.bd_rate import BDRate, bd_rate, bd_rates
from harness.statistics.bootstrap import interval

MEASURES = ("score", "mse", "nmse")


def with_bd_rates(
    codecs: Sequence[CodecSummary], entries: Mapping[str, Sequence[Scored]], reference: str | None, direction: str
) -> tuple[list[CodecSummary], dict[str, dict[str, Draws]]]:
    """The codecs with their BD-rates, and by codec and measure the draws of each.

    Args:
        codecs: of one scenario.
        entries: by codec, the results of its points in their order.
        reference: the codec that BD-rates refer to.
        direction: of the score.
    """
    base = next((codec for codec in codecs if codec.codec == reference), None)
    filled, all_draws = [], {}
    for codec in codecs:
        records, all_draws[codec.codec] = {}, dict[str, Draws]()
        for measure in MEASURES:
            draws = None
            if base is None:
                found = BDRate(reason=f"no result of {reference}" if reference else "no reference codec chosen")
            elif codec.role != "codec":
                found = BDRate(reason=f"the {codec.role} is no curve")
            else:
                found = bd_rate(*_curve(base, measure, direction), *_curve(codec, measure, direction))
                if found.percent is not None and codec is not base and measure != "nmse":  # no headline
                    draws = _draws(entries[base.codec], entries[codec.codec], measure, direction)
            bounds = interval(draws) if draws is not None and len(draws) else None
            low, high = bounds or (None, None)
            if draws is not None:
                all_draws[codec.codec][measure] = draws
            records[f"bd_rate_{measure}"] = BDRateRecord(
                percent=found.percent, low=low, high=high, overlap=found.overlap, reason=found.reason
            )
        filled.append(codec.model_copy(update=records))
    return filled, all_draws


def _curve(codec: CodecSummary, measure: str, direction: str) -> tuple[list[float], list[float]]:
    """Rates and qualities of the points that have one."""
    figures = {"score": [p.score.value for p in codec.points], "mse": [p.mse for p in codec.points]}
    figures["nmse"] = [p.nmse for p in codec.points]
    values = np.array([math.nan if value is None else value for value in figures[measure]])
    qualities = _quality(values, measure, direction)
    rates = np.array([math.nan if p.ebpfp is None else p.ebpfp for p in codec.points])
    kept = np.isfinite(qualities) & np.isfinite(rates)
    return rates[kept].tolist(), qualities[kept].tolist()


def _quality(values: NDArray[np.float64], measure: str, direction: str) -> NDArray[np.float64]:
    """What rises as the codec gets better: errors in decibels, as PSNR; a lossless point has no finite one."""
    if measure == "score":
        return values if direction == "up" else -values
    with np.errstate(divide="ignore", invalid="ignore"):
        return -10 * np.log10(values)


def _draws(reference: Sequence[Scored], codec: Sequence[Scored], measure: str, direction: str) -> Draws | None:
    """The BD-rate of each draw; NaN where it is undefined there, None where there are no draws."""
    curves_of = []
    for entries in (reference, codec):
        found = [getattr(entry, f"{measure}_draws") for entry in entries]
        if any(draws is None for draws in found):
            return None
        rates = np.stack([entry.rate_draws for entry in entries], axis=-1)
        curves_of += [rates, _quality(np.stack(found, axis=-1), measure, direction)]
    return bd_rates(*curves_of)
