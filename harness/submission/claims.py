"""What a submission claims, held against itself: every rate point, scenario, fingerprint and class that it declares."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.results.result import ANCHOR, FLOOR, PROTOCOL_VERSION, Result
from harness.results.store import OWN_LADDER, RESULT_FILE, ResultFolder, canonical_json
from harness.submission.declared import own_ladder, tracks
from harness.submission.findings import Findings
from harness.submission.manifest import MANIFEST_FILE, RESULTS_FOLDER, DeclaredLadder, Submission
from lamofcbench.codecs.knowledge import CLASSES, Knowledge, most
from lamofcbench.codecs.registry import CODECS
from lamofcbench.codecs.saved_source import read_source
from lamofcbench.codecs.saving import CONFIG_FILE, read_config
from lamofcbench.errors import CodecError, LaMoFCBenchError, shown
from lamofcbench.identity import identity_of

MAX_THREADS = 64
ENDS: Mapping[str, Knowledge] = {ANCHOR: "nothing", FLOOR: "calibration"}
"""What the codecs at both ends of every curve know."""


@dataclass(frozen=True)
class Claim:
    """One result of a submission.

    Attributes:
        folder: its files.
        result: what it states.
    """

    folder: ResultFolder
    result: Result

    @property
    def threads(self) -> int:
        """Of torch in the run, as far as it says so and a machine may have as many."""
        return min(self.folder.threads(), MAX_THREADS)

    @property
    def path(self) -> Path:
        """The file that states it."""
        return self.folder.path / RESULT_FILE


def read_claims(folder: Path, findings: Findings) -> list[Claim]:
    """The results of a submission that can be read."""
    claims = []
    for path in sorted((folder / RESULTS_FOLDER).glob("*/*/*")):
        held = ResultFolder(path)
        try:
            result = held.read_result()
        except (LaMoFCBenchError, OSError) as error:
            findings.fault(path / RESULT_FILE, str(error))
            continue
        if result is None:
            findings.fault(path / RESULT_FILE, "is missing: this result is not finished")
        else:
            claims.append(Claim(held, result))
    return claims


def check_claims(manifest: Submission, claims: Sequence[Claim], findings: Findings) -> None:
    """Compares what the manifest declares with the results that are there."""
    name = findings.folder.name
    if manifest.name != name:
        findings.fault(MANIFEST_FILE, f"is of submission {manifest.name}, not of the folder {name!r} it is in")
    if manifest.versions.get("protocol") != PROTOCOL_VERSION:
        made = manifest.versions.get("protocol")
        findings.fault(MANIFEST_FILE, f"is of protocol {shown(made)}; this version has {PROTOCOL_VERSION}")
    _check_codec(manifest, claims, findings)
    _check_ends(claims, findings)
    _check_ladders(manifest, claims, findings)
    _check_editions(manifest, findings)


def _own(manifest: Submission, claims: Iterable[Claim]) -> list[Claim]:
    return [claim for claim in claims if claim.result.codec.name == manifest.codec.id]


def _check_codec(manifest: Submission, claims: Sequence[Claim], findings: Findings) -> None:
    own = _own(manifest, claims)
    for claim in claims:
        if claim.result.codec.name not in (manifest.codec.id, ANCHOR, FLOOR):
            findings.fault(claim.path, f"is of codec {claim.result.codec.name}; submitted is {manifest.codec.id}")
    places = {claim.folder.place: claim for claim in own}
    for place in sorted(set(manifest.codec.fingerprints) - set(places)):
        findings.fault(MANIFEST_FILE, f"has a fingerprint of {shown(place, 200)}, of which there is no result")
    for place, claim in places.items():
        stated = manifest.codec.fingerprints.get(place)
        if stated != claim.result.codec.fingerprint:
            findings.fault(claim.path, f"has another fingerprint than {MANIFEST_FILE} states ({shown(stated, 70)})")
        if claim.result.codec.identity != manifest.codec.identity:
            findings.fault(claim.path, f"is of {claim.result.codec.identity}; submitted is {manifest.codec.identity}")
        if claim.result.codec.fitted_on is not None:
            findings.fault(claim.path, f"is of a codec fitted on {claim.result.codec.fitted_on}, which is not ranked")
    _check_sources(own, findings)
    known = most(claim.result.codec.trained_on for claim in own) if own else manifest.knowledge
    if CLASSES.index(manifest.knowledge) < CLASSES.index(known):
        findings.fault(MANIFEST_FILE, f"states knowledge {manifest.knowledge!r}; its results state {known!r}")


def _check_sources(own: Sequence[Claim], findings: Findings) -> None:
    """Every result brings the same source, so that who has read one copy has read all that runs.

    That they have one identity does not tell: until a source runs, it is but what a config states.
    """
    found: list[tuple[Path, str]] = []
    for claim in own:
        folder = claim.folder.codec_path
        with contextlib.suppress(CodecError):  # a damaged one is a fault already, and does not run
            record = read_config(folder)["codec_source"]
            found.append((folder / CONFIG_FILE, "" if record is None else read_source(folder, record).digest))
    if len({source for _, source in found}) > 1:
        for path, _ in found:
            findings.fault(path, "has another source than other results of this codec; none of them is run")


def _check_ends(claims: Sequence[Claim], findings: Findings) -> None:
    """Anchor and floor are the shipped ones, one of each on a scenario: every retention rests on them."""
    first: dict[tuple[str, str], Claim] = {}
    for claim in claims:
        codec = claim.result.codec
        if codec.name not in ENDS:
            continue
        identity = identity_of(CODECS.get(codec.name))
        if codec.identity != identity:
            findings.fault(claim.path, f"is of {shown(codec.identity, 200)}; every retention rests on {identity}")
        if codec.trained_on != ENDS[codec.name]:
            findings.fault(claim.path, f"states that {codec.name} knows {codec.trained_on!r}, not {ENDS[codec.name]!r}")
        other = first.setdefault((claim.result.ref, codec.name), claim)
        if other is not claim:
            findings.fault(claim.path, f"is a second result of {codec.name} on {claim.result.ref}")


def _check_ladders(manifest: Submission, claims: Sequence[Claim], findings: Findings) -> None:
    by_scenario: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        by_scenario[claim.result.ref].append(claim)
    declared: dict[str, DeclaredLadder] = {}
    for ladder in manifest.ladders:
        if ladder.scenario in declared:
            findings.fault(MANIFEST_FILE, f"declares two ladders of {ladder.scenario}")
        declared[ladder.scenario] = ladder
    for ref in sorted(set(by_scenario) - set(declared)):
        findings.fault(by_scenario[ref][0].path, f"is of {ref}, of which {MANIFEST_FILE} declares no ladder")
    points = checked = 0
    for ref, ladder in sorted(declared.items()):
        there = by_scenario.get(ref, [])
        for name in {ANCHOR, FLOOR} - {claim.result.codec.name for claim in there}:
            findings.fault(MANIFEST_FILE, f"there is no result of {name} on {ref}")
        found: dict[str, Claim] = {}
        for claim in _own(manifest, there):
            key = canonical_json(claim.result.codec.params)
            if key in found:
                findings.fault(claim.path, f"is a second result of the rate point of {found[key].folder.place}")
            found[key] = claim
        wanted = {canonical_json(point): point for point in ladder.points}
        points += len(wanted)
        checked += len(set(wanted) & set(found))
        for key in wanted.keys() - found.keys():
            findings.fault(MANIFEST_FILE, f"rate point {shown(wanted[key], 200)} of the ladder of {ref} has no result")
        for key in found.keys() - wanted.keys():
            findings.fault(found[key].path, f"is of a rate point that the ladder of {ref} does not have")
    findings.count("rate points of the declared ladders", checked, points)


def rate_points(stated: Any) -> dict[str, dict[str, Any]] | None:
    """The rate points that a stranger's codec says are its own ladder, by all parameters as text; None for nonsense."""
    try:
        return {canonical_json(dict(point)): dict(point) for point in stated}
    except (TypeError, ValueError, RecursionError):
        return None


