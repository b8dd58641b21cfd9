"""The board as one HTML page that asks for nothing else: data, style, script and the frames of its figures are inside.

The script makes text nodes of all that a submitter wrote, never markup; the data stand in the page as JSON whose angle
brackets are escaped, and links are checked to be https here (`board.Row`) and there. Curves, which are most of the data
and needed only when somebody has chosen codecs, are compressed; the table is not, and stands at once.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from typing import Any

from harness.leaderboard.board import Board, BoardScenario, CurvePoint, Edition, Rate, Row
from harness.report.kind_findings import NAMES
from harness.report.render import html, svg
from harness.report.render.figures import Panel, score_frame
from harness.report.render.styles import COLOURS, DASH_ARRAYS, MARKER_PATHS, style_at
from harness.statistics.curves import UNCODED_EBPFP
from lamofcbench.codecs.knowledge import CLASSES

PACKAGE = "harness.leaderboard"
MOST_CHOSEN = len(COLOURS)
"""Curves in one figure: as many as there are colours."""

CATEGORIES = {
    "CVU": "Vision (CVU)", "CLU": "Language (CLU)", "CAU": "Speech and audio (CAU)", "CTTI": "Text to image (CTTI)",
}  # fmt: skip


def render(board: Board) -> str:
    """The page's HTML."""
    content = html.source(PACKAGE, "board.html")
    script = html.source(PACKAGE, "board.js")
    panels = {id: panel for edition in board.editions for id, panel in _panels(edition).items()}
    return html.template(content, {}).render(
        board=board,
        policy=html.policy(script),
        style=html.style(html.source(PACKAGE, "board.css")),
        script=html.safe(script),
        data=html.safe(embedded(_packed(board, panels))),
        curves=compressed(_packed_curves(board)),
        frames=[
            (f"frame-{number}", html.safe(svg.render(panel, {}, f"clip-{number}")))
            for number, panel in enumerate(panels.values())
        ],
        classes=CLASSES,
    )


def drawn(edition: Edition) -> list[str]:
    """The frames of an edition's figures, as ``<svg>`` elements."""
    return [svg.render(panel, {}, f"clip-{number}") for number, panel in enumerate(_panels(edition).values())]


def embedded(value: Any) -> str:
    r"""JSON that may stand within a script element: nothing in it can close the element or open a comment.

    Example:
        >>> embedded({"name": "</script><!--"})
        '{"name":"\\u003c/script\\u003e\\u003c!--"}'
    """
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return written


def compressed(value: Any) -> str:
    """JSON, deflated, in base64.

    Example:
        >>> import zlib
        >>> zlib.decompress(base64.b64decode(compressed([1, 2])))
        b'[1,2]'
    """
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(written.encode(), 9)).decode()


# ---------------------------------------------------------------------------------------------------------- the data


def _packed(board: Board, panels: dict[str, Panel]) -> dict[str, Any]:
    """What the table and the frames of figures need; a row's figures by the place of their view."""
    numbers = {id: number for number, id in enumerate(panels)}
    editions = []
    for edition in board.editions:
        views = _views(edition)
        editions.append(
            {
                "name": edition.name,
                "percent": edition.percent,
                "views": [{"key": key, "group": group, "label": label} for key, group, label in views],
                "scenarios": [
                    {
                        "id": scenario.id,
                        "category": scenario.category,
                        "kind": scenario.features,
                        "frame": numbers[scenario.id],
                        "title": scenario.title,
                        "variant": scenario.variant_of is not None,
                        "axes": [axis for part in _axes(panels[scenario.id]) for axis in part],
                    }
                    for scenario in edition.scenarios
                ],
                "rows": [_packed_row(row, [key for key, _, _ in views]) for row in edition.rows],
            }
        )
    styles = [style_at(at) for at in range(MOST_CHOSEN)]
    return {
        "editions": editions,
        "plot": [svg.LEFT, svg.TOP, svg.PLOT_WIDTH, svg.PLOT_HEIGHT],
        "styles": [
            {"colour": style.colour, "marker": MARKER_PATHS[style.marker], "dash": DASH_ARRAYS[style.dash]}
            for style in styles
        ],
    }


