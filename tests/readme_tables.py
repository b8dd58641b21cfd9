"""The tables of README.md and docs/, made from what they describe; ``make readme`` writes them, a test compares."""

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.report.text import number
from harness.statistics.curves import ReachedRate, joint_bound
from lamofcbench.builders import BUILDERS
from lamofcbench.codecs.learned.checkpoints import shipped_checkpoint
from lamofcbench.codecs.learned.networks import LAMBDAS, NETWORKS
from lamofcbench.codecs.learned.planes import LEVELS
from lamofcbench.codecs.registry import CODECS
from lamofcbench.markdown import markdown_table
from lamofcbench.scenarios.base import SCENARIOS

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "hub_cards"))

from bounded_rates import factor, mean_rate, reached, shown  # noqa: E402  # found once the path is set
from full_sizes import table as sizes_table  # noqa: E402
from small_findings import EARLIER, FINDINGS, Rates  # noqa: E402

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
FACTS = ROOT / "hub_cards" / "mini" / "facts.json"
LEADERBOARD = ROOT / "hub_cards" / "mini" / "leaderboard.json"
VARIANTS = ROOT / "hub_cards" / "mini" / "variants.json"
VERDICTS = ROOT / "hub_cards" / "mini" / "verdicts.json"


def real_table() -> str:
    """A row a codec that needs no more than `uniform` on a real model's features, the best first: its rates."""
    rates = Rates(json.loads(FINDINGS.read_text()), json.loads(LEADERBOARD.read_text()))
    head = ["codec", *(name.removeprefix("small-clu-") for name in rates.scenarios), "all", "`uniform` over it"]
    rows = []
    uniform = rates.faithful("uniform")
    for codec in rates.codecs:
        own = rates.faithful(codec)
        if own.ebpfp > uniform.ebpfp:
            continue
        cells = [shown(rates.faithful_on(codec, name)) for name in rates.scenarios]
        rows.append((rates.label(codec), *cells, shown(own), factor(uniform, own)))
    return markdown_table(head, rows, right=range(1, len(head)))


def mini_table() -> str:
    """A row a mini scenario, with the score of uncoded features as measured for the dataset card."""
    facts = json.loads(FACTS.read_text())
    rows = []
    for scenario in SCENARIOS:
        if scenario.edition == "mini":
            model = BUILDERS.get(scenario.builder)().model_directory().name
            found = facts[scenario.id]
            constant = "-" if found["constant"] is None else f"{found['constant']:.3g}"
            better = "" if scenario.direction == "up" else " (lower is better)"
            metric, score = scenario.metric + better, f"{found['anchor']:.3g}"
            names = f"`{scenario.id}`", f"`{scenario.mirrors}`", model
            rows.append((*names, scenario.test_samples, metric, score, constant))
    return markdown_table(("scenario", "mirrors", "model", "test", "metric", "score", "best constant"), rows)


def codec_table() -> str:
    """A row a codec: its ladder and what its docstring says first."""
    rows = []
    for codec in CODECS:
        summary = re.sub(r"\s+", " ", codec.__doc__.split("\n\n")[0]).strip()
        paper = f" ([source]({codec.paper}))" if codec.paper else ""
        rows.append((f"`{codec.name}`", ladder(codec.rate_points), summary + paper))
    return markdown_table(("codec", "rate points", "what it does"), rows)


def ladder(points: Sequence[Mapping[str, Any]]) -> str:
    """The rate points of a codec, in one line.

    >>> ladder([{"bits": 4}, {"bits": 2}]), ladder([{"bits": 4}, {"bits": 2, "group": 128}])
    ('bits: 4, 2', 'bits=4; bits=2,group=128')
    """
    keys = {key for point in points for key in point}
    if not keys:
        return "-"
    if len(keys) == 1 and all(points):
        (key,) = keys
        return f"{key}: {', '.join(f'{point[key]:g}' for point in points)}"
    return "; ".join(",".join(f"{k}={v}" for k, v in point.items()) for point in points)


def checkpoint_table() -> str:
    """A row a shipped network, from its training card."""
    head = (
        *("codec", "lambda", "N, M", "file", "steps in all", "minutes", "bits an element"),
        *("index MSE", "loss", "validation"),
    )
    rows = []
    for codec in NETWORKS:
        for lmbda in sorted(LAMBDAS, reverse=True):
            path = shipped_checkpoint(codec, lmbda)
            card = json.loads(path.with_suffix(".json").read_text())
            trainings = [*card["history"], card]
            improvement = card["validation"]["improvement"]
            verdict = card["validation"]["verdict"] + ("" if improvement is None else f" ({improvement:.2%})")
            minutes = sum(one["seconds"] for one in trainings) / 60
            rows.append(
                (
                    *(
                        f"`{codec}`",
                        f"{lmbda:g}",
                        ", ".join(map(str, card["widths"])),
                        f"{path.stat().st_size / 1e6:.1f} MB",
                    ),
                    *(sum(one["steps"] for one in trainings), f"{minutes:.0f}", f"{card['bpp']:.2f}"),
                    *(f"{card['mse'] * LEVELS**2:.0f}", f"{card['loss']:.3f}", verdict),
                )
            )
    return markdown_table(head, rows, right={1, *range(3, 9)})


