"""Validation: what a submission comes to for somebody who believes nothing of it.

    names, kinds, sizes (`intake`) ──► manifest ──► hashes and tables (`harness.results.verification`)
      ──► ladders, editions, fingerprints (`claims`) ──► samples, rates, scores, figures (`recount`)
      ──► decoding apart, tail, predictions (`replay`) ──► fitting again (`refit`) ──► new samples (`fresh`)

Nothing that came with a submission runs in this process; a later stage is not entered where an earlier one found a
result wrong.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.results.result import PROTOCOL_VERSION
from harness.results.verification import verify_results
from harness.running.confinement import Limits, shares_disk, unconfined
from harness.running.decoding_process import DecodingProcess
from harness.running.environment import source_commit
from harness.running.opened import OpenScenario
from harness.running.settings import RunSettings
from harness.submission import recount
from harness.submission.at_hand import NotAtHandError, OwnScenario
from harness.submission.claims import Claim, check_claims, check_own_ladders, rate_points, read_claims
from harness.submission.findings import Findings
from harness.submission.fresh import FreshSplit, compare_fresh, fresh_split
from harness.submission.intake import check_kinds, check_layout
from harness.submission.manifest import (
    MANIFEST_FILE,
    NAME,
    RESULTS_FOLDER,
    SUBMISSIONS,
    Submission,
    SubmissionError,
    read_manifest,
    submission_digest,
)
from harness.submission.reencode import check_encoder
from harness.submission.refit import check_fit
from harness.submission.replay import Replay, Share, load, rank
from harness.submission.settled import Settled
from harness.submission.verdict import NOTHING_READ, USUAL, Looked, Verdict
from lamofcbench.audit import Audit
from lamofcbench.errors import LaMoFCBenchError, WriteError, first_line, one_line
from lamofcbench.scenarios.base import SCENARIOS, Scenario
from lamofcbench.version import __version__

SHARE = 0.1
"""Of the batches of each result that are decoded and predicted anew."""


@dataclass(frozen=True)
class Scrutiny:
    """How closely to look.

    Attributes:
        data: a dataset folder or repository; None for the cache's.
        scenarios: of users' own files, beside the registered ones.
        trust_code: run the submitter's own source, in the other process.
        full: decode and predict every sample, and fit codecs anew.
        seed: draws what is looked at; None for one that nobody can know before.
        fresh: draws new samples; None for none.
        decode_seconds: for one sample.
        fit_seconds: for what one codec learns.
        device: a torch device; None for CUDA where there is one, else the CPU.
        limits: on the process that decodes.
    """

    data: str | Path | None = None
    scenarios: Sequence[Scenario] = ()
    trust_code: bool = False
    full: bool = False
    seed: int | None = None
    fresh: int | None = None
    decode_seconds: float = 300.0
    fit_seconds: float = 3600.0
    device: str | None = None
    limits: Limits = Limits()  # noqa: RUF009  # frozen

    @property
    def looked(self) -> Looked:
        """What of it a verdict records."""
        return Looked(trusted=self.trust_code, full=self.full, fresh=self.fresh)


def validate(
    folder: Path,
    scrutiny: Scrutiny = Scrutiny(),  # frozen
    decoder: DecodingProcess | None = None,
    tell: Callable[[str], object] = lambda what: None,
    settled: Settled | None = None,
) -> Verdict:
    """What a submission comes to.

    Args:
        folder: of the submission.
        scrutiny: how closely to look.
        decoder: the process that decodes; None for one of its own, with the limits.
        tell: called with what is looked at next.
        settled: anchors and floors of submissions that were validated before in this process, on the same scenarios.

    Raises:
        SubmissionError: if there is no folder, it holds submissions and is none, its name is none of a submission, or
            what is needed here fails, of which the submission has no fault.
    """
    folder = folder.absolute()
    _require_candidate(folder)
    seed = secrets.randbits(32) if scrutiny.seed is None else scrutiny.seed
    findings = Findings(folder)
    digest = NOTHING_READ
    if check_kinds(folder, findings):
        digest = submission_digest(folder)
        if check_layout(folder, findings):
            try:
                _check_content(folder, scrutiny, seed, decoder, findings, tell, settled or Settled())
            except NotAtHandError as error:
                raise SubmissionError(f"{folder.name} cannot be validated here: {error}") from error
        if submission_digest(folder) != digest:
            raise SubmissionError(f"{folder} changed while it was validated; validate it again")
    return verdict_of(folder.name, digest, findings, seed, scrutiny.looked)


def require_submission(folder: Path) -> None:
    """Refuses a local folder that nobody can have meant as a submission, of which a verdict would say nothing.

    Raises:
        SubmissionError: as `validate`, and if its manifest is missing.
    """
    folder = folder.absolute()
    _require_candidate(folder)
    if not os.path.lexists(folder / MANIFEST_FILE):
        raise SubmissionError(
            f"{one_line(str(folder), 300)} is no submission: it has no {MANIFEST_FILE}; `lamofcbench submit` makes one"
        )


def _require_candidate(folder: Path) -> None:
    if not folder.is_dir() or folder.is_symlink():
        raise SubmissionError(f"there is no folder {one_line(str(folder), 300)}")
    held = sorted(path.parent for path in folder.glob(f"{SUBMISSIONS}/[!.]*/{MANIFEST_FILE}"))
    if held and not (folder / MANIFEST_FILE).exists():
        raise SubmissionError(
            f"{one_line(str(folder), 300)} is a results repository; name a submission in it: "
            f"{one_line(', '.join(path.relative_to(folder).as_posix() for path in held), 500)}"
        )
    if not NAME.fullmatch(folder.name):
        raise SubmissionError(f"{one_line(folder.name)!r} is no name of a submission")


def verdict_of(name: str, digest: str, findings: Findings, seed: int = 0, looked: Looked = USUAL) -> Verdict:
    """What findings come to, as of now.

    Args:
        name: of the submission.
        digest: over its files; `NOTHING_READ` where none was read.
        findings: all there are.
        seed: that drew what was looked at.
        looked: how closely.
    """
    return Verdict(
        submission=name,
        digest=digest,
        level=findings.level,
        faults=findings.faults,
        checked=findings.checks,
        replayed=findings.replayed,
        looked=looked,
        seed=seed,
        versions=dict(_versions()),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


@functools.cache
def _versions() -> tuple[tuple[str, int | str], ...]:
    """Of what validates."""
    commit = source_commit()
    known: dict[str, int | str] = {"lamofcbench": __version__, "protocol": PROTOCOL_VERSION}
    return tuple((known | ({} if commit is None else {"commit": commit})).items())


def _check_content(
    folder: Path,
    scrutiny: Scrutiny,
    seed: int,
    decoder: DecodingProcess | None,
    findings: Findings,
    tell: Callable[[str], object],
    settled: Settled,
) -> None:
    try:
        manifest = read_manifest(folder)
    except SubmissionError as error:
        findings.fault(MANIFEST_FILE, str(error))
        return
    tell("files and hashes")
    _check_hashes(folder / RESULTS_FOLDER, findings)
    claims = read_claims(folder, findings)
    check_claims(manifest, claims, findings)
    share = Share(
        1.0 if scrutiny.full else SHARE, seed, scrutiny.decode_seconds, scrutiny.fit_seconds, scrutiny.trust_code
    )
    with contextlib.ExitStack() as stack:
        limits = _hiding(scrutiny, folder)
        running = decoder or stack.enter_context(contextlib.closing(DecodingProcess(limits)))
        checks = _ResultChecks(manifest, scrutiny, share, running, findings, tell, settled)
        # In an order that nobody knows before: what one result leaves behind serves no other by design.
        ordered = sorted(claims, key=lambda claim: (rank(seed, claim.result.ref), rank(seed, claim.folder.place)))
        for ref, of_scenario in itertools.groupby(ordered, key=lambda claim: claim.result.ref):
            held = list(of_scenario)
            findings.count_replayed(ref, checks.check_scenario(held), len(held))
        check_own_ladders(manifest, checks.said, findings)


def _hiding(scrutiny: Scrutiny, folder: Path) -> Limits:
    """The limits of a decoder that sees neither the bytes of other rate points nor the data."""
    data = [] if scrutiny.data is None else [str(Path(scrutiny.data).absolute())]
    return dataclasses.replace(scrutiny.limits, hidden=(str(folder), str(folder.parent), *data))


def _check_hashes(results: Path, findings: Findings) -> None:
    """What reading every byte of the results finds, without running anything."""
    audit = Audit()
    verify_results(results, audit)
    for finding in audit.damage:
        findings.fault(finding.path, finding.what)
    findings.count("files read and hashed", audit.files, audit.files)


_OF_CONTENT = (
    LaMoFCBenchError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError,
    pa.ArrowException,
)  # fmt: skip
"""What a result's own content may raise where it is used."""