def _views(edition: Edition) -> list[tuple[str, str, str]]:
    """Key, group and label of everything that codecs are ranked by, as far as there are figures."""
    categories = dict.fromkeys(name for row in edition.rows for name in row.categories)
    kinds = dict.fromkeys(name for row in edition.rows for name in row.kinds)
    return [
        ("overall", "", "Overall"),
        *((f"category:{name}", "Categories", CATEGORIES.get(name, name)) for name in sorted(categories)),
        *((f"kind:{name}", "Kinds of features", NAMES[name]) for name in sorted(kinds)),
        *((f"scenario:{scenario.id}", "Scenarios", scenario.id) for scenario in edition.scenarios),
    ]


def _packed_row(row: Row, keys: Iterable[str]) -> dict[str, Any]:
    rates: dict[str, Rate | None] = {"overall": row.overall}
    for prefix, found in (("category", row.categories), ("kind", row.kinds), ("scenario", row.scenarios)):
        rates |= {f"{prefix}:{name}": rate for name, rate in found.items()}
    return {
        "codec": row.codec,
        "by": row.organisation,
        "link": row.link or "",
        "commit": row.commit or "",
        "licence": row.licence,
        "level": row.level,
        "unreplayed": len(row.not_replayed),
        "of": len(row.curves),
        "checked": row.checked_on,
        "class": row.trained_on,
        "state": row.state_bytes,
        "encode": row.encode_mb_per_s,
        "decode": row.decode_mb_per_s,
        "rates": [_packed_rate(rates.get(key)) for key in keys],
    }


def _packed_rate(rate: Rate | None) -> Any:
    """Value, low, high, ranks and the mark of a bound; 0 for no figure."""
    if rate is None:
        return 0
    mark = {"at most": 1, "never": 2}.get(rate.bound or "", 0)
    return [rate.value, rate.low, rate.high, rate.rank, rate.class_rank, mark]


def _packed_curves(board: Board) -> dict[str, Any]:
    """Of each edition, row and scenario three columns: rates, scores, and labels by number; 0 for no curve."""
    labels: dict[str, int] = {}

    def columns(curve: list[CurvePoint]) -> Any:
        numbers = [labels.setdefault(point.label, len(labels)) for point in curve]
        return [[point.ebpfp for point in curve], [point.score for point in curve], numbers] if curve else 0

    editions = [
        [[columns(row.curves.get(scenario.id, [])) for scenario in edition.scenarios] for row in edition.rows]
        for edition in board.editions
    ]
    return {"editions": editions, "labels": list(labels)}


def _axes(panel: Panel) -> tuple[tuple[float, float], tuple[float, float]]:
    return (panel.x.low, panel.x.high), (panel.y.low, panel.y.high)


def _panels(edition: Edition) -> dict[str, Panel]:
    return {scenario.id: _panel(edition, scenario) for scenario in edition.scenarios}


def _panel(edition: Edition, scenario: BoardScenario) -> Panel:
    """The frame of a scenario's figure, in which the curves of all ranked codecs have room; without any, of all.

    What nobody has replayed may lie beyond: one absurd point would flatten the curves of everybody.
    """
    shown = [row for row in edition.rows if row.curves.get(scenario.id)]
    curves = [(row.ranks_on(scenario.id), row.curves[scenario.id]) for row in shown]
    among = any(ranked for ranked, _ in curves)
    points = [point for ranked, curve in curves if ranked or not among for point in curve]
    return score_frame(
        scenario.metric,
        scenario.direction,
        scenario.anchor,
        scenario.floor,
        [point.ebpfp for point in points],
        [point.score for point in points],
        scenario.raw_bytes_per_sample / UNCODED_EBPFP or None,
    )
