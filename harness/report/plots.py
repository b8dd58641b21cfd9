"""Rate-score and rate-error figures: as PNG files, and as SVG for the page.

Colours are those of Okabe and Ito, which stay apart for colour-blind readers; markers differ as well, so that a grey
print still tells the codecs apart. Figures are drawn on `Figure` objects, never through pyplot, so that no global state
and no window system is touched.
"""

from __future__ import annotations

import io
import math
import os
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.curves import UNCODED_EBPFP
from harness.report import text
from harness.report.summary import CodecSummary, ScenarioSummary, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#A6761D")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", ":", "-.")
INK = "#222222"
PNG_DPI = 160
_MARGIN_OCTAVES = 0.35

Style = dict[str, Any]


def styles_of(summary: Summary) -> dict[str, Style]:
    """Colour, marker and line of each codec, the same in every figure of a report."""
    names = dict.fromkeys(
        [row.codec for row in summary.overall]
        + [codec.codec for part in summary.scenarios for codec in part.codecs if codec.role == "codec"]
    )
    return {
        name: {
            "color": COLOURS[position % len(COLOURS)],
            "marker": MARKERS[position % len(MARKERS)],
            "linestyle": DASHES[position // len(COLOURS) % len(DASHES)],
        }
        for position, name in enumerate(names)
    }


def scenario_figure(scenario: ScenarioSummary, styles: dict[str, Style]) -> Figure:
    """Score and normalised error over rate, side by side."""
    figure = _figure(11.0, 4.9)
    left, right = figure.subplots(1, 2)
    draw_score(left, scenario, styles)
    draw_error(right, scenario, styles)
    _plain(figure.suptitle(text.shown(scenario.title), fontsize=12, fontweight="bold"))
    _legend(figure, scenario.codecs, styles)
    return figure


def overview_figure(summary: Summary, styles: dict[str, Style]) -> Figure:
    """Score over rate of every scenario, three in a row."""
    count = len(summary.scenarios)
    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure = _figure(max(5.4 * columns, 6.4), 4.2 * rows + 0.7)
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for scenario, ax in zip(summary.scenarios, axes, strict=False):
        draw_score(ax, scenario, styles)
        _plain(ax.set_title(text.shown(scenario.scenario), fontsize=11, fontweight="bold", pad=10))
    for ax in list(axes)[count:]:
        ax.set_visible(False)
    codecs = {codec.codec: codec for scenario in summary.scenarios for codec in scenario.codecs}
    _legend(figure, list(codecs.values()), styles)
    return figure


def single_figure(draw: Callable[[Axes, ScenarioSummary, dict[str, Style]], None], scenario: ScenarioSummary,
                  styles: dict[str, Style]) -> Figure:  # fmt: skip
    """One panel for the page, where the panels stand side by side or below each other as the screen allows."""
    figure = _figure(5.6, 4.4)
    ax = figure.subplots()
    draw(ax, scenario, styles)
    _legend(figure, scenario.codecs, styles)
    return figure


def draw_score(ax: Axes, scenario: ScenarioSummary, styles: dict[str, Style]) -> None:
    """Score over EBPFP with intervals, between the lines of anchor and floor; bytes a sample along the top."""
    for codec in scenario.codecs:
        points = [(p.ebpfp, p.score) for p in codec.points if p.score.value is not None]
        if codec.role != "codec" or not points:
            continue
        rates, scores = zip(*points, strict=True)
        errors = [[max((s.value - s.low), 0.0) if s.low is not None else 0.0 for s in scores]]
        errors += [[max((s.high - s.value), 0.0) if s.high is not None else 0.0 for s in scores]]
        values = [s.value for s in scores]
        ax.errorbar(rates, values, yerr=errors, capsize=2.5, elinewidth=1, markersize=5.5, **styles[codec.codec])
    _level(ax, scenario.anchor.value, "uncoded (anchor)", "--", above=scenario.direction == "up")
    _level(ax, scenario.floor.value, "calibration mean (floor)", ":", above=scenario.direction == "up")
    arrow = "higher is better" if scenario.direction == "up" else "lower is better"
    _plain(ax.set_ylabel(f"{text.metric_name(scenario.metric)} ({arrow})"))
    ax.margins(y=0.1)
    _rate_axis(ax, scenario)


def draw_error(ax: Axes, scenario: ScenarioSummary, styles: dict[str, Style]) -> None:
    """Normalised error over EBPFP; points without error (lossless codecs) cannot stand on a log axis."""
    drawn = False
    for codec in scenario.codecs:
        points = [(p.ebpfp, p.nmse) for p in codec.points if p.nmse]
        if codec.role == "codec" and points:
            ax.plot(*zip(*points, strict=True), markersize=5.5, **styles[codec.codec])
            drawn = True
    if drawn:
        ax.set_yscale("log")
        _level(ax, 1.0, "calibration mean (floor)", ":", above=True)
    else:
        ax.text(0.5, 0.5, "no lossy results", transform=ax.transAxes, ha="center", color=INK)
        ax.set_yticks([])
    ax.set_ylabel("NMSE (lower is better)")
    _rate_axis(ax, scenario)


def _figure(width_inches: float, height_inches: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _rate_axis(ax: Axes, scenario: ScenarioSummary) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    rates = [p.ebpfp for codec in scenario.codecs if codec.role == "codec" for p in codec.points]
    low = min([*rates, UNCODED_EBPFP / 2]) * 2**-_MARGIN_OCTAVES
    high = max([*rates, UNCODED_EBPFP]) * 2**_MARGIN_OCTAVES
    ax.set_xscale("log", base=2)
    ax.set_xlim(low, high)
    octaves = range(math.floor(math.log2(high)), math.ceil(math.log2(low)) - 1, -1)  # down from 32, which is labelled
    ax.xaxis.set_major_locator(
        FixedLocator([2.0**octave for octave in octaves[:: max(1, math.ceil(len(octaves) / 9))]])
    )
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("EBPFP (uncoded = 32)")
    ax.grid(True, color="#888888", alpha=0.25, linewidth=0.7)
    ax.spines[["top", "right"]].set_visible(False)
    _bytes_axis(ax, scenario.raw_bytes_per_sample / UNCODED_EBPFP, low, high)


def _bytes_axis(ax: Axes, bytes_per_ebpfp: float, low: float, high: float) -> None:
    """The same axis in bytes a sample along the top; the two are proportional within a scenario."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    def to_bytes(rate: Any) -> Any:
        return np.multiply(rate, bytes_per_ebpfp)

    def to_rate(size: Any) -> Any:
        return np.divide(size, bytes_per_ebpfp)

    low, high = low * bytes_per_ebpfp, high * bytes_per_ebpfp
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5) if low <= step * 10.0**decade <= high]
    top = ax.secondary_xaxis("top", functions=(to_bytes, to_rate))
    top.set_xscale("log", base=10)
    top.xaxis.set_major_locator(FixedLocator(ticks[:: max(1, math.ceil(len(ticks) / 8))]))
    top.xaxis.set_major_formatter(FuncFormatter(_short_bytes))
    top.xaxis.set_minor_locator(NullLocator())
    top.set_xlabel("bytes per sample", fontsize=8.5)
    top.tick_params(labelsize=8)
    top.spines["top"].set_visible(False)


def _short_bytes(value: float, _: object = None) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _level(ax: Axes, value: float | None, label: str, linestyle: str, *, above: bool) -> None:
    if value is None:
        return
    ax.axhline(value, color=INK, linestyle=linestyle, linewidth=1, alpha=0.75, zorder=1)
    ax.annotate(
        label,
        (0.012, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3 if above else -3),
        textcoords="offset points",
        va="bottom" if above else "top",
        fontsize=8,
        color=INK,
        alpha=0.85,
    )


def _legend(figure: Figure, codecs: Sequence[CodecSummary], styles: dict[str, Style]) -> None:
    from matplotlib.lines import Line2D

    names = [codec.codec for codec in codecs if codec.role == "codec"]
    if not names:
        return
    handles = [Line2D([], [], markersize=5.5, **styles[name]) for name in names]
    labels = [shown if len(shown) <= 28 else f"{shown[:27]}…" for shown in map(text.shown, names)]
    column_inches = 0.9 + 0.085 * max(map(len, labels))  # the line, the gaps, and letters of 10 points
    columns = min(len(labels), max(1, int(figure.get_figwidth() / column_inches)))
    # Labels are set afterwards: the constructor drops those that begin with an underscore.
    numbers = [str(position) for position in range(len(labels))]
    legend = figure.legend(handles, numbers, loc="outside lower center", ncols=columns, frameon=False)
    for drawn, label in zip(legend.get_texts(), labels, strict=True):
        _plain(drawn)
        drawn.set_text(label)


def _plain(artist: Any) -> None:
    """Keeps matplotlib from reading ``$...$`` in names as formulas, which may not even parse."""
    artist.set_parse_math(False)


def save_png(figure: Figure, path: Path) -> None:
    """Writes the file whole or not at all."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # names may be in any script
        figure.savefig(buffer, format="png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None})
    write_whole(path, buffer.getvalue())


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that a reader sees the old or the new one, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)


def to_svg(figure: Figure, prefix: str, description: str) -> str:
    """The figure as an ``<svg>`` element for an HTML page, in the page's own text colour.

    Args:
        figure: drawn with `INK` for everything that is neither data nor grid.
        prefix: makes ids unique within the page.
        description: what a screen reader says; escaped here.
    """
    from html import escape

    import matplotlib

    buffer = io.StringIO()
    options: Any = {
        "svg.fonttype": "path",
        "svg.hashsalt": prefix,
    }  # paths: the page must look the same without our fonts
    with matplotlib.rc_context(options), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)  # matplotlib repeats each text, names included, as a comment
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = svg.replace('href="#', f'href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    svg = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1)
    return re.sub(r"#222222|#000000", "currentColor", svg)