@dataclass(frozen=True)
class _ResultChecks:
    """The checks of a submission's results, one by one.

    Attributes:
        said: by scenario, the rate points that the submitted codec says are its own ladder.
    """

    manifest: Submission
    scrutiny: Scrutiny
    share: Share
    decoder: DecodingProcess
    findings: Findings
    tell: Callable[[str], object]
    settled: Settled
    said: dict[str, dict[str, dict[str, Any]] | None] = dataclasses.field(default_factory=dict)

    def check_scenario(self, claims: Sequence[Claim]) -> int:
        """All results of a scenario, for which data and model are opened once; returns how many were replayed."""
        findings, reason, replayed = self.findings, "", 0
        try:
            opened = _open(claims[0], self.scrutiny)
            _ = opened.test, opened.model
        except LaMoFCBenchError as error:
            reason = one_line(str(error), 200)
        findings.count("scenarios with data at hand", 0 if reason else 1, 1, reason)
        if reason:
            return 0
        fresh = self._fresh(opened)
        for claim in claims:
            if findings.are_about(claim.folder.path):
                continue
            self.tell(claim.folder.place)
            try:
                replayed += self._check_or_recall(claim, opened, fresh)
            except WriteError as error:
                raise NotAtHandError(str(error)) from error
            except _OF_CONTENT as error:
                findings.fault(claim.path, f"cannot be validated: {first_line(error)}")
        return replayed

    def _fresh(self, opened: OpenScenario) -> FreshSplit | None:
        """New samples where they were asked for and there are any."""
        if self.scrutiny.fresh is None:
            return None
        split = None
        try:
            split = fresh_split(opened, self.scrutiny.fresh)
        except LaMoFCBenchError as error:  # collected data are no fault of anybody's
            self.tell(f"{opened.scenario.ref} has no new samples: {first_line(error)}")
        self.findings.count("scenarios with new samples", 0 if split is None else 1, 1)
        return split

    def _check_or_recall(self, claim: Claim, opened: OwnScenario, fresh: FreshSplit | None) -> bool:
        """As `_check_claim`, but for an anchor or a floor whose very files were looked at before."""
        look = self.scrutiny
        key = self.settled.key(claim, look.looked, str(look.data), look.device, self.manifest.bitstreams)
        if key is None:
            return self._check_claim(claim, opened, fresh)
        known = self.settled.counts(key)
        if known is None:
            with self.findings.noted() as counts:
                replayed = self._check_claim(claim, opened, fresh)
            if replayed:
                self.settled.keep(key, counts)
            return replayed
        for check in known:
            self.findings.count(check.what, check.checked, check.of, check.left_out)
        return True

    def _check_claim(self, claim: Claim, opened: OwnScenario, fresh: FreshSplit | None) -> bool:
        """One result, from its table to new samples. What it holds may be anything, and so may be what that raises.

        Returns:
            Whether some of it was decoded and predicted, and nothing was wrong. Samples that its author chose, which
            are all that sampled bitstreams show, tell nothing of the others.
        """
        findings, folder = self.findings, claim.folder.path
        counted = recount.recount(claim, opened, findings)
        if counted is None or not load(claim, self.decoder, self.share, findings):
            return False
        if claim.result.codec.name == self.manifest.codec.id:
            self.said[claim.result.ref] = rate_points(self.decoder.facts.get("rate_points"))
        rows, bitstreams = counted
        if not bitstreams.are_as_stated(self.manifest.bitstreams):
            shows = f"{len(bitstreams.shown)} of {len(rows)} samples of {claim.folder.place} are here"
            findings.fault(MANIFEST_FILE, f"states {self.manifest.bitstreams} bitstreams; those of {shows}")
            return False
        _count_confinement(self.scrutiny, findings)
        again = Replay(claim, rows, bitstreams, opened, self.decoder, self.share, findings)
        again.run()
        if not findings.are_about(folder):
            check_encoder(again)
        if not findings.are_about(folder):
            check_fit(claim, opened, findings, self.decoder, self.share, every=self.scrutiny.full)
        if fresh is not None and not findings.are_about(folder):
            compare_fresh(claim, rows, fresh, opened, self.decoder, self.share, findings)
        return bitstreams.are_whole and bool(again.batches) and not findings.are_about(folder)


def _open(claim: Claim, scrutiny: Scrutiny) -> OwnScenario:
    own = {scenario.id: scenario for scenario in scrutiny.scenarios}
    name = claim.result.scenario
    if name not in own and name not in SCENARIOS.names():
        raise SubmissionError(f"scenario {one_line(name)} is not registered here; --scenarios names its file")
    settings = RunSettings(results=claim.folder.path.parents[2], data=scrutiny.data, device=scrutiny.device)
    return OwnScenario(own.get(name) or SCENARIOS.get(name), settings)


def _count_confinement(scrutiny: Scrutiny, findings: Findings) -> None:
    """Whether a stranger's source was cut off from network and disk; shipped codecs have no use for either."""
    if scrutiny.trust_code:
        for what, reason in (
            ("codecs without a network", unconfined()),
            ("codecs with a disk of their own", shares_disk()),
        ):
            findings.count(what, 0 if reason else 1, 1, reason)
