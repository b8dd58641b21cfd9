"""What `klt` and `klt-task` reach and what each ingredient of `klt` brings: the tables in ``docs/transform-coding.md``.

    make ablation
    python hub_cards/klt_figures.py [--variants results/ablation] [--transfers results/bench]

The first runs `benchmarks/klt_variants.py` on a few scenarios and makes their table. The second takes those of codecs
that were fitted elsewhere, and keeps matrices of scenarios that these results lack. All of it is kept in
``mini/klt.json``; rates on whole scenarios are those of the edition's board. Without results only the page is made
anew.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bounded_rates import factor, mean_rate, reached, shown
from edition_leaderboard import bounded

from harness.report.compile import compile_summary
from harness.report.summary import Transfer
from harness.report.transfers import ALL, ALL_OTHERS, SAME, matrices, source_of
from harness.results.fitted_on import is_mixture
from harness.statistics.curves import ReachedRate, joint_bound
from lamofcbench.atomic import write_json, write_text
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.markdown import markdown_table

FIGURES = Path(__file__).parent / "mini" / "klt.json"
BOARD = Path(__file__).parent / "mini" / "leaderboard.json"
PAGE = Path(__file__).parents[1] / "docs" / "transform-coding.md"
WHOLE = "whole"
VARIANTS = {
    WHOLE: "all of `klt`",
    "each-tensor-alone": "each tensor alone",
    "keys-as-rotated": "keys as rotated",
    "no-dictionary": "no dictionary",
    "new-words-as-any-row": "no transform of new words' own",
    "no-transform-over-places": "no transform over places",
    "no-places": "nor means of places",
    "no-transform": "no transform at all",
}
CODECS = ("uniform", "channel", "klt", "klt-task")
TOGETHER = (ALL_OTHERS, ALL)


def variants(results: Path) -> dict[str, Any]:
    """EBPFP@95 of each variant of `klt` on each scenario that all of them ran on, as plain JSON values.

    Raises:
        LaMoFCBenchError: if there is no such scenario.
    """
    found: dict[str, Any] = {"samples": {}, "ebpfp": {}}
    for part in compile_summary(results, resamples=0, bound=False).scenarios:
        known = {codec.name: codec.retained_at(95) for codec in part.codecs if codec.role == "codec"}
        if all(name in known and known[name].ebpfp.value is not None for name in VARIANTS):
            found["samples"][part.scenario] = part.samples
            found["ebpfp"][part.scenario] = {name: bounded(known[name]) for name in VARIANTS}
    if not found["samples"]:
        raise LaMoFCBenchError(f"{results} has no scenario with results of {', '.join(VARIANTS)}")
    return found


def transfers(results: Path, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """EBPFP@95 of each codec by what it was fitted on and what it codes, as plain JSON values.

    Args:
        results: with codecs that were fitted elsewhere.
        before: what was found earlier, of which matrices of other scenarios stay.

    Raises:
        LaMoFCBenchError: if nothing was fitted elsewhere.
    """
    found = compile_summary(results, resamples=0, bound=False).transfers
    if not found:
        raise LaMoFCBenchError(f"{results} has no codec that was fitted elsewhere; see `run --fit-on`")
    coded = {one.coded for one in found}
    return [one for one in before if one["coded"] not in coded] + [one.model_dump(mode="json") for one in found]


def transfers_summary(found: list[dict[str, Any]]) -> str:
    """A row a codec and backbone: at home, fitted on one other task, on all others, and on all of them together."""
    rows = []
    for matrix in _matrices(found):
        tasks = sorted({t.coded for t in matrix})
        rates: dict[str, list[ReachedRate]] = {}
        for one in matrix:
            source = source_of(one, tasks)
            kind = source if source == SAME or is_mixture(one.fitted_on) else ""
            rates.setdefault(kind, []).append(reached(one.retained.model_dump()))
        home, elsewhere, others, together = (rates.get(kind, []) for kind in (SAME, "", ALL_OTHERS, ALL))
        worst = shown(max(elsewhere, key=lambda one: one.ebpfp)) if elsewhere else "-"
        of_several = [_mean(own if len(own) == len(tasks) else []) for own in (others, together)]
        names = ", ".join(name.removeprefix("mini-") for name in tasks)
        rows.append((names, matrix[0].codec, len(elsewhere), _mean(home), _mean(elsewhere), worst, *of_several))
    rows = [(f"`{codec}`", names, *figures) for names, codec, *figures in sorted(rows)]
    titles = ("", "means of", "pairs", "at home", "on one other", "at worst", "on all others", "on all together")
    return markdown_table(titles, rows, right=range(2, len(titles)))


def _mean(rates: Sequence[ReachedRate]) -> str:
    """The mean of rates as the page shows it; a dash where there are none."""
    if not rates:
        return "-"
    return shown(ReachedRate(fmean(one.ebpfp for one in rates), joint_bound([one.bound for one in rates])))


def transfers_table(found: list[dict[str, Any]]) -> str:
    """A table a backbone: a row a codec and scenario that it was fitted on, a column a scenario that it codes."""
    backbones: dict[tuple[str, ...], list[Transfer]] = {}
    for matrix in _matrices(found):
        backbones.setdefault(tuple(sorted({t.coded for t in matrix})), []).extend(matrix)
    tables = []
    for coded, own in sorted(backbones.items()):
        cells: dict[tuple[str, str], dict[str, str]] = {}
        for one in own:
            source = source_of(one, coded) if is_mixture(one.fitted_on) else one.fitted_on
            cells.setdefault((one.codec, source), {})[one.coded] = shown(reached(one.retained.model_dump()))
        order = sorted(cells, key=lambda row: (row[0], row[1] in TOGETHER, row[1]))
        titles = {source: source if source in TOGETHER else f"`{source}`" for _, source in order}
        rows = [(f"`{row[0]}`", titles[row[1]], *(cells[row].get(c, "-") for c in coded)) for row in order]
        tables.append(markdown_table(("", "fitted on", *(f"`{name}`" for name in coded)), rows))
    return "\n\n".join(tables)


def _matrices(found: list[dict[str, Any]]) -> list[list[Transfer]]:
    return matrices(map(Transfer.model_validate, found))


def variants_table(found: dict[str, Any]) -> str:
    """A row a variant: its rates, and how many times the whole's it is in the geometric mean."""
    scenarios = list(found["ebpfp"])
    rows = [["", *(f"`{name}`" for name in scenarios), "times all of it"]]
    for variant, title in VARIANTS.items():
        own, whole = ([reached(found["ebpfp"][scenario][name]) for scenario in scenarios] for name in (variant, WHOLE))
        times = "1.00" if variant == WHOLE else factor(mean_rate(own), mean_rate(whole))
        rows.append([title, *map(shown, own), times])
    return markdown_table(rows[0], rows[1:])