def check_own_ladders(
    manifest: Submission, said: Mapping[str, Mapping[str, dict[str, Any]] | None], findings: Findings
) -> None:
    """Finds what was left out of codecs' own ladders; counts those of which nobody here knows what belongs to them.

    Args:
        manifest: declares the ladders.
        said: by scenario, the rate points of a codec with its own source, where that ran and said so.
        findings: takes what is wrong.
    """
    for ladder in manifest.ladders:
        if ladder.chosen_by != OWN_LADDER:  # points by name, or by a rule, are what the manifest says that they are
            continue
        reason = "the own ladder of a codec with its own source is known where that runs, with --trust-code"
        points = own_ladder(manifest.codec.id, manifest.codec.identity) or said.get(ladder.scenario)
        findings.count("ladders known to be whole", *((0, 1, reason) if points is None else (1, 1)))
        for key in sorted((points or {}).keys() - {canonical_json(point) for point in ladder.points}):
            what = f"the ladder of {ladder.scenario} lacks {shown((points or {})[key], 200)} of the codec's own"
            findings.fault(MANIFEST_FILE, what)


def _check_editions(manifest: Submission, findings: Findings) -> None:
    run = {ladder.scenario.rpartition("@")[0] for ladder in manifest.ladders}
    for edition in manifest.editions:
        wanted = tracks(edition)
        for scenario in wanted:
            if scenario not in run:
                findings.fault(MANIFEST_FILE, f"claims the {edition} edition and has no ladder of {scenario}")
        findings.count("scenarios of the claimed editions", len(set(wanted) & run), len(wanted))
