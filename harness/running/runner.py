"""Runs codecs on a scenario, from stored features to results on disk.

    raw input ──front──► FeatureSet ──shards──► Hub or disk ──load_dataset──► FeatureSet
    └────────── dataset_builders/ ──────────┘                                     │ encode
                                                                                bytes   ← what is counted
                                                                                  │ decode (fresh codec)
                score ◄──metric── prediction ◄──tail── FeatureSet' ◄──────────────┘
                └───────────────────────── harness/ ──────────────────────────────┘

For each codec the leading process fits and saves it, finds which batches an earlier run has left to do, and deals them
out. Every process then sends its batches through the `Pipeline` with codecs loaded from the saved folder, and writes a
journal line for each. At last the leading process lets yet another one decode a few samples anew, and makes tables and
report of all lines.

Runs into one results folder take turns, rate point by rate point: the leading process holds a lock on the folder of a
configuration from before it looks what is there until the result is written. It holds one such lock at a time. Before
that it may hold the lock on a fit; nobody waits for a fit while holding a folder, so no two runs wait for each other.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harness.results import scoring, store
from harness.results.journal import JournalEntry, JournalWriter
from harness.results.record import to_json
from harness.results.result import CodecRecord, Result, VerificationRecord
from harness.running import environment, fitting, ladder, plan, transfer, verification
from harness.running.decoding_process import DecodingProcess
from harness.running.launch import Team
from harness.running.opened import OpenScenario
from harness.running.progress import BatchBars, Finished, Progress
from harness.running.references import check_references
from harness.running.selection import anchor_and_floor
from harness.running.settings import RunSettings
from harness.running.verification import Decoder
from lamofcbench.atomic import write_errors
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.params import to_plain
from lamofcbench.errors import PluginError, ResultsError, ScenarioError
from lamofcbench.identity import identity_of, is_anonymous
from lamofcbench.locks import locked
from lamofcbench.models.pinning import pins_of
from lamofcbench.scenarios.base import Scenario

LOGGER = logging.getLogger("lamofcbench")
LEAST_HEADROOM = 0.2
"""Anchor and floor must differ by this share of the metric's range, or a scenario cannot tell codecs apart."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a scenario's run came to.

    Attributes:
        anchor: uncoded features.
        floor: the calibration mean.
        points: the named codecs, in the order named.
    """

    scenario: Scenario
    anchor: Finished
    floor: Finished
    points: list[Finished]


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """What the leading process tells the others about a codec."""

    folder: Path
    started: str
    pending: tuple[int, ...] = ()
    result: Result | None = None  # there is nothing left to do


def _now(precision: str) -> str:
    return datetime.now(timezone.utc).isoformat(timespec=precision)


class ScenarioRunner(OpenScenario):
    """Runs codecs on one scenario.

    Args:
        scenario: what to run.
        settings: how to run.
        team: the processes that share the work.
        decoder: the process that decodes apart; one of its own where None, which ends with this object.
        progress: is told of it, in the leading process; None for bars where settings ask for progress.
    """

    def __init__(
        self,
        scenario: Scenario,
        settings: RunSettings,
        team: Team | None = None,
        decoder: Decoder | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(scenario, settings, team)
        self._decoder = decoder or DecodingProcess()
        shown = progress or (BatchBars() if settings.progress else Progress())
        self._progress = shown if self.team.leads else Progress()
        self._renewed: set[Path] = set()

    def run(self, codecs: Sequence[Codec]) -> Evaluation:
        """Anchor and floor, then the codecs; each result is on disk when its turn is over.

        Raises:
            DataError: if a test sample's id or reference is wrong, before a model is loaded.
            ScenarioError: if anchor and floor are too close, except under a limit.
        """
        with environment.pinned_threads(self.settings.threads):
            self._check_same_code(self.team.from_leader(lambda: self.code))
            # May build the data; the others then find them.
            self.team.from_leader(lambda: check_references(self.test, self.scenario, self.metric))
            build = self.team.from_leader(lambda: (self.test.data_revision, self.test.builder_identity))
            self.team.together(lambda: self.require_one_build(build))
            anchor, floor = (self._at_home().run_codec(codec) for codec in anchor_and_floor(self.scenario))
            self._check_headroom(anchor.result, floor.result)
            return Evaluation(self.scenario, anchor, floor, [self.run_codec(codec) for codec in codecs])

    def _at_home(self) -> ScenarioRunner:
        """This runner with codecs fitted on the scenario itself, as anchor and floor always are."""
        if self.fits_at_home:
            return self
        own = copy.copy(self)
        own.settings = dataclasses.replace(self.settings, fit_on=())
        for name in ("calibration", "sources", "_tail_sensitivity"):
            own.__dict__.pop(name, None)
        return own

    def run_codec(self, codec: Codec) -> Finished:
        """The result of one codec, computed as far as it is not there yet."""
        began = time.perf_counter()
        self._progress.begin(self.scenario, codec)
        tail = self.tail_of(codec)
        if tail is not None and self.team.from_leader(lambda: self._is_yet_to_be_fitted(codec)):
            if tail.read() is None:
                self._progress.consult_tail(self.scenario)
            tail.computed(self.team)  # by all processes; fitting, in the leading one, finds it
        with contextlib.ExitStack() as turn:
            prepared = self.team.from_leader(lambda: self._prepare(codec, turn))
            result = prepared.result
            if result is None:
                folder = store.ResultFolder(prepared.folder)
                self.team.together(lambda: self._compute(codec, folder, prepared.pending))
                result = self.team.from_leader(lambda: self._finish(codec, folder, prepared.started))
        batches = len(self.batches())
        resumed = batches - len(prepared.pending)
        finished = Finished(prepared.folder, result, time.perf_counter() - began, resumed, batches)
        self._progress.finish(self.scenario, finished)
        return finished

    # ------------------------------------------------------------------------------------ the leading process alone

    def _prepare(self, codec: Codec, turn: contextlib.ExitStack) -> _Prepared:
        """Fits and saves the codec, and finds what is left to compute.

        Args:
            codec: to run.
            turn: takes over the lock on the result's folder, unless the result is finished.
        """
        started = _now("seconds")
        with contextlib.ExitStack() as fit_turn:  # until the codec is saved, where the next run finds it
            fitted, folder, fit_record = self.fitted(codec, fit_turn)
            nameless = fitting.is_anonymous(codec) or any(map(is_anonymous, self.code.values()))
            renew = (self.settings.overwrite == "always" or nameless) and folder.path not in self._renewed
            finished = None if renew else self._finished(folder)
            if finished is None or folder.has_spent_journal(finished):
                turn.enter_context(folder.locked(f"running {fitted!r} on {self.scenario.ref}"))
                if renew:
                    folder.discard()
                self._renewed.add(folder.path)
                finished = self._finished(folder)  # another run may just have finished it
            if finished is not None:
                if folder.has_spent_journal(finished):
                    folder.remove_journal()  # a run that was killed at the very end left it
                folder.ask(_now("microseconds"), ladder.ladder_of(codec, self.scenario, self.settings.ladders))
                return _Prepared(folder.path, started, result=finished)
            folder.begin(self.config_of(fitted.fingerprint))
            fitting.save(fitted, folder.codec_path, fit_record)
        folder.journal.repair()
        computed, damaged = self._computed(codec, folder)
        if damaged:
            LOGGER.warning("%s: %d damaged journal lines are computed again", folder.path, damaged)
        pending = tuple(batch.number for batch in self.batches() if batch.number not in computed)
        return _Prepared(folder.path, started, pending)

    def _finished(self, folder: store.ResultFolder) -> Result | None:
        """The result in a folder; None if there is none, or a shorter one than asked for."""
        result = folder.read_result()
        if result is None or (result.samples < self.samples and self.settings.overwrite != "never"):
            return None
        return result

    def fitted(
        self, codec: Codec, turn: contextlib.ExitStack | None = None
    ) -> tuple[Codec, store.ResultFolder, dict[str, Any]]:
        """The fitted codec, the folder of its result, and what it was fitted on.

        Args:
            codec: fitted or not.
            turn: takes over the lock on the fit, if it has yet to be made; None to make it without.
        """
        directory = store.codec_directory(self.settings.results, self.scenario.ref, codec.name)
        needs_fit = codec.needs_calibration and not codec.state
        data = self.calibration if needs_fit else self.test
        tail = self.tail_of(codec) if needs_fit else None
        sources = self.sources if needs_fit else [self.scenario]
        record = fitting.fit_record(codec, sources, data, self.settings.seed, tail)
        fitted = self._find_fitted(directory, codec, record) if needs_fit else codec
        if fitted is None and turn is not None:
            file = store.lock_file(self.settings.results, *directory.parts[-2:], f"fit-{store.config_hash(record)}")
            turn.enter_context(locked(file, f"fitting {codec!r} on {self.scenario.ref}"))
            fitted = self._find_fitted(directory, codec, record)
        if fitted is None:
            if self.fits_at_home or not needs_fit:
                fitted = fitting.fit(codec, self.calibration, self.settings.seed, tail)
            else:
                home = self._at_home_of(codec)
                fitted = transfer.fit_elsewhere(codec, self.sources, self.calibration, self.settings.seed, tail, home)
        return fitted, store.ResultFolder(directory / store.config_hash(self.config_of(fitted.fingerprint))), record

    def _is_yet_to_be_fitted(self, codec: Codec) -> bool:
        directory = store.codec_directory(self.settings.results, self.scenario.ref, codec.name)
        record = fitting.fit_record(codec, self.sources, self.calibration, self.settings.seed, self.tail_of(codec))
        return self._find_fitted(directory, codec, record) is None

    def _find_fitted(self, directory: Path, codec: Codec, record: dict[str, Any]) -> Codec | None:
        return fitting.find_fitted(directory, codec, record) if self._may_reuse(codec) else None

    def _at_home_of(self, codec: Codec) -> Path | None:
        """Where results of a codec stand on the one scenario that it is fitted on, if they may serve."""
        if len(self.sources) > 1 or not self._may_reuse(codec):
            return None
        return store.codec_directory(self.settings.results, self.sources[0].ref, codec.name)

    def _may_reuse(self, codec: Codec) -> bool:
        return self.settings.overwrite != "always" and not fitting.is_anonymous(codec)

    def _computed(self, codec: Codec, folder: store.ResultFolder) -> tuple[dict[int, JournalEntry], int]:
        keeps, drawn = self.settings.keeps_bitstreams(self.scenario), self._draw(codec, folder).samples
        return folder.computed(self.scenario.batch_size, with_bitstreams=keeps, drawn=drawn)

    def _draw(self, codec: Codec, folder: store.ResultFolder) -> verification.Draw:
        count = 0 if fitting.is_anonymous(codec) else self.settings.verify_samples
        return verification.draw(folder.path.name, count, self.samples, len(self.test))

    def _finish(self, codec: Codec, folder: store.ResultFolder, started: str) -> Result:
        """Makes tables and report of what all processes have computed."""
        computed, _ = self._computed(codec, folder)
        wanted = {batch.number: computed[batch.number] for batch in self.batches() if batch.number in computed}
        if len(wanted) < len(self.batches()):
            raise ResultsError(f"{folder.path} lost batches while it was in use; rerun the same command")
        saved = fitting.load_again(codec, folder.codec_path)
        verified = self._verify(saved, folder, wanted)
        folder.write_tables(wanted, self.scenario.prediction_kind, self.samples)
        result = self._result(saved, folder, verified)
        ranks = Counter(entry.rank for entry in wanted.values())
        run = {
            **environment.describe(self.device),
            "seed": self.settings.seed,
            "threads": self.settings.threads,
            "processes": self.team.size,
            "batches_by_rank": {str(rank): count for rank, count in sorted(ranks.items())},
            "bitstreams": self.settings.keeps_bitstreams(self.scenario),
            "argv": list(self.settings.argv),
            "started": started,
            "finished": _now("seconds"),
            store.LADDER: ladder.chosen_by(codec, self.scenario, self.settings.ladders),
            store.ASKED: _now("microseconds"),
        }
        if run[store.LADDER] == store.OWN_LADDER:
            run[store.LADDER_POINTS] = len(ladder.own_points(type(codec)))
        if pins := pins_of(self.scenario):
            run["pins"] = pins
        if fitting.is_anonymous(codec):
            run[store.CODE_TOKEN] = fitting.class_token(type(codec))
        folder.finish(result, run)
        written = folder.read_result()
        if written is None:
            raise ResultsError(f"{folder.path} vanished while it was in use")
        return written

    def _verify(
        self, codec: Codec, folder: store.ResultFolder, entries: Mapping[int, JournalEntry]
    ) -> VerificationRecord:
        """Decodes a few samples in another process; before anything is announced, as a failure ends the run."""
        if fitting.is_anonymous(codec):
            return VerificationRecord(samples=0, reason=verification.ANONYMOUS)
        if not self.settings.verify_samples:
            return VerificationRecord(samples=0, reason=verification.SWITCHED_OFF)
        samples, threads = self._draw(codec, folder).samples, self.settings.threads
        return verification.verify(codec, folder, entries, samples, self.scenario, self._decoder, threads)

    def _result(self, codec: Codec, folder: store.ResultFolder, verified: VerificationRecord) -> Result:
        table = scoring.read_figures(folder.path / store.SAMPLES_FILE)
        config = self.config_of(codec.fingerprint)
        del config["fingerprint"]
        return Result(
            **config,
            config_hash=folder.path.name,
            codec=CodecRecord(
                name=codec.name,
                identity=identity_of(codec),
                params=to_plain(codec.params),
                fingerprint=codec.fingerprint.hex(),
                state_bytes=codec.state_bytes,
                trained_on=fitting.knowledge_of(codec, folder.codec_path),
                fitted_on=fitting.fitted_on(folder.codec_path, self.scenario),
                lossless=codec.lossless,
            ),
            samples=self.samples,
            test_samples=len(self.test),
            metric=self.scenario.metric,
            direction=self.scenario.direction,
            **scoring.figures_of(self.metric, table),
            verification=verified,
        )

    def _check_same_code(self, leaders: dict[str, str]) -> None:
        """Raises `PluginError` where a file was edited between the starts of two processes."""
        if leaders != self.code:
            raise PluginError(
                f"the files of {self.scenario.id} were edited while the processes started; rerun the same command"
            )

    def _check_headroom(self, anchor: Result, floor: Result) -> None:
        low, high = self.metric.range
        if abs(anchor.score - floor.score) >= LEAST_HEADROOM * (high - low):
            return
        message = (
            f"{self.scenario.id}: uncoded features score {anchor.score:.4g} and their mean {floor.score:.4g}, closer "
            f"than a fifth of the range of {type(self.metric).name}; the scenario cannot tell codecs apart"
        )
        if self.settings.limit is None:
            raise ScenarioError(message)
        if self.team.leads:
            LOGGER.warning("%s (on %d samples)", message, anchor.samples)

    # ------------------------------------------------------------------------------------------------ every process

    def _compute(self, codec: Codec, folder: store.ResultFolder, pending: Sequence[int]) -> None:
        """This process's share of the pending batches."""
        by_number = {batch.number: batch for batch in self.batches()}
        mine = plan.share([by_number[number] for number in pending], self.team.rank, self.team.size)
        if not mine:
            return
        pipeline = self.pipeline(codec, folder.codec_path)
        keeps, candidates = self.settings.keeps_bitstreams(self.scenario), self._draw(codec, folder).candidates
        if keeps:
            with write_errors(folder.path / store.BITSTREAM_DIRECTORY):
                (folder.path / store.BITSTREAM_DIRECTORY).mkdir(exist_ok=True)
        with JournalWriter(folder.journal, self.team.rank) as journal:
            for batch in self._progress.batches(mine):
                self.team.require_all()
                outcome = pipeline.run(batch)
                for index, data in enumerate(outcome.bitstreams, batch.start):
                    if keeps:
                        folder.write_bitstream(index, data)
                    elif index in candidates:
                        folder.write_candidate(index, data)
                entry = {
                    "batch": batch.number,
                    "rank": self.team.rank,
                    "rows": [to_json(row) for row in outcome.records],
                    "timings": outcome.timings,
                    "evidence": {i: e for i, e in enumerate(outcome.evidence, batch.start) if i in candidates},
                }
                journal.append(entry)
