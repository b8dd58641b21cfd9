"""Samples that nobody can have seen: drawn now from a mini scenario's generators, coded, and held against the results.

A codec that knows the test split, in its state or in its code, codes that split better than others like it. New samples
of the same kind tell: rate and score on them must be those that were submitted, within what so many samples can tell.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.results.record import Record, stack_statistics
from harness.running import environment
from harness.running.opened import OpenScenario
from harness.running.pipeline import Pipeline
from harness.running.plan import batch_plan
from harness.statistics.bootstrap import bootstrap_ratio, draw_counts, resample_indices
from harness.submission.at_hand import require_memory
from harness.submission.bitstreams import most_coded_bytes
from harness.submission.claims import Claim
from harness.submission.findings import Findings
from harness.submission.given import GivenBytes, GivenFeatures
from harness.submission.replay import Share, decoded_apart, load_into
from lamofcbench import rates
from lamofcbench.builders import BUILDERS
from lamofcbench.errors import DataError, LaMoFCBenchError
from lamofcbench.features import FeatureSet

if TYPE_CHECKING:
    from harness.running.decoding_process import DecodingProcess

SAMPLES = 64
"""At most as many as the test split has."""
LEAST_SAMPLES = 8
DRAWS_A_SAMPLE = 20
"""After so many draws for each sample wanted, the generator has no more that are new."""
RESAMPLES = 400
ERRORS = 4.0
"""Standard errors of the difference: some hundred comparisons of honest results are to pass."""
RATE_SLACK, SCORE_SLACK = 0.02, 0.02
"""Beside that: a share of the rate, and of the metric's range. Tables fitted to few samples miss by so much."""


@dataclass(frozen=True)
class FreshSplit:
    """New samples of a scenario, as the pipeline reads a split."""

    data_revision: str
    ids: Sequence[str]
    sets: Sequence[FeatureSet]
    references: Sequence[Any]

    def __len__(self) -> int:
        return len(self.ids)

    def features(self, index: int, /) -> FeatureSet:
        """The features of a sample."""
        return self.sets[index]

    def sample_id(self, index: int, /) -> str:
        """The id of a sample."""
        return self.ids[index]

    def reference(self, index: int, /) -> Any:
        """What a prediction is compared with."""
        return self.references[index]


def fresh_split(opened: OpenScenario, seed: int) -> FreshSplit:
    """New samples, none of which is in the test or the calibration split.

    Args:
        opened: of the scenario.
        seed: of the draws.

    Raises:
        DataError: if the scenario's builder has none, or too few.
    """
    from dataset_builders.base import Builder, stored_features

    scenario = opened.scenario
    if scenario.builder is None:
        raise DataError(f"{scenario.id} has no builder that could draw new samples")
    builder = BUILDERS.get(scenario.builder, relative_to=scenario.origin)()
    if not isinstance(builder, Builder):
        raise DataError(f"builder {builder.name!r} cannot draw new samples")
    count = min(SAMPLES, len(opened.test))
    known = itertools.chain(builder.samples("test"), builder.samples("calibration"))
    seen = {builder.content_hash(sample) for sample in known}
    samples = []
    for sample in itertools.islice(builder.fresh_samples(seed), DRAWS_A_SAMPLE * count):
        content = builder.content_hash(sample)
        if content not in seen:
            seen.add(content)
            samples.append(sample)
        if len(samples) == count:
            break
    if len(samples) < LEAST_SAMPLES:
        raise DataError(f"builder {builder.name!r} draws {len(samples)} new samples, which tell nothing")
    sets = [stored_features(opened.model, sample, scenario) for sample in samples]
    references: list[Any] = []
    for start in range(0, len(samples), scenario.batch_size):
        part = slice(start, start + scenario.batch_size)
        references += builder.references(opened.model, samples[part], sets[part])
    return FreshSplit(f"fresh {seed}", [sample.id for sample in samples], sets, references)


