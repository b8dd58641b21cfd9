"""Panels as ``<svg>`` elements for the page: text stays text, colours are the page's own, marks tell what they are.

Colours come from classes ``c0`` to ``c7`` and from the page's variables, so that one drawing serves light and dark.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np

from harness.report.render.axes import Axis, bytes_ticks
from harness.report.render.figures import Limit, Mark, Panel, Series
from harness.report.render.labels import placed
from harness.report.render.styles import DASH_ARRAYS, MARKER_PATHS, Style
from harness.report.text import shown

WIDTH, HEIGHT = 440, 330
LEFT, RIGHT, TOP, BOTTOM = 56, 10, 34, 44
MAX_LABEL = 18
LETTER = 5.2
"""Of the small type: the mean width of a letter."""
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM


def render(panel: Panel, styles: Mapping[str, Style], name: str) -> str:
    """The element; every text in it is escaped.

    Args:
        panel: what to draw.
        styles: of each codec.
        name: unique within the page, for the clip path.
    """
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(panel.title)}">',
        f'<clipPath id="{name}"><rect x="{LEFT - 6}" y="{TOP - 6}" width="{PLOT_WIDTH + 12}" '
        f'height="{PLOT_HEIGHT + 12}"/></clipPath>',
        *_grid(panel),
    ]
    if panel.empty:
        parts.append(_text(LEFT + PLOT_WIDTH / 2, TOP + PLOT_HEIGHT / 2, panel.empty, "middle"))
    for level in panel.levels:
        y = _y(panel, level.y)
        parts.append(
            f'<path class="level{" dotted" if level.dotted else ""}" d="M{LEFT} {y:.1f}h{PLOT_WIDTH}"/>'
            + _text(LEFT + 4, y + (-4 if level.above else 11), level.label, "start", "small")
        )
    parts.append(f'<g class="plot" clip-path="url(#{name})">')
    for limit in panel.limits:
        corners = zip(limit.xs, limit.ys, strict=True)
        line = " ".join(f"{_x(panel, x):.1f},{_y(panel, y):.1f}" for x, y in corners)
        if limit.shaded:
            floor = f"{_x(panel, limit.xs[-1]):.1f},{TOP + PLOT_HEIGHT} {LEFT},{TOP + PLOT_HEIGHT}"
            parts.append(f'<polygon class="beyond" points="{line} {floor}"/>')
        kind = "limit" if limit.shaded else "limit dashed"
        parts.append(f'<polyline class="{kind}" points="{line}"><title>{escape(limit.label)}</title></polyline>')
    parts += [_series(panel, series, styles[series.codec]) for series in panel.series if series.marks]
    parts.append("</g>")
    for reference in panel.references:
        x = _x(panel, reference.x)
        parts.append(f'<path class="level dotted" d="M{x:.1f} {TOP}v{PLOT_HEIGHT}"/>')
        parts.append(_text(x + 4, TOP + PLOT_HEIGHT - 8, reference.label, "start", "small"))
    parts += _names(panel) if panel.named else []
    parts += _limit_names(panel)
    return "".join([*parts, "</svg>"])


def _grid(panel: Panel) -> list[str]:
    bottom, right = TOP + PLOT_HEIGHT, LEFT + PLOT_WIDTH
    parts = [f'<text class="name" x="{LEFT}" y="12">{escape(panel.y.label)}</text>']
    for value, label in panel.x.ticks:
        x = _x(panel, value)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>' + _text(x, bottom + 15, label, "middle"))
    for value, label in panel.y.ticks:
        y = _y(panel, value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>' + _text(LEFT - 6, y + 4, label, "end"))
    if panel.bytes_per_rate is not None:
        for value, label in bytes_ticks(panel.x, panel.bytes_per_rate):
            parts.append(_text(_x(panel, value), TOP - 7, f"{label}B", "middle", "small"))
    parts.append(f'<path class="frame" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    parts.append(f'<text class="name" x="{right}" y="{HEIGHT - 8}" text-anchor="end">{escape(panel.x.label)}</text>')
    return parts


def _limit_names(panel: Panel) -> list[str]:
    """What the bounds are called: in the corner below them, or in the one above where a bound runs through that."""
    names = [limit.label if limit.shaded else f"{limit.label} (dashed)" for limit in reversed(panel.limits)]
    right = LEFT + 8 + LETTER * max(map(len, names), default=0)
    top = TOP + PLOT_HEIGHT - 8 - 12 * len(names)
    if any(_passes(panel, limit, right, top) for limit in panel.limits):
        return [
            _text(LEFT + PLOT_WIDTH - 4, TOP + 12 + 12 * row, name, "end", "small limit-name")
            for row, name in enumerate(reversed(names))
        ]
    return [
        _text(LEFT + 8, TOP + PLOT_HEIGHT - 8 - 12 * row, name, "start", "small limit-name")
        for row, name in enumerate(names)
    ]


def _passes(panel: Panel, limit: Limit, right: float, top: float) -> bool:
    """Whether a bound, which falls from left to right, runs through the lower left corner up to a place."""
    xs, ys = [_x(panel, x) for x in limit.xs], [_y(panel, y) for y in limit.ys]
    return xs[0] <= right and bool(np.interp(right, xs, ys) > top)


def _series(panel: Panel, series: Series, style: Style) -> str:
    parts = [f'<g class="series c{style.colour}">']
    if series.joined and len(series.marks) > 1:
        line = " ".join(f"{_x(panel, m.x):.1f},{_y(panel, m.y):.1f}" for m in series.marks)
        dash = f' stroke-dasharray="{DASH_ARRAYS[style.dash]}"' if DASH_ARRAYS[style.dash] else ""
        parts.append(f'<polyline points="{line}"{dash}/>')
    for mark in series.marks:
        if mark.low is not None and mark.high is not None and mark.high > mark.low:
            x, low, high = _x(panel, mark.x), _y(panel, mark.low), _y(panel, mark.high)
            parts.append(f'<path class="bar" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
        parts.append(_mark(panel, mark, style))
    return "".join([*parts, "</g>"])


def _mark(panel: Panel, mark: Mark, style: Style) -> str:
    names = " ".join(name for name, given in (("faint", mark.faint), ("hollow", mark.hollow)) if given)
    kind = f' class="{names}"' if names else ""
    place = f"translate({_x(panel, mark.x):.1f} {_y(panel, mark.y):.1f})"
    return f'<path{kind} transform="{place}" d="{MARKER_PATHS[style.marker]}"><title>{escape(mark.text)}</title></path>'


def _names(panel: Panel) -> list[str]:
    """The codecs' names beside their marks, as far as there is room."""
    marks = [(_x(panel, m.x), _y(panel, m.y), shown(s.codec, MAX_LABEL)) for s in panel.series for m in s.marks]
    return [_text(label.x, label.y, label.text, "start", "small") for label in placed(marks, WIDTH, TOP + PLOT_HEIGHT)]


def swatch(style: Style) -> str:
    """A codec's line and marker, for a legend."""
    dash = f' stroke-dasharray="{DASH_ARRAYS[style.dash]}"' if DASH_ARRAYS[style.dash] else ""
    marker = f'<path transform="translate(14 7)" d="{MARKER_PATHS[style.marker]}"/>'
    line = f'<polyline points="1,7 27,7"{dash}/>'
    drawn = f'<g class="series c{style.colour}">{line}{marker}</g>'
    return f'<svg class="swatch" viewBox="0 0 28 14" aria-hidden="true">{drawn}</svg>'


def _x(panel: Panel, value: float) -> float:
    return LEFT + PLOT_WIDTH * _bounded(panel.x, value)


def _y(panel: Panel, value: float) -> float:
    return TOP + PLOT_HEIGHT * (1 - _bounded(panel.y, value))


def _bounded(axis: Axis, value: float) -> float:
    """Keeps what is far outside from making absurd coordinates."""
    return min(max(axis.place(value), -1.0), 2.0)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
