"""What real features say and those of small models do not: `docs/real-features.md`, from ``make bench-small``.

    python hub_cards/small_findings.py [results/bench-small [--rates-only]]

``small/findings.json`` holds what the tables show; the mini edition's figures are those of its leaderboard. Codecs that
the results lack keep their rows, and the protocol by which they were measured. The text around the tables is written by
hand, in the page itself, and a test holds the tables to the figures.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bounded_rates import factor, mean_rate, reached, shown, three_digits
from edition_leaderboard import bounded, whole_summary_of
from scipy import stats
from small_outliers import OUTLIERS, measured, outliers

from harness.report.summary import FaithfulRate, RetainedRate
from harness.statistics.curves import ReachedRate
from lamofcbench.atomic import write_json, write_text
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.markdown import markdown_table
from lamofcbench.scenarios.base import SCENARIOS

CARDS = Path(__file__).parent
FINDINGS = CARDS / "small" / "findings.json"
MINI_BOARD = CARDS / "mini" / "leaderboard.json"
PAGE = CARDS.parent / "docs" / "real-features.md"
PERCENT = 95
CACHES = "qwen3-decoder"
"""Mini scenarios of this split model have the same kinds of tensors as those of the small edition."""

EARLIER = "†"
"""Marks what was measured by an earlier protocol than the rest, or on earlier data."""

Findings = dict[str, Any]


def findings(results: Path, before: Findings | None = None) -> Findings:
    """What a report says of each codec on each small scenario, as plain JSON values.

    Args:
        results: of the bench.
        before: what was found earlier, of which other codecs' rows stay.

    Raises:
        LaMoFCBenchError: if there is no report, it does not cover whole test splits, or other codecs were measured on
            other data.
    """
    scenarios = [part for part in whole_summary_of(results).scenarios if part.scenario.startswith("small-")]
    if not scenarios:
        raise LaMoFCBenchError(f"{results} has no results of the small edition")
    everywhere = [{codec.codec for codec in part.codecs if codec.role == "codec"} for part in scenarios]
    names = sorted(set.intersection(*everywhere))  # of others there is no mean, and no rank
    data = {
        part.scenario: {"version": part.version, "data_revision": part.data_revision, "samples": part.samples}
        for part in scenarios
    }
    kept = [] if before is None else [name for name in before["codecs"] if name not in names]
    if before is not None and kept and before["scenarios"] != data:
        raise LaMoFCBenchError(f"{', '.join(kept)} were measured on other data; run them again, or remove {FINDINGS}")
    earlier: Findings = {"codecs": {}, "protocols": {}} if before is None else before
    return {
        "scenarios": data,
        "protocols": {name: earlier["protocols"][name] for name in kept}
        | dict.fromkeys(names, scenarios[0].protocol_version),
        "codecs": {name: earlier["codecs"][name] for name in kept}
        | {
            name: {
                part.scenario: {"faithful": _rate(codec.faithful), "retained": _rate(codec.retained_at(PERCENT))}
                for part in scenarios
                for codec in part.codecs
                if codec.codec == name
            }
            for name in names
        },
    }


def _rate(rate: FaithfulRate | RetainedRate | None) -> dict[str, Any] | None:
    return None if rate is None else bounded(rate)


class Rates:
    """Each codec's rates on the small edition and on the mini edition.

    Args:
        found: of the small edition, see `findings`.
        board: the mini edition's leaderboard.
    """

    def __init__(self, found: Findings, board: Mapping[str, Any]) -> None:
        self.scenarios = list(found["scenarios"])
        self._protocols = found["protocols"]
        self._small, self._mini = found["codecs"], board["retained"]
        adapters = {scenario.id: scenario.backbone.adapter for scenario in SCENARIOS}
        tracks = list(board["scenarios"]) if "scenarios" in board else []
        self._tracks = tracks
        self._caches = [track for track in tracks if adapters.get(track) == CACHES]
        self.codecs = sorted(self._small, key=lambda codec: self.faithful(codec).ebpfp)

    def label(self, codec: str) -> str:
        """A codec's name, marked where an earlier protocol than that of others measured it."""
        return f"`{codec}` {EARLIER}" if self.is_earlier(codec) else f"`{codec}`"

    def is_earlier(self, codec: str) -> bool:
        """Whether an earlier protocol than that of others measured a codec on the small edition."""
        return bool(self._protocols[codec] < max(self._protocols.values()))

    def faithful(self, codec: str) -> ReachedRate:
        """Geometric mean of EBPFP@nats over the small scenarios."""
        return mean_rate([self.faithful_on(codec, name) for name in self.scenarios])

    def kept(self, codec: str) -> ReachedRate:
        """Geometric mean of EBPFP@95 over the small scenarios."""
        return mean_rate([self.kept_on(codec, name) for name in self.scenarios])

    def faithful_on(self, codec: str, scenario: str) -> ReachedRate:
        """EBPFP@nats on one small scenario."""
        return reached(self._small[codec].get(scenario, {}).get("faithful"))

    def kept_on(self, codec: str, scenario: str) -> ReachedRate:
        """EBPFP@95 on one small scenario."""
        return reached(self._small[codec].get(scenario, {}).get("retained"))

    def mini_caches(self, codec: str) -> ReachedRate:
        """Geometric mean of EBPFP@95 over the mini scenarios of caches and hidden states."""
        return self._mini_mean(codec, self._caches)

    def mini(self, codec: str) -> ReachedRate:
        """The same over all mini scenarios."""
        return self._mini_mean(codec, self._tracks)

    def _mini_mean(self, codec: str, tracks: Sequence[str]) -> ReachedRate:
        return mean_rate([reached(self._mini.get(codec, {}).get(name)) for name in tracks])


