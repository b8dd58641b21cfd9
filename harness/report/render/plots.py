"""Panels as PNG files, for markdown, papers and model cards.

Figures are drawn on `Figure` objects, never through pyplot, so that no global state and no window system is touched.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.report import text
from harness.report.render.axes import bytes_ticks
from harness.report.render.figures import Panel, error_panel, fidelity_panel, score_panel
from harness.report.render.styles import COLOURS, DASHES, MARKERS, Style
from harness.report.summary import CodecSummary, ScenarioSummary, Summary
from lamofcbench.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#222222"
PNG_DPI = 160
MAX_LEGEND_NAME = 32


def scenario_figure(scenario: ScenarioSummary, styles: Mapping[str, Style]) -> Figure:
    """Score, fidelity where there is one, and normalised error over rate, side by side."""
    panels = [panel for panel in (score_panel(scenario), fidelity_panel(scenario), error_panel(scenario)) if panel]
    figure = _figure(5.5 * len(panels), 4.9)
    for ax, panel in zip(figure.subplots(1, len(panels)), panels, strict=True):
        draw(ax, panel, styles)
    _plain(figure.suptitle(text.shown(scenario.title), fontsize=12, fontweight="bold"))
    _legend(figure, scenario.codecs, styles)
    return figure


def overview_figure(summary: Summary, styles: Mapping[str, Style]) -> Figure:
    """Score over rate of every scenario, three in a row."""
    count = len(summary.scenarios)
    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure = _figure(max(5.4 * columns, 6.4), 4.2 * rows + 0.7)
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for scenario, ax in zip(summary.scenarios, axes, strict=False):
        draw(ax, score_panel(scenario), styles)
        _plain(ax.set_title(text.shown(scenario.scenario), fontsize=11, fontweight="bold", pad=10))
    for ax in list(axes)[count:]:
        ax.set_visible(False)
    codecs = {codec.codec: codec for scenario in summary.scenarios for codec in scenario.codecs}
    _legend(figure, list(codecs.values()), styles)
    return figure


def draw(ax: Axes, panel: Panel, styles: Mapping[str, Style]) -> None:
    """Draws a panel; bytes a sample along the top where it has them."""
    if panel.empty:
        ax.text(0.5, 0.5, panel.empty, transform=ax.transAxes, ha="center", color=INK)
    for series in panel.series:
        if series.marks:
            marks = series.marks
            errors = [[max(m.y - (m.y if m.low is None else m.low), 0.0) for m in marks]]
            errors += [[max((m.y if m.high is None else m.high) - m.y, 0.0) for m in marks]]
            given = any(m.low is not None for m in marks)
            look = {"capsize": 2.5, "elinewidth": 1, "markersize": 5.5, **_look(styles[series.codec])}
            ax.errorbar([m.x for m in marks], [m.y for m in marks], yerr=errors if given else None, **look)
    for row, limit in enumerate(reversed(panel.limits)):
        style, width = ("-", 1.6) if limit.shaded else ("--", 1.0)
        ax.plot(limit.xs, limit.ys, color=INK, linestyle=style, linewidth=width, zorder=1)
        if limit.shaded:
            ax.fill_between(limit.xs, limit.ys, panel.y.low, color=INK, alpha=0.06, linewidth=0)
        label = limit.label if limit.shaded else f"{limit.label} (dashed)"
        ax.annotate(label, (0.02, 0.03 + 0.045 * row), xycoords="axes fraction", fontsize=8, color=INK, alpha=0.85)
    for level in panel.levels:
        ax.axhline(level.y, color=INK, linestyle=":" if level.dotted else "--", linewidth=1, alpha=0.75, zorder=1)
        ax.annotate(
            level.label,
            (0.012, level.y),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3 if level.above else -3),
            textcoords="offset points",
            va="bottom" if level.above else "top",
            fontsize=8,
            color=INK,
            alpha=0.85,
        )
    for reference in panel.references:
        ax.axvline(reference.x, color=INK, linestyle=":", linewidth=1, alpha=0.75, zorder=1)
        ax.annotate(
            reference.label,
            (reference.x, 0.03),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=8,
            color=INK,
            alpha=0.85,
        )
    for axis, bare in ((panel.x, ax.xaxis), (panel.y, ax.yaxis)):
        _scale(bare, axis.log, axis.low, axis.high, axis.ticks)
    ax.set_xlabel(panel.x.label)
    _plain(ax.set_ylabel(panel.y.label))
    ax.grid(True, color="#888888", alpha=0.25, linewidth=0.7)
    ax.spines[["top", "right"]].set_visible(False)
    if panel.bytes_per_rate is not None:
        top = ax.secondary_xaxis("top")
        top.set_xscale("log")
        _ticks(top.xaxis, bytes_ticks(panel.x, panel.bytes_per_rate))
        top.set_xlabel("bytes per sample", fontsize=8.5)
        top.tick_params(labelsize=8)
        top.spines["top"].set_visible(False)


def _look(style: Style) -> dict[str, Any]:
    return {
        "color": COLOURS[style.colour],
        "marker": MARKERS[style.marker],
        "linestyle": DASHES[style.dash],
    }


def _scale(axis: Any, log: bool, low: float, high: float, ticks: Sequence[tuple[float, str]]) -> None:
    name = axis.axis_name
    getattr(axis.axes, f"set_{name}scale")("log" if log else "linear")
    getattr(axis.axes, f"set_{name}lim")(low, high)
    _ticks(axis, ticks)


def _ticks(axis: Any, ticks: Sequence[tuple[float, str]]) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axis.set_major_locator(FixedLocator([value for value, _ in ticks]))
    axis.set_major_formatter(FixedFormatter([label for _, label in ticks]))
    axis.set_minor_locator(NullLocator())


def _figure(width_inches: float, height_inches: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _legend(figure: Figure, codecs: Sequence[CodecSummary], styles: Mapping[str, Style]) -> None:
    from matplotlib.lines import Line2D

    names = [codec.codec for codec in codecs if codec.role == "codec"]
    if not names:
        return
    handles = [Line2D([], [], markersize=5.5, **_look(styles[name])) for name in names]
    labels = [text.shown(name, MAX_LEGEND_NAME) for name in names]
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
    write_bytes(path, buffer.getvalue())