def rates_table(retained: dict[str, dict[str, Any]]) -> str:
    """A row a scenario, and the geometric means; from what each codec needs on each scenario."""
    scenarios = sorted(set.intersection(*(set(retained[name]) for name in CODECS)))
    rates = {name: [reached(retained[name][scenario]) for scenario in scenarios] for name in CODECS}
    rows = [(f"`{scenario}`", *(shown(rates[name][at]) for name in CODECS)) for at, scenario in enumerate(scenarios)]
    mean = ("**geometric mean**", *(f"**{shown(mean_rate(rates[name]))}**" for name in CODECS))
    return markdown_table(("EBPFP@95", *(f"`{name}`" for name in CODECS)), [*rows, mean])


def page(text: str) -> str:
    """The page with its tables made anew."""
    found = json.loads(FIGURES.read_text(encoding="utf-8"))
    tables = {
        "rates": rates_table(json.loads(BOARD.read_text(encoding="utf-8"))["retained"]),
        "ablation": variants_table(found["variants"]),
        "transfers": transfers_summary(found["transfers"]),
        "transfer-matrices": transfers_table(found["transfers"]),
    }
    for name, made in tables.items():
        pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text, count = re.subn(pattern, lambda m, made=made: f"{m[1]}{made}\n{m[2]}", text, flags=re.DOTALL)
        if count != 1:
            raise LaMoFCBenchError(f"{PAGE.name} has {count} tables {name!r}")
    return text


def main() -> None:
    """Writes figures and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=Path, metavar="DIR", help="results of `make ablation`")
    parser.add_argument("--transfers", type=Path, metavar="DIR", help="results with codecs that were fitted elsewhere")
    args = parser.parse_args()
    found = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {}
    if args.variants is not None:
        found["variants"] = variants(args.variants)
    if args.transfers is not None:
        found["transfers"] = transfers(args.transfers, found.get("transfers", []))
    write_json(FIGURES, found)
    if {"variants", "transfers"} <= found.keys():
        write_text(PAGE, page(PAGE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
