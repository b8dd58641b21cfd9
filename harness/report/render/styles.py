"""Colour, marker and line of each codec, the same in every figure of a report.

Colours are those of Okabe and Ito, which stay apart for colour-blind readers; markers differ as well, so that a grey
print still tells the codecs apart. The page has lighter ones of the same hues for dark screens.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.summary import Summary

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#A6761D")
DARK_COLOURS = ("#4FA8E0", "#FF8A4F", "#35C99A", "#E79BC6", "#F2B63C", "#93D4F7", "#B59BE0", "#D3A04A")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""In matplotlib's letters."""

MARKER_PATHS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-3.6-3.6h7.2v7.2h-7.2z",
    "M0-4.6L4.4 3.2H-4.4z",
    "M0-4.8L4.4 0L0 4.8L-4.4 0z",
    "M0 4.6L4.4-3.2H-4.4z",
    "M-1.5-4.4h3v2.9h2.9v3h-2.9v2.9h-3v-2.9h-2.9v-3h2.9z",
    "M-4.2-2.4L-2.4-4.2L0-1.8L2.4-4.2L4.2-2.4L1.8 0L4.2 2.4L2.4 4.2L0 1.8L-2.4 4.2L-4.2 2.4L-1.8 0z",
    "M0-5L1.3-1.7L4.8-1.5L2 .7L3 4.1L0 2.1L-3 4.1L-2 .7L-4.8-1.5L-1.3-1.7z",
)
DASHES = ("-", "--", ":", "-.")
DASH_ARRAYS = ("", "6 3", "2 3", "6 3 2 3")


@dataclass(frozen=True)
class Style:
    """Positions in `COLOURS`, `MARKERS` and `DASHES`."""

    colour: int
    marker: int
    dash: int


def styles_of(summary: Summary) -> dict[str, Style]:
    """A style for each codec, by rank over all scenarios; the first 64 differ."""
    names = dict.fromkeys(
        [row.codec for row in summary.overall]
        + [codec.codec for part in summary.scenarios for codec in part.codecs if codec.role == "codec"]
    )
    return {name: style_at(at) for at, name in enumerate(names)}


def style_at(at: int) -> Style:
    """The style of the codec at a place; the first 64 differ, the first eight in colour."""
    return Style(at % len(COLOURS), (at + at // len(COLOURS)) % len(MARKERS), at // len(COLOURS) % len(DASHES))
