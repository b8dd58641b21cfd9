"""The report as one HTML page that asks for nothing else: style, script and figures are inside.

Everything that comes from results passes through the template's escaping; only our own SVG is marked as safe, after
matplotlib turned its text into shapes. A content security policy forbids the page every request, should anything slip
through all the same.
"""

from __future__ import annotations

import base64
import hashlib
import math
from importlib import resources

from harness.report import plots, tables, text
from harness.report.summary import ScenarioSummary, Summary


def render(summary: Summary, styles: dict[str, plots.Style]) -> str:
    """The page's HTML."""
    from jinja2 import BaseLoader, Environment, StrictUndefined

    source = (resources.files("harness.report") / "page.html").read_text(encoding="utf-8")
    environment = Environment(loader=BaseLoader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"shown": text.shown, "estimate": text.estimate, "sort_key": sort_key}
    template = environment.from_string(source)
    return template.render(
        summary=summary,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src {_script_hash(source)}",
        headline=tables.headline_table(summary),
        overall=tables.overall_table(summary) if len(summary.scenarios) > 1 else None,
        sections=[_section(number, scenario, styles) for number, scenario in enumerate(summary.scenarios)],
    )


def _section(number: int, scenario: ScenarioSummary, styles: dict[str, plots.Style]) -> dict:
    """What the template needs of one scenario."""
    from markupsafe import Markup

    figures = []
    for name, draw in (("score", plots.draw_score), ("error", plots.draw_error)):
        figure = plots.single_figure(draw, scenario, styles)
        svg = plots.to_svg(figure, f"s{number}-{name}", f"{name} over rate, {text.shown(scenario.title)}")
        figures.append(Markup(svg))  # our own drawing, see the head of this module
    return {
        "id": f"scenario-{number}",
        "scenario": scenario,
        "figures": figures,
        "points": tables.points_table(scenario),
        "deployment": tables.deployment_table(scenario),
        "answers": tables.deployment_answers(scenario),
        "tensors": tables.tensor_table(scenario),
        "codecs": tables.codec_table(scenario),
        "facts": tables.protocol_facts(scenario),
    }


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