KINDS = {
    "ViT features": "dinov3-vit",
    "language KV caches": "qwen3-decoder",
    "SSM states": "falcon-mamba-decoder",
    "speech KV caches": "kimi-audio",
    "text and image": "sd3-controlnet",
}
"""Columns of the leaderboard: what is coded, by the split model that makes it."""


def leaderboard_table() -> str:
    """A row a codec, the best first: its EBPFP@95 over each kind of features (geometric means) and over all.

    The scenarios of the small edition are a group of columns of their own, at the right.
    """
    board = json.loads(LEADERBOARD.read_text())
    small = Rates(json.loads(FINDINGS.read_text()), board) if FINDINGS.is_file() else None
    return board_table(board, small, on_earlier_data(board, mini_data()))


def mini_data() -> dict[str, dict[str, Any]]:
    """Version and data revision of each mini track, as a run of today would have them."""
    return {
        scenario.id: {"version": scenario.version, "data_revision": BUILDERS.get(scenario.builder)().revision()}
        for scenario in SCENARIOS
        if scenario.edition == "mini" and scenario.variant_of is None
    }


def on_earlier_data(board: Mapping[str, Any], data: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The rows of a board that were measured on other data than today's, and of which scenarios.

    >>> on_earlier_data({"codecs": [{"codec": "a"}], "scenarios": {"x": 1, "y": 1}}, {"x": 1, "y": 2})
    {'a': ['y']}
    """
    found = {}
    for row in board["codecs"]:
        own = board["scenarios"] | board.get("earlier_data", {}).get(row["codec"], {})
        changed = [name for name, measured in own.items() if measured != data.get(name)]
        if changed:
            found[row["codec"]] = changed
    return found


def earlier_scenarios(earlier: Mapping[str, Sequence[str]]) -> str:
    """The scenarios of which some row was measured on earlier data, in words."""
    return ", ".join(f"`{name}`" for name in sorted({name for names in earlier.values() for name in names}))


def board_table(
    board: Mapping[str, Any], small: Rates | None, earlier: Mapping[str, Sequence[str]] | None = None
) -> str:
    """The table of the mini edition's board, with what codecs need on the small edition beside it.

    Args:
        board: of the mini edition.
        small: what was found on the small edition, where anything was.
        earlier: the rows on earlier data; they get a mark, and a line below the table says of which scenarios.
    """
    scenarios = {s.id: s.backbone.adapter for s in SCENARIOS}
    figures: dict[str, list[ReachedRate]] = {}
    for row in board["codecs"]:
        rates = {name: reached(part) for name, part in board["retained"][row["codec"]].items()}
        kinds = [[rate for name, rate in rates.items() if scenarios[name] == adapter] for adapter in KINDS.values()]
        over_all = {"ebpfp": row["ebpfp"]["95"], "bound": joint_bound([rate.bound for rate in rates.values()])}
        figures[row["codec"]] = [*map(mean_rate, kinds), reached(over_all)]
    cells = rate_cells(figures)
    heads, small_cells = small_columns(small) if small else ([], {})
    measures = ["never", "at most", "BD-rate, score", "above the bound", "decoded apart"]
    # Boards from before classes of knowledge were told apart do not say.
    classes = ["trained on", "in class"] if all(row.get("trained_on") for row in board["codecs"]) else []
    measures += classes
    head, rows = ["codec", *KINDS, "all", *measures, *heads], []
    for row in board["codecs"]:
        codec = row["codec"]
        bounds = [part["bound"] for part in board["retained"][codec].values()]
        counts = [str(bounds.count(bound) or "-") for bound in ("never", "at most")]
        bd_rate, gap = row["bd_rate_score"]["percent"]["value"], row["bound_gap"]["value"]
        measured = ["-" if bd_rate is None else f"{bd_rate:+.0f} %", "-" if gap is None else f"{gap:.2f}"]
        measured.append(str(row.get("verified_samples") or "no"))
        measured += [str(row[name] or "-") for name in ("trained_on", "class_rank")] if classes else []
        own = small_cells.get(codec, ["-"] * len(heads))
        mark = f" {EARLIER}" if earlier and codec in earlier else ""
        rows.append((f"`{codec}`{mark}", *cells[codec], *counts, *measured, *own))
    lines = [markdown_table(head, rows, right=range(1, len(head)))]
    if earlier:
        lines += ["", f"{EARLIER} Measured on earlier data of {earlier_scenarios(earlier)}; not made anew yet."]
    return "\n".join(lines)


def small_columns(small: Rates) -> tuple[list[str], dict[str, list[str]]]:
    """The heads, and each codec's cells, of the small edition: EBPFP@95 on each scenario and over all.

    What an earlier protocol measured has a mark behind its mean.
    """
    heads = [f"small: {name.split('-', 2)[-1]}" for name in small.scenarios] + ["small: all"]
    cells = rate_cells(
        {
            codec: [*(small.kept_on(codec, name) for name in small.scenarios), small.kept(codec)]
            for codec in small.codecs
        }
    )
    for codec in small.codecs:
        cells[codec][-1] += f" {EARLIER}" if small.is_earlier(codec) else ""
    return heads, cells


def rate_cells(figures: Mapping[str, Sequence[ReachedRate]]) -> dict[str, list[str]]:
    """Each codec's rates as cells, the lowest of each column bold, a dash for what is not known.

    >>> rate_cells({"a": [ReachedRate(1.0, "at most"), mean_rate([])], "b": [ReachedRate(2.0, "exact"), mean_rate([])]})
    {'a': ['≤ **1.00**', '-'], 'b': ['2.00', '-']}
    """
    columns = [[rate.ebpfp for rate in column] for column in zip(*figures.values(), strict=True)]
    best = [min(filter(math.isfinite, column), default=math.nan) for column in columns]

    def cell(rate: ReachedRate, lowest: float) -> str:
        return shown(rate, lambda value: f"**{number(value)}**" if value == lowest else number(value))

    return {codec: [cell(*pair) for pair in zip(rates, best, strict=True)] for codec, rates in figures.items()}


def variants_table() -> str:
    """A row a codec, the best first: its EBPFP@95 on each variant, and their geometric mean."""
    found = json.loads(VARIANTS.read_text()) if VARIANTS.is_file() else {}
    figures: dict[str, list[ReachedRate]] = {}
    for codec in dict.fromkeys(name for part in found.values() for name in part["codecs"]):
        rates = [reached(part["codecs"].get(codec)) for part in found.values()]
        figures[codec] = [*rates, mean_rate(rates)]
    means = {codec: own[-1].ebpfp for codec, own in figures.items()}
    order = sorted(figures, key=lambda codec: (math.isnan(means[codec]), means[codec]))
    cells = rate_cells({codec: figures[codec] for codec in order}) if figures else {}
    head = ("codec", *(f"`{name}`" for name in found), "all")
    return markdown_table(head, [(f"`{codec}`", *own) for codec, own in cells.items()], right=range(1, len(head)))


def verdicts_table() -> str:
    """A row a codec of the board that was validated: the verdict, and of how much it is."""
    found = json.loads(VERDICTS.read_text()) if VERDICTS.is_file() else {}
    board = {row["codec"]: row["identity"] for row in json.loads(LEADERBOARD.read_text())["codecs"]}
    rows = []
    for codec, identity in board.items():
        own = found.get(codec)
        if own is not None and own["identity"] == identity:
            cells = [_part_of(own.get(name)) for name in ("results", "decoded", "predicted", "encoded", "fitted")]
            rows.append((f"`{codec}`", own["level"], *cells))
    head = ("codec", "verdict", "results", "decoded", "predicted", "encoded to the same bytes", "states learned anew")
    return markdown_table(head, rows, right=range(2, len(head)))


def _part_of(counted: Mapping[str, int] | None) -> str:
    """How many of how many, or all."""
    if counted is None:
        return "-"
    checked, of = (f"{counted[name]:,}" for name in ("checked", "of"))
    return checked if checked == of else f"{checked} of {of}"


def findings() -> str:
    """What the report says of these results, and what they cost."""
    board = json.loads(LEADERBOARD.read_text())
    runs = board["runs"].values()
    counts = sorted({count for run in runs for count in run["processes"]})
    processes = " or ".join("one process" if count == 1 else f"{count} processes" for count in counts)
    processors = ", ".join(sorted({processor for run in runs for processor in run["processors"]}))
    hours = sum(run["hours"] for run in runs)
    cost = (
        f"{sum(run['results'] for run in runs)} results took {hours:.1f} hours in {processes} ({processors}), "
        "without loading models and fitting codecs."
    )
    lines = [*board["findings"], cost]
    if on_earlier_data(board, mini_data()):
        lines.append(f"Rows with {EARLIER} count here as they were measured, on earlier data.")
    return "\n".join(f"- {line}" for line in lines)


TABLES = {
    "real": real_table,
    "mini": mini_table,
    "codecs": codec_table,
    "checkpoints": checkpoint_table,
    "leaderboard": leaderboard_table,
    "variants": variants_table,
    "verdicts": verdicts_table,
    "findings": findings,
    "sizes": sizes_table,
}


def with_tables(text: str) -> str:
    """A page with every table of these made anew; others, that another script makes, stay."""
    for name, make in TABLES.items():
        pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda m, make=make: f"{m[1]}{make()}\n{m[2]}", text, flags=re.DOTALL)
    return text


def pages_of(name: str) -> list[Path]:
    """The pages that show a table."""
    return [page for page in PAGES if f"<!-- table: {name} -->" in page.read_text()]


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_tables(page.read_text()))