def rates_table(rates: Rates) -> str:
    """A row a codec: what it needs on real features, and on mini ones, and how many times less than `uniform`."""
    head = (
        "codec",
        *(name.removeprefix("small-clu-") for name in rates.scenarios),
        "all, @0.03 nats",
        "`uniform` over it",
        "all, @95",
        "mini caches, @95",
        "`uniform` over it",
    )
    rows = []
    for codec in rates.codecs:
        one, mini = rates.faithful(codec), rates.mini_caches(codec)
        rows.append(
            (
                rates.label(codec),
                *(shown(rates.faithful_on(codec, scenario)) for scenario in rates.scenarios),
                shown(one),
                factor(rates.faithful("uniform"), one),
                shown(rates.kept(codec)),
                shown(mini),
                factor(rates.mini_caches("uniform"), mini),
            )
        )
    return markdown_table(head, rows)


ORDERS: dict[str, Callable[[Rates, str], ReachedRate]] = {
    "small, @0.03 nats": Rates.faithful,
    "small, @95": Rates.kept,
    "mini caches, @95": Rates.mini_caches,
    "mini, @95": Rates.mini,
}


def ranks_table(rates: Rates) -> str:
    """A row a codec: its rank by each measure; and below how well each agrees with the first (Spearman's rho)."""
    columns = {name: [order(rates, codec).ebpfp for codec in rates.codecs] for name, order in ORDERS.items()}
    known = [i for i in range(len(rates.codecs)) if all(math.isfinite(column[i]) for column in columns.values())]
    ranks = {name: stats.rankdata([column[i] for i in known]) for name, column in columns.items()}
    rows = [(f"`{rates.codecs[i]}`", *(f"{ranks[name][place]:g}" for name in columns)) for place, i in enumerate(known)]
    first = next(iter(ranks.values()))
    rows.append(("Spearman's rho with the first", *(f"{stats.spearmanr(first, own)[0]:.2f}" for own in ranks.values())))
    return markdown_table(("codec", *columns), rows)


def outliers_table(found: Mapping[str, Any]) -> str:
    """A row a codec: its divergence, and what is left of it once outliers are spared from coding."""
    head = (
        "codec",
        "rate point",
        "EBPFP",
        "KL, nats",
        "first token uncoded",
        "massive channels uncoded",
        "error of the first token",
        "error of the others",
    )
    rows = []
    for codec, one in sorted(
        found["codecs"].items(), key=lambda item: item[1]["nats_with_first_token"] / item[1]["nats"]
    ):
        rows.append(
            (
                f"`{codec}`",
                one["label"],
                three_digits(one["ebpfp"]),
                three_digits(one["nats"]),
                *(
                    f"{three_digits(one[name])} ({one[name] / one['nats']:.0%})"
                    for name in ("nats_with_first_token", "nats_with_channels")
                ),
                f"{one['first_token_error']:.1e}",
                f"{one['others_error']:.1e}",
            )
        )
    return markdown_table(head, rows)


def page(text: str) -> str:
    """The page with every table made anew."""
    rates = Rates(*(json.loads(path.read_text(encoding="utf-8")) for path in (FINDINGS, MINI_BOARD)))
    tables = {
        "rates": rates_table(rates),
        "ranks": ranks_table(rates),
        "outliers": outliers_table(json.loads(OUTLIERS.read_text(encoding="utf-8"))),
    }
    for name, table in tables.items():
        pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text, count = re.subn(pattern, lambda m, table=table: f"{m[1]}{table}\n{m[2]}", text, flags=re.DOTALL)
        if count != 1:
            raise LaMoFCBenchError(f"{PAGE.name} has {count} tables {name!r}")
    return text


def main() -> None:
    """Measures, and writes figures and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", help="of `make bench-small`; absent: only the page anew")
    parser.add_argument("--rates-only", action="store_true", help="leave outliers as they were measured before")
    args = parser.parse_args()
    results = args.results
    if results is not None:
        before = json.loads(FINDINGS.read_text(encoding="utf-8")) if FINDINGS.is_file() else None
        write_json(FINDINGS, findings(results, before))
        if not args.rates_only:
            write_json(OUTLIERS, outliers(results, measured()))
    write_text(PAGE, page(PAGE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
