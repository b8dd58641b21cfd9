"""Packing: one codec's results, with those of anchor and floor beside them, as a submission's folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from harness.report import text
from harness.report.run_facts import shared_facts
from harness.results import hashes
from harness.results.result import ANCHOR, FLOOR, PROTOCOL_VERSION, SCHEMA_VERSION, Result
from harness.results.store import (
    ASKED,
    CODEC_DIRECTORY,
    LADDER,
    LADDER_POINTS,
    NAMED,
    OWN_LADDER,
    RESULT_FILE,
    RUN_FILE,
    SAMPLES_FILE,
    TIMINGS_FILE,
    ResultFolder,
    canonical_json,
    find_results,
)
from harness.running.selection import EDITIONS
from harness.submission.bitstreams import BITSTREAMS_FILE, write_bitstreams
from harness.submission.declared import own_ladder, tracks
from harness.submission.intake import MAX_FILES, MAX_TOTAL_BYTES, objection
from harness.submission.manifest import (
    MANIFEST_FILE,
    RESULTS_FOLDER,
    SUBMISSIONS,
    CodecIdentity,
    DeclaredLadder,
    Submission,
    SubmissionError,
    check_name,
)
from lamofcbench.atomic import replacing, write_json
from lamofcbench.codecs.knowledge import most
from lamofcbench.errors import UnknownNameError, broken_field, one_line, shown
from lamofcbench.identity import family_of
from lamofcbench.version import __version__

_ENVIRONMENT = ("python", "platform", "processor", "device", "device_name", "threads", "packages")
_PRIVATE = ("argv",)
"""What ``run.json`` says of a machine that is nobody else's business: paths on a command line."""


@dataclass(frozen=True)
class Author:
    """What no file of a run says.

    Attributes:
        name: of the submission; empty for the codec's.
        display_name: what a board shows; empty for the codec's name.
        organisation: who submits.
        link: where the codec's code is.
        commit: of that code.
        licence: of the codec.
    """

    name: str = ""
    display_name: str = ""
    organisation: str = ""
    link: str | None = None
    commit: str | None = None
    licence: str = "Apache-2.0"


@dataclass(frozen=True)
class _Packed:
    """One result to pack."""

    folder: ResultFolder
    result: Result
    run: Mapping[str, Any]


def pack(
    results: Path,
    output: Path,
    author: Author,
    codec: str | None = None,
    *,
    scenarios: Collection[str] | None = None,
    sampled: bool = False,
    tell: Callable[[str], object] = lambda what: None,
) -> Path:
    """Writes ``output/submissions/<name>/``, whole or not at all.

    Args:
        results: a results folder whose bitstreams were kept.
        output: a folder in the layout of a results repository; what else is in it stays.
        author: who submits what.
        codec: whose results; None where the folder holds those of one codec beside anchor and floor.
        scenarios: ids of those whose results are packed; None for all that the codec has results of.
        sampled: leave out most bitstreams, but for their hashes.
        tell: called with what is left out.

    Returns:
        The submission's folder.

    Raises:
        SubmissionError: if the results are not fit to be submitted; it says which, and what to do.
    """
    every = [one for one in _newest(results) if scenarios is None or one.result.scenario in scenarios]
    codec = _chosen(codec, every)
    _require_name(codec)
    own = _of_newest_code([one for one in every if one.result.codec.name == codec], tell)
    references = {one.result.ref for one in own}
    beside = [one for one in every if one.result.codec.name in (ANCHOR, FLOOR) and one.result.ref in references]
    _require_fit(own, beside)
    name = check_name(author.name or codec.lower())
    manifest = _manifest(name, codec, own, author, sampled)
    target = output / SUBMISSIONS / name
    if target.exists() and any(target.iterdir()) and not (target / MANIFEST_FILE).is_file():
        raise SubmissionError(f"{target} is there already and is no submission; choose another folder")
    with replacing(target) as temporary:
        for one in {packed.folder.place: packed for packed in (*own, *beside)}.values():
            _copy(one, temporary / RESULTS_FOLDER / one.folder.place, sampled=sampled)
        write_json(temporary / MANIFEST_FILE, manifest.model_dump(mode="json"))
        _require_layout(temporary)
    return target


