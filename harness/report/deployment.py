"""The question of every deployment: over this link, does coding pay, and with which codec?

One sample takes ``encode + coded bits / link rate + decode`` seconds; uncoded it takes ``raw bits / link rate``. Times
are medians over samples, on the machine that ran the benchmark; sizes are means.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.report.summary import LINKS_MBIT_PER_S, CodecSummary, LinkAnswer, LinkTime
from harness.statistics.curves import keeps

REQUIRED_RETENTION = 0.95


def link_times(
    coded_bytes: float, raw_bytes: float, encode_seconds: float | None, decode_seconds: float | None
) -> list[LinkTime]:
    """Times of one rate point over each link; empty where its timings are missing.

    Args:
        coded_bytes: per sample.
        raw_bytes: per sample.
        encode_seconds: per sample.
        decode_seconds: per sample.
    """
    if encode_seconds is None or decode_seconds is None:
        return []
    times = []
    for link in LINKS_MBIT_PER_S:
        transfer = transfer_seconds(coded_bytes, link)
        total = encode_seconds + transfer + decode_seconds
        speedup = transfer_seconds(raw_bytes, link) / total
        times.append(LinkTime(mbit_per_s=link, transfer_seconds=transfer, total_seconds=total, speedup=speedup))
    return times


def transfer_seconds(size_bytes: float, mbit_per_s: float) -> float:
    """Seconds for so many bytes at so many 10^6 bits a second.

    Example:
        >>> transfer_seconds(125_000, mbit_per_s=10)
        0.1
    """
    return 8 * size_bytes / (mbit_per_s * 1e6)


def link_answers(codecs: Iterable[CodecSummary], raw_bytes: float) -> list[LinkAnswer]:
    """The fastest choice for each link among uncoded features and all rate points that keep 95 % of the score."""
    candidates = [
        (codec.codec, point)
        for codec in codecs
        for point in codec.points
        if codec.role == "codec" and keeps(point.retention.value, REQUIRED_RETENTION)
    ]
    answers = []
    for position, link in enumerate(LINKS_MBIT_PER_S):
        uncoded = transfer_seconds(raw_bytes, link)
        best: tuple[float, str | None, str] = (uncoded, None, "")
        for codec, point in candidates:
            if point.links and point.links[position].total_seconds < best[0]:
                best = (point.links[position].total_seconds, codec, point.label)
        seconds, name, label = best
        answers.append(
            LinkAnswer(
                mbit_per_s=link,
                uncoded_seconds=uncoded,
                codec=name,
                label=label,
                total_seconds=seconds,
                speedup=1.0 if name is None else uncoded / seconds,  # uncoded features may take no time at all
            )
        )
    return answers
