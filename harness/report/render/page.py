"""The report as one HTML page that asks for nothing else: style, script and figures are inside.

Everything that comes from results passes through the template's escaping, or that of `svg`; only our own drawings are
marked as safe. A content security policy forbids the page every request, should anything slip through all the same.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from harness.report import recommend, text
from harness.report.editions import by_edition
from harness.report.render import detail_tables, figures, svg, tables
from harness.report.render.styles import COLOURS, DARK_COLOURS, Style
from harness.report.summary import CodecSummary, RatePoint, ScenarioSummary, Summary


@dataclass(frozen=True)
class Breakdown:
    """Where one codec's error and bits are, at its working point.

    Attributes:
        error: each tensor's share of the normalised error; empty where it is unknown or there is none.
        bits: each tensor's share of the payload; empty where the codec joins tensors.
        quantiser: the quantiser's share of the squared error; None where the codec cannot tell.
    """

    codec: str
    label: str
    error: list[tuple[str, float]]
    bits: list[tuple[str, float]]
    quantiser: float | None


def render(summary: Summary, styles: Mapping[str, Style]) -> str:
    """The page's HTML."""
    from jinja2 import BaseLoader, Environment, StrictUndefined

    folder = resources.files("harness.report.render")
    source, style = ((folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.css"))
    environment = Environment(loader=BaseLoader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"shown": text.shown, "estimate": text.estimate, "sort_key": sort_key}
    several = len(summary.scenarios) > 1
    return environment.from_string(source).render(
        summary=summary,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src {_script_hash(source)}",
        style=_safe(style + _colours()),
        codecs=len({row.codec for row in summary.overall}),
        recommended=[
            (recommend.title(answer, recommend.Question()), recommend.lines(answer, recommend.Question()))
            for answer in recommend.recommend(summary, recommend.Question())
        ],
        editions=_editions(summary, styles),
        matrices=[*(tables.matrix_tables(summary) if several else []), *tables.transfer_tables(summary)],
        sections=[_section(number, summary, scenario, styles) for number, scenario in enumerate(summary.scenarios)],
    )


def _editions(summary: Summary, styles: Mapping[str, Style]) -> list[dict[str, Any]]:
    """What the template needs of each edition's scenarios together."""
    return [
        {
            "table": table,
            "figures": [
                _figure(figures.overall_panel(part, stage), styles, f"{edition}-{stage}")
                for stage in ("decode", "encode")
            ],
            "legend": _legend([row.codec for row in part.overall], styles),
        }
        for table, (edition, part) in zip(tables.overall_tables(summary), by_edition(summary).items(), strict=True)
    ]


def _section(number: int, summary: Summary, scenario: ScenarioSummary, styles: Mapping[str, Style]) -> dict[str, Any]:
    """What the template needs of one scenario."""
    drawn = (
        figures.score_panel(scenario),
        figures.fidelity_panel(scenario),
        figures.error_panel(scenario),
        figures.speed_panel(scenario),
    )
    panels = [panel for panel in drawn if panel is not None]
    codecs = [codec for codec in scenario.codecs if codec.role == "codec"]
    breakdowns = [_breakdown(codec, detail_tables.working_point(codec)) for codec in codecs]
    return {
        "id": f"scenario-{number}",
        "scenario": scenario,
        "legend": _legend([codec.codec for codec in codecs], styles),
        "figures": [_figure(panel, styles, f"s{number}-{at}") for at, panel in enumerate(panels)],
        "mse_figure": _figure(figures.error_panel(scenario, "mse"), styles, f"s{number}-mse"),
        "headline": tables.headline_table(summary, scenario),
        "front": detail_tables.front_table(scenario),
        "points": tables.without(tables.points_table(scenario), "BPFP", "MSE"),
        "deployment": detail_tables.deployment_table(scenario),
        "answers": detail_tables.deployment_answers(scenario),
        "tensor_names": [tensor.name for tensor in scenario.codecs[0].points[0].tensors],
        "breakdowns": [part for part in breakdowns if part.error or part.bits],
        "tensors": detail_tables.tensor_table(scenario),
        "bound": detail_tables.bound_table(scenario),
        "codecs": detail_tables.codec_table(scenario),
        "facts": detail_tables.protocol_facts(scenario),
    }


def _breakdown(codec: CodecSummary, point: RatePoint) -> Breakdown:
    error = [(t.name, t.nmse_share) for t in point.tensors if t.nmse_share is not None]
    bits = [(t.name, t.payload_share) for t in point.tensors if t.payload_share is not None]
    shares = [
        (t.error_share, t.quantiser_share)
        for t in point.tensors
        if t.error_share is not None and (t.quantiser_share is not None or t.error_share == 0)
    ]
    told = any(share is not None for _, share in shares)
    complete = bool(shares) and len(shares) == len(point.tensors)
    quantiser = sum(error * (share or 0.0) for error, share in shares) if told and complete else None
    return Breakdown(codec.codec, point.label, error, bits, quantiser)


def _figure(panel: figures.Panel, styles: Mapping[str, Style], name: str) -> dict[str, Any]:
    return {"title": panel.title, "svg": _safe(svg.render(panel, styles, name))}


def _legend(codecs: list[str], styles: Mapping[str, Style]) -> list[tuple[Any, str]]:
    return [(_safe(svg.swatch(styles[name])), text.shown(name)) for name in codecs]


def _safe(markup: str) -> Any:
    """Our own drawing or style, see the head of this module."""
    from markupsafe import Markup

    return Markup(markup)


def _colours() -> str:
    """The codecs' colours as classes, lighter on dark screens."""

    def rules(colours: tuple[str, ...]) -> str:
        return "".join(f".c{at}{{--c:{colour}}}" for at, colour in enumerate(colours))

    return f"{rules(COLOURS)}@media (prefers-color-scheme: dark){{{rules(DARK_COLOURS)}}}"


def sort_key(cell: tables.Cell) -> str:
    """What the page's script sorts a cell by: a number where there is one, else the text."""
    if cell.sort is None:
        return ""
    if isinstance(cell.sort, str):
        return text.shown(cell.sort)
    return repr(float(cell.sort)) if math.isfinite(cell.sort) else ""


def _script_hash(source: str) -> str:
    """The only script that the page's policy lets run: the template's own, which holds no template expression."""
    script = source.partition("<script>")[2].partition("</script>")[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
