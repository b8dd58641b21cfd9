"""What the rows of an edition's board come to for somebody who believes nothing of them.

    python hub_cards/edition_verdicts.py [results/bench] [--scenarios mini] [--codecs klt uniform]

packs the results of each codec as a submission, as `lamofcbench submit --dry-run` would, and looks at it as
`lamofcbench validate --full` does, in processes that have made none of it; only the anchor and the floor of a scenario,
which are the same files in all of these submissions, are looked at once a process. Submissions and verdicts stand in
``validated/`` beside the results, in the layout of a results repository: `lamofcbench leaderboard --results
results/validated` shows them. A codec whose results have a verdict already is not validated again, though a run may
have asked for them since, so that one may stop and go on. ``<edition>/verdicts.json`` keeps what the board's page
shows, of codecs with results on all tracks of the edition.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from harness.results.result import ANCHOR, FLOOR
from harness.results.store import RUN_FILE, find_results
from harness.running.selection import select_scenarios
from harness.submission.manifest import SUBMISSIONS, VERDICTS, Submission, read_manifest, submission_digest
from harness.submission.pack import Author, pack
from harness.submission.refit import WHAT as FITTED
from harness.submission.settled import Settled
from harness.submission.validate import Scrutiny, validate
from harness.submission.verdict import Verdict, read_verdict, write_verdict
from lamofcbench.atomic import remove, write_json
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.locks import LOCKS_DIRECTORY, locked
from lamofcbench.storage.integrity import file_sha256

VERDICTS_FILE = "verdicts.json"
COUNTED = {
    "results": "results with all figures computed anew",
    "decoded": "samples decoded anew",
    "predicted": "predictions made anew by the tail",
    "encoded": "of these, to the very bytes",
    "fitted": FITTED,
}
"""What a page shows of the checks of a verdict, by the name it has there."""


def codecs_of(results: Path) -> list[str]:
    """The codecs that a folder has results of, but for anchor and floor.

    Raises:
        LaMoFCBenchError: if there are no results.
    """
    return sorted({folder.path.parent.name for folder in find_results(results)} - {ANCHOR, FLOOR})


_SETTLED = Settled()
"""Of this process."""


def validated(results: Path, output: Path, codec: str, scenarios: Collection[str] | None = None) -> Verdict:
    """The verdict on a codec's results, anew unless there is one of these very results.

    Args:
        results: of whole test splits, with bitstreams.
        output: takes submission and verdict, in the layout of a results repository.
        codec: whose results.
        scenarios: ids of those whose results are looked at; None for all.

    Raises:
        LaMoFCBenchError: if the results are not fit to be submitted, or what is needed for a verdict fails here.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=output) as temporary:
        packed = pack(results, Path(temporary), Author(organisation="LaMoFCBench"), codec, scenarios=scenarios)
        folder, path = output / SUBMISSIONS / packed.name, output / VERDICTS / f"{packed.name}.json"
        known = read_verdict(path)
        is_known = known is not None and known.looked.full and known.digest == submission_digest(folder)
        if known is not None and is_known and _contents(folder) == _contents(packed):
            return known
        remove(folder)
        folder.parent.mkdir(exist_ok=True)
        packed.rename(folder)
    verdict = validate(folder, Scrutiny(full=True), settled=_SETTLED)
    write_verdict(path, verdict)
    return verdict


def _contents(folder: Path) -> dict[str, str]:
    """The sha256 of each file but for ``run.json``, which says when a run has last asked for the result."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != RUN_FILE)
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}


def row(verdict: Verdict, identity: str) -> dict[str, Any]:
    """What a page shows of a verdict, as plain JSON values."""
    checks = {check.what: check for check in verdict.checked}
    counts = {
        name: {"checked": checks[what].checked, "of": checks[what].of}
        for name, what in COUNTED.items()
        if what in checks
    }
    return {
        "identity": identity,
        "level": verdict.level,
        "why": sorted({check.left_out for check in verdict.checked if check.left_out}),
        "faults": len(verdict.faults),
        "scenarios": len(verdict.replayed),
        "digest": verdict.digest,
        "date": verdict.date,
        **counts,
    }


def main() -> None:
    """Validates, and writes what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/bench"), help="of make bench")
    parser.add_argument("--scenarios", nargs="+", metavar="NAME", help="of which (default: all that have results)")
    parser.add_argument("--codecs", nargs="+", metavar="NAME", help="which, in this order (default: all)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="codecs at a time (default: 2)")
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error(f"--jobs is {args.jobs}; it must be 1 or more")
    try:
        scenarios = None if args.scenarios is None else [one.id for one in select_scenarios(args.scenarios)]
        codecs = args.codecs or codecs_of(args.results)
        refused = validate_all(args.results, codecs, args.jobs, scenarios=scenarios)
    except LaMoFCBenchError as error:
        sys.exit(f"{VERDICTS_FILE}: {error}")
    sys.exit(1 if refused else 0)


def validate_all(
    results: Path,
    codecs: Sequence[str],
    jobs: int,
    *,
    scenarios: Collection[str] | None = None,
    cards: Path = Path(__file__).parent,
) -> list[str]:
    """Validates codecs and adds their rows to the files of the editions that they cover, each as soon as it is known.

    Args:
        results: of whole test splits, with bitstreams.
        codecs: whose.
        jobs: how many at a time.
        scenarios: ids of those whose results are looked at; None for all.
        cards: holds a folder an edition.

    Returns:
        Those that are refused.

    Raises:
        LaMoFCBenchError: if results are not fit to be submitted, or got no verdict; once the others are done.
    """
    output, refused, failed = results.parent / "validated", [], list[LaMoFCBenchError]()
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        begun = {pool.submit(validated, results, output, codec, scenarios): codec for codec in codecs}
        for done in as_completed(begun):
            codec = begun[done]
            try:
                verdict = done.result()
            except LaMoFCBenchError as error:
                failed.append(error)
                continue
            _keep(verdict, read_manifest(output / SUBMISSIONS / verdict.submission), codec, cards)
            if verdict.level == "refused":
                refused.append(codec)
    if failed:
        raise failed[0]
    return refused


def _keep(verdict: Verdict, manifest: Submission, codec: str, cards: Path) -> None:
    """Adds a verdict's row to the files of the editions that it covers, and says what it is."""
    for edition in manifest.editions:
        path = cards / edition / VERDICTS_FILE
        with locked(cards / edition / LOCKS_DIRECTORY / "verdicts.lock", f"writing {path}"):
            rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            write_json(path, dict(sorted((rows | {codec: row(verdict, manifest.codec.identity)}).items())))
    print(f"{codec}: {verdict.level}", *verdict.faults, sep="\n  ", flush=True)


if __name__ == "__main__":
    main()