def _require_layout(folder: Path) -> None:
    """Raises SubmissionError where a validator would read no file, for its name or size."""
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    for name, size_bytes in sorted(sizes.items()):
        if reason := objection(name, size_bytes):
            raise SubmissionError(f"this cannot be submitted: {one_line(name, 300)} {reason}")
    if len(sizes) > MAX_FILES or sum(sizes.values()) > MAX_TOTAL_BYTES:
        raise SubmissionError(
            f"this cannot be submitted: it has {len(sizes)} files and {sum(sizes.values())} bytes, of {MAX_FILES} and "
            f"{MAX_TOTAL_BYTES} at most; submit fewer scenarios, or --sample-bitstreams"
        )


def _newest(results: Path) -> list[_Packed]:
    """The results of today's protocol; of several of one configuration of a codec, the one last asked for."""
    found: dict[str, _Packed] = {}
    for folder in find_results(results):
        result = folder.read_result()
        assert result is not None  # found by this very file
        if not result.is_current:
            continue
        try:
            run = json.loads((folder.path / RUN_FILE).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise SubmissionError(f"{folder.path / RUN_FILE} cannot be read; run the same command again") from error
        one = _Packed(folder, result, run if isinstance(run, dict) else {})
        key = f"{result.ref} {result.codec.name} {canonical_json(result.codec.params)} {result.codec.fitted_on}"
        earlier = found.get(key)
        if earlier is None or str(earlier.run.get(ASKED, "")) < str(one.run.get(ASKED, "")):
            found[key] = one
    if not found:
        raise SubmissionError(
            f"{results} holds no results of protocol {PROTOCOL_VERSION}, which is this version's; run again"
        )
    return list(found.values())


def _chosen(codec: str | None, every: Sequence[_Packed]) -> str:
    names = sorted({one.result.codec.name for one in every})
    if codec is not None:
        if codec not in names:
            raise UnknownNameError("codec in these results", codec, names)
        return codec
    others = [name for name in names if name not in (ANCHOR, FLOOR)]
    if len(others) != 1:
        listed = one_line(", ".join(others)) or "none"
        raise SubmissionError(f"these results are of {len(others)} codecs ({listed}); name one with --codec")
    return others[0]


def _require_name(codec: str) -> None:
    if not codec.isascii() or ".." in codec:
        raise SubmissionError(
            f"codec {shown(codec)} cannot be submitted: there, names have the letters a to z and no two dots in a row"
        )


def _of_newest_code(own: Sequence[_Packed], tell: Callable[[str], object]) -> list[_Packed]:
    """The results of a codec without those that older code left in the folder, which a report leaves out as well."""
    newest: dict[str, str] = {}
    for one in sorted(own, key=lambda one: str(one.run.get(ASKED, ""))):
        newest[family_of(one.result.codec.identity)] = one.result.codec.identity
    kept = [one for one in own if one.result.codec.identity in newest.values()]
    if len(kept) < len(own):
        what = text.count(len(own) - len(kept), "result")
        tell(f"left out {what} of older code; the newest is {one_line(', '.join(sorted(newest.values())), 300)}")
    return kept


def _require_fit(own: Sequence[_Packed], beside: Sequence[_Packed]) -> None:
    """Raises SubmissionError where results cannot be submitted."""
    for ref in sorted({one.result.ref for one in own}):
        for name in (ANCHOR, FLOOR):
            if not any(one.result.ref == ref and one.result.codec.name == name for one in (*own, *beside)):
                raise SubmissionError(f"there is no result of {name} on {ref}; `lamofcbench run` makes it by itself")
    for one in (*own, *beside):
        result = one.result
        if result.samples < result.test_samples:
            raise SubmissionError(
                f"{one.folder.path} covers {result.samples} of {result.test_samples} samples; run it without --limit"
            )
        if result.codec.fitted_on is not None:
            raise SubmissionError(
                f"{one.folder.path} is of a codec that was fitted on {result.codec.fitted_on}; results of --fit-on are "
                "not submitted"
            )
        if not one.folder.bitstream(0).is_file():
            raise SubmissionError(f"{one.folder.path} has no bitstreams; run it with --bitstreams --overwrite always")


def _manifest(name: str, codec: str, own: Sequence[_Packed], author: Author, sampled: bool) -> Submission:
    refs = sorted({one.result.ref for one in own})
    identities = sorted({one.result.codec.identity for one in own})
    if len(identities) > 1:
        raise SubmissionError(
            f"these results are of {len(identities)} versions of {codec} ({one_line(', '.join(identities), 300)}); run "
            "all with one"
        )
    versions: dict[str, int | str] = {
        "lamofcbench": __version__,
        "protocol": PROTOCOL_VERSION,
        "result_schema": SCHEMA_VERSION,
    }
    facts = shared_facts([one.run for one in own])
    environment = {key: value for key, value in facts.items() if key.partition(".")[0] in _ENVIRONMENT}
    try:
        return Submission(
            name=name,
            display_name=author.display_name or codec,
            organisation=author.organisation,
            link=author.link,
            commit=author.commit,
            licence=author.licence,
            knowledge=most(one.result.codec.trained_on for one in own),
            codec=CodecIdentity(
                id=codec,
                identity=identities[0],
                fingerprints={one.folder.place: one.result.codec.fingerprint for one in own},
            ),
            editions=[edition for edition in EDITIONS if _covers(edition, {one.result.scenario for one in own})],
            ladders=[_ladder(ref, [one for one in own if one.result.ref == ref]) for ref in refs],
            bitstreams="sampled" if sampled else "whole",
            versions=versions,
            environment={key: one_line(value, 500) for key, value in environment.items()},
        )
    except ValidationError as error:
        raise SubmissionError(f"not fit for a submission: {broken_field(error)}") from error


def _ladder(ref: str, points: Sequence[_Packed]) -> DeclaredLadder:
    ordered = sorted(points, key=lambda one: -one.result.rate.coded_bytes)
    return DeclaredLadder(
        scenario=ref,
        chosen_by=_chosen_by(points),
        points=[cast("dict[str, Any]", one.result.codec.params) for one in ordered],
    )


def _chosen_by(points: Sequence[_Packed]) -> str:
    """By what the rate points were chosen; `NAMED` where by several things, or where the own ladder is not whole."""
    chosen = {one_line(str(one.run.get(LADDER, NAMED)), 200) for one in points}
    if chosen == {OWN_LADDER}:
        codec = points[0].result.codec
        held = {canonical_json(one.result.codec.params) for one in points}
        wanted = own_ladder(codec.name, codec.identity)
        if wanted is not None:
            return OWN_LADDER if set(wanted) <= held else NAMED
        # A codec with its own source said how many there are when it ran; an older version did not write that down.
        return OWN_LADDER if len(held) >= max(_own_points(one.run) for one in points) else NAMED
    return chosen.pop() if len(chosen) == 1 else NAMED


def _own_points(run: Mapping[str, Any]) -> int:
    """How many rate points ``run.json`` says that the codec's own ladder has; 0 where it does not say."""
    count = run.get(LADDER_POINTS)
    return count if isinstance(count, int) else 0


def _covers(edition: str, scenarios: set[str]) -> bool:
    wanted = tracks(edition)
    return bool(wanted) and set(wanted) <= scenarios


def _copy(one: _Packed, target: Path, *, sampled: bool) -> None:
    """A result as it is, but for its bitstreams, which are put into one file, and private facts of the run."""
    source = one.folder.path
    target.mkdir(parents=True)
    for name in (RESULT_FILE, SAMPLES_FILE, TIMINGS_FILE):
        shutil.copyfile(source / name, target / name)
    shutil.copytree(source / CODEC_DIRECTORY, target / CODEC_DIRECTORY, copy_function=shutil.copyfile)
    try:
        recorded = hashes.recorded(one.run)
        bitstreams = [one.folder.bitstream(index) for index in range(one.result.samples)]
        write_bitstreams(target / BITSTREAMS_FILE, bitstreams, sampled=sampled)
    except (ValueError, OSError) as error:
        raise SubmissionError(f"{source} is damaged ({error}); `lamofcbench verify` says what is") from error
    kept = {name: value for name, value in one.run.items() if name not in _PRIVATE}
    write_json(target / RUN_FILE, kept if recorded is None else hashes.sealed(kept, recorded))
