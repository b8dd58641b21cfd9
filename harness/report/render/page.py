"""The report as one HTML page that asks for nothing else: style, script and figures are inside.

Everything that comes from results passes through the template's escaping, or that of `svg`; only our own drawings are
marked as safe. See `html` for what guards the page should anything slip through all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.report import recommend, text
from harness.report.editions import by_edition
from harness.report.render import cells, detail_tables, figures, html, overall_tables, scenario_tables, svg
from harness.report.render.styles import Style
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
    source = html.source("harness.report.render", "page.html")
    script = source.partition("<script>")[2].partition("</script>")[0]
    filters: dict[str, Callable[..., Any]] = {"estimate": text.estimate, "sort_key": sort_key}
    several = len(summary.scenarios) > 1
    return html.template(source, filters).render(
        summary=summary,
        policy=html.policy(script),
        style=html.style(html.source("harness.report.render", "page.css")),
        codecs=len({row.codec for row in summary.overall}),
        recommended=_recommended(summary),
        editions=_editions(summary, styles),
        matrices=[
            *(overall_tables.matrix_tables(summary) if several else []),
            *overall_tables.transfer_tables(summary),
        ],
        sections=[_section(number, summary, scenario, styles) for number, scenario in enumerate(summary.scenarios)],
    )


def _recommended(summary: Summary) -> list[tuple[str, list[tuple[str, str, list[str]]], list[str]]]:
    """Of each answer its title, what to take with the reasons, and who is left out."""
    question = recommend.Question()
    answers = recommend.recommend(summary, question)
    return [
        (
            title,
            recommend.lines(answer, question) or [("none", text.NOTHING, [recommend.why_none(answer)])],
            recommend.left_out(answer),
        )
        for title, answer in zip(recommend.titles(answers, question), answers, strict=True)
    ]


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
        for table, (edition, part) in zip(
            overall_tables.overall_tables(summary), by_edition(summary).items(), strict=True
        )
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
        "headline": scenario_tables.headline_table(summary, scenario),
        "front": detail_tables.front_table(scenario),
        "points": cells.without(scenario_tables.points_table(scenario), "BPFP", "MSE"),
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
    return {"title": panel.title, "svg": html.safe(svg.render(panel, styles, name))}


def _legend(codecs: list[str], styles: Mapping[str, Style]) -> list[tuple[Any, str]]:
    return [(html.safe(svg.swatch(styles[name])), text.shown(name)) for name in codecs]


def sort_key(cell: cells.Cell) -> str:
    """What the page's script sorts a cell by: a number where there is one, else the text."""
    if cell.sort is None:
        return ""
    if isinstance(cell.sort, str):
        return text.shown(cell.sort)
    return repr(float(cell.sort)) if math.isfinite(cell.sort) else ""