def compare_fresh(
    claim: Claim,
    rows: Sequence[Record],
    split: FreshSplit,
    opened: OpenScenario,
    decoder: DecodingProcess,
    share: Share,
    findings: Findings,
) -> None:
    """Codes new samples with a result's codec, which the other process has loaded, and compares rate and score.

    Args:
        claim: the result.
        rows: of its table.
        split: the new samples.
        opened: of the scenario.
        decoder: the other process.
        share: how long a sample may take, and whether the codec's own source is trusted.
        findings: takes what is wrong.
    """
    try:
        with environment.pinned_threads(claim.threads):
            coded = [_encoded(split.features(index), decoder, share) for index in range(len(split))]
            decoder.close()  # or else a codec could remember what it has encoded
            load_into(decoder, claim, share)
            specs = opened.scenario.specs
            decoded = [decoded_apart(decoder, data, split.features(at), specs, share) for at, data in enumerate(coded)]
    except LaMoFCBenchError as error:
        findings.fault(claim.path, f"its codec fails on new samples: {error}")
        return
    try:
        with environment.pinned_threads(claim.threads):
            name = claim.result.codec.name
            pipeline = Pipeline(
                opened.scenario,
                split,
                opened.model,
                opened.metric,
                GivenBytes(name, coded),
                GivenFeatures(name, decoded),
                opened.device,
                claim.result.seed,
            )
            batches = batch_plan(len(split), opened.scenario.batch_size)
            records = [record for batch in batches for record in pipeline.run(batch).records]
    except LaMoFCBenchError as error:
        require_memory(error)
        findings.fault(claim.path, f"new samples that it has coded cannot be predicted: {error}")
        return
    _compare_rates(claim, rows, records, findings)
    _compare_scores(claim, rows, records, opened, findings)
    findings.count("results held against new samples", 1, 1)


def _encoded(features: FeatureSet, decoder: DecodingProcess, share: Share) -> bytes:
    """A bitstream, of a size that would be read."""
    given = features.with_given(None)
    return decoder.encode(given, seconds=share.decode_seconds, most_bytes=most_coded_bytes(features))


def _compare_rates(claim: Claim, rows: Sequence[Record], records: Sequence[Record], findings: Findings) -> None:
    submitted, fresh = (_rate_draws(part) for part in (rows, records))
    rate, found = (_rate(part) for part in (rows, records))
    allowed = ERRORS * math.hypot(np.nanstd(submitted), np.nanstd(fresh)) + RATE_SLACK * rate
    if found - rate > allowed:
        findings.fault(
            claim.path,
            f"states {rate:.4g} EBPFP; {len(records)} new samples take {found:.4g}, more than {allowed:.2g} above: the "
            "codec knows the test split",
        )


def _compare_scores(
    claim: Claim, rows: Sequence[Record], records: Sequence[Record], opened: OpenScenario, findings: Findings
) -> None:
    metric = opened.metric
    submitted, fresh = stack_statistics(rows), stack_statistics(records)
    score, found = float(metric.score(submitted)), float(metric.score(fresh))
    draws = [
        metric.score_draws(part, resample_indices(count, RESAMPLES, stream=stream))
        for part, count, stream in ((submitted, len(rows), "submitted"), (fresh, len(records), "fresh"))
    ]
    low, high = metric.range
    allowed = ERRORS * math.hypot(*(float(np.nanstd(part)) for part in draws)) + SCORE_SLACK * (high - low)
    worse = score - found if metric.direction == "up" else found - score
    if worse > allowed:
        findings.fault(
            claim.path,
            f"states score {score:.4g}; {len(records)} new samples reach {found:.4g}, more than {allowed:.2g} worse: "
            "the codec knows the test split",
        )


def _rate(rows: Sequence[Record]) -> float:
    return rates.ebpfp(8 * sum(row["coded_bytes"] for row in rows), sum(row["raw_bits"] for row in rows))


def _rate_draws(rows: Sequence[Record]) -> NDArray[np.float64]:
    bits, raw = (np.array([row[name] for row in rows], dtype=np.float64) for name in ("coded_bytes", "raw_bits"))
    counts = draw_counts(resample_indices(len(rows), RESAMPLES, stream="rate"), len(rows))
    return bootstrap_ratio(32 * 8 * bits, raw, counts)
