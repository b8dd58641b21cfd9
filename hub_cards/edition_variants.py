"""What codecs reach on the variants of an edition, which are split elsewhere and in no mean: of ``make bench``.

    python hub_cards/edition_variants.py [results/bench]

``<edition>/variants.json`` holds of each variant each codec's EBPFP@95, and of which code and protocol it is. All is
read from the report's ``summary.json``. Rows of codecs that the results lack stay while they are of the same data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edition_leaderboard import PERCENT, bounded, edition_of, whole_summary_of

from harness.report.summary import ScenarioSummary
from lamofcbench.atomic import write_json
from lamofcbench.errors import LaMoFCBenchError

VARIANTS_FILE = "variants.json"

Variants = dict[str, Any]


def variants(results: Path, before: Mapping[str, Any] | None = None) -> Variants:
    """Of each variant its data, and each codec's EBPFP@95, as plain JSON values.

    Args:
        results: a folder of results with its report.
        before: what was found earlier.

    Raises:
        LaMoFCBenchError: if there is no report, or it has results on a part of a test split.
    """
    joined = dict(before or {})
    for part in whole_summary_of(results).scenarios:
        if part.variant_of is None:
            continue
        own = _of_variant(part)
        known = joined.get(part.scenario, {})
        if known.get("data") == own["data"]:
            own["codecs"] = known["codecs"] | own["codecs"]
        joined[part.scenario] = own
    return dict(sorted(joined.items()))


def _of_variant(part: ScenarioSummary) -> Variants:
    codecs = {}
    for codec in part.codecs:
        if codec.role == "codec":
            measured = {"identity": codec.identity, "protocol": part.protocol_version}
            codecs[codec.codec] = bounded(codec.retained_at(PERCENT)) | measured
    return {
        "variant_of": part.variant_of,
        "data": {"version": part.version, "data_revision": part.data_revision},
        "codecs": codecs,
    }


def main() -> None:
    """Writes the variants of the results' edition."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/bench"), help="of make bench")
    results = parser.parse_args().results
    try:
        path = Path(__file__).parent / edition_of(results) / VARIANTS_FILE
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        write_json(path, variants(results, before))
    except LaMoFCBenchError as error:
        sys.exit(f"{VARIANTS_FILE}: {error}")


if __name__ == "__main__":
    main()
