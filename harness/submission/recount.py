"""Everything that a result states and that takes no decoding, computed anew: identity, samples, rates, figures.

What counts comes from here: scenario, data, metric and split model are those of this machine, rates are the lengths of
the bytes themselves, and scores are made of the predictions by the metric as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ValidationError

from harness.results.record import DIGEST, STATISTIC, Record
from harness.results.rescoring import same_statistics
from harness.results.result import HASHED_FIELDS
from harness.results.scoring import figures_of, judge
from harness.results.store import FIT_FILE, RUN_FILE, SAMPLES_FILE, TIMINGS_FILE, ResultFolder, config_hash
from harness.results.tables import read_table
from harness.results.verification import agree
from harness.running.opened import OpenScenario
from harness.submission.agreement import RESPONSES, same_cell
from harness.submission.bitstreams import BITSTREAMS_FILE, Bitstreams, most_coded_bytes
from harness.submission.bounded_json import require_few_values
from harness.submission.claims import Claim
from harness.submission.findings import Findings
from harness.submission.manifest import SubmissionError
from harness.submission.surplus import check_surplus
from lamofcbench.codecs.container import open_container
from lamofcbench.codecs.saving import CONFIG_FILE, STATE_FILE, read_config
from lamofcbench.errors import CodecError, LaMoFCBenchError, first_line, shown
from lamofcbench.features import FeatureSet
from lamofcbench.identity import is_shipped
from lamofcbench.scenarios.base import FeatureSpecs

_MADE_ELSEWHERE = ("device_type", "seed", "builder_identity")
"""Fields of a result that its author may choose, or whose effect on the data the data revision tells."""
MAX_PARAMS_BYTES = 2**12
"""Of a codec's parameters as JSON. A table among them would be a state whose size stands nowhere."""
_PAYLOAD = "payload_bytes."
_COLUMNS = ("index", "sample_id", "coded_bytes", "elements", "raw_bits", DIGEST, "prediction", "reference")


def sample_of(row: Mapping[str, Any]) -> str:
    """A sample as faults name it."""
    return f"{row.get('index')} ({row.get('sample_id')})"


def recount(claim: Claim, opened: OpenScenario, findings: Findings) -> tuple[list[Record], Bitstreams] | None:
    """Checks a result but for decoding.

    Args:
        claim: the result.
        opened: of its scenario, on this machine's data.
        findings: takes what is wrong.

    Returns:
        The rows of its table and its bitstreams; None where something is wrong.
    """
    _check_identity(claim, opened, findings)
    _check_codec(claim, opened, findings)
    if findings.are_about(claim.folder.path):
        return None  # of another split, say, whose table may be of any size
    path = claim.folder.path / SAMPLES_FILE
    try:
        table = read_table(path, claim.result.samples)
        rows: list[Record] = table.to_pylist()
        bitstreams = Bitstreams(claim.folder.path / BITSTREAMS_FILE, claim.result.samples)
    except SubmissionError as error:
        findings.fault(claim.folder.path / BITSTREAMS_FILE, str(error))
        return None
    except (LaMoFCBenchError, pa.ArrowException) as error:
        findings.fault(path, first_line(error))
        return None
    try:
        _check_columns(table, claim, opened, findings)
        check_surplus(claim, findings)
        _check_timings(claim, findings)
        _check_samples(rows, path, opened, findings)
        _check_bitstreams(claim, rows, bitstreams, opened, findings)
        _check_statistics(rows, path, opened, findings)
        _check_figures(claim, table, opened, findings)
    except (LaMoFCBenchError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        findings.fault(path, f"does not hold what a result's table does: {type(error).__name__}: {first_line(error)}")
    return None if findings.are_about(claim.folder.path) else (rows, bitstreams)


# ------------------------------------------------------------------------------------------------------------ identity


def _check_identity(claim: Claim, opened: OpenScenario, findings: Findings) -> None:
    """Scenario, data, metric and model are those of this machine, and the hash is that of all of them."""
    result, path = claim.result, claim.path
    expected = opened.config_of(bytes.fromhex(result.codec.fingerprint))
    for name in HASHED_FIELDS:
        stated, here = getattr(result, name), expected[name]
        if stated != here and name not in _MADE_ELSEWHERE:
            findings.fault(path, f"states {name} {shown(stated)}; here it is {shown(here)}")
    if config_hash(result.config) != result.config_hash:
        findings.fault(path, "states another config hash than its configuration has")
    run = claim.folder.run_record()
    for name, ran, stated in (
        ("seed", run.get("seed", result.seed), result.seed),
        ("device", str(run.get("device", result.device_type)).partition(":")[0], result.device_type),
    ):
        if ran != stated:
            findings.fault(claim.folder.path / RUN_FILE, f"states {name} {shown(ran)}; the result states {stated}")
    for name in ("metric", "direction"):
        if getattr(result, name) != getattr(opened.scenario, name):
            findings.fault(path, f"states {name} {shown(getattr(result, name))}, not the scenario's")
    if not result.samples == result.test_samples == len(opened.test):
        findings.fault(path, f"covers {result.samples} of {len(opened.test)} test samples")
    if result.verification is not None and result.verification.samples > result.samples:
        findings.fault(path, "states that more samples were verified than there are")
    other = "" if result.builder_identity == expected["builder_identity"] else (
        f"features of {result.scenario} were made by {shown(result.builder_identity)}, here by "
        f"{shown(expected['builder_identity'])}"
    )  # fmt: skip
    findings.count("results of this version's scenarios, data and code", 1, 1, other)


def _check_codec(claim: Claim, opened: OpenScenario, findings: Findings) -> None:
    """The saved codec is for this scenario's tensors, and what the result states of it."""
    result, folder = claim.result, claim.folder.codec_path
    try:
        config = read_config(folder)
        require_few_values(config)
        specs = FeatureSpecs.model_validate(config["feature_specs"])
        params_bytes = len(json.dumps(config["codec_params"]))
        has_state, state_bytes = _size_of_state(folder / STATE_FILE)
    except (CodecError, ValidationError, RecursionError, OSError, ValueError, LookupError, TypeError) as error:
        findings.fault(folder / CONFIG_FILE, first_line(error))
        return
    if specs.as_stored() != opened.scenario.specs.as_stored():
        findings.fault(folder / CONFIG_FILE, f"is of a codec for other tensors than those of {claim.result.ref}")
    if config["codec_identity"] != result.codec.identity:
        findings.fault(claim.path, f"states codec {result.codec.identity}; saved is {shown(config['codec_identity'])}")
    if config["codec_source"] is not None and is_shipped(result.codec.identity):
        findings.fault(folder / CONFIG_FILE, f"brings source of its own, and states that it is {result.codec.identity}")
    if params_bytes > MAX_PARAMS_BYTES:
        findings.fault(
            folder / CONFIG_FILE,
            f"has parameters of {params_bytes} bytes, of which {MAX_PARAMS_BYTES} are possible; what a codec has "
            "learned is its state",
        )
    if state_bytes != result.codec.state_bytes:
        findings.fault(claim.path, f"states {result.codec.state_bytes} bytes of state; saved are {state_bytes}")
    if has_state and result.codec.trained_on == "nothing":
        findings.fault(claim.path, f"states that nothing was learned; saved is a state of {state_bytes} bytes")
    elif has_state and result.codec.trained_on != "other data" and not _was_fitted_here(claim):
        findings.fault(folder / FIT_FILE, "does not say that the state was learned on this scenario's data")


def _was_fitted_here(claim: Claim) -> bool:
    """Whether a codec says that it got its state from the calibration split of its scenario, and came without."""
    try:
        record = json.loads((claim.folder.codec_path / FIT_FILE).read_bytes())
        origin = (record["scenario"], record["data_revision"])
        return (
            origin == (claim.result.ref, claim.result.data_revision)
            and record["seed"] == claim.result.seed
            and record["unfitted_fingerprint"] != claim.result.codec.fingerprint
        )
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def _size_of_state(path: Path) -> tuple[bool, int]:
    """Whether a safetensors file holds tensors, whose names and shapes tell something too, and their bytes."""
    from safetensors import SafetensorError, safe_open

    total = 0
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            for name in names:
                tensor = file.get_tensor(name)
                total += tensor.numel() * tensor.element_size()
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {first_line(error)}") from error
    return bool(names), total


# ------------------------------------------------------------------------------------------------------------- samples


def _check_columns(table: pa.Table, claim: Claim, opened: OpenScenario, findings: Findings) -> None:
    """The table has the columns of a result, and no others."""
    names = set(table.column_names)
    tensors = [spec.name for spec in opened.scenario.tensors]
    wanted = {*_COLUMNS, *(f"{kind}.{name}" for kind in ("squared_error", "elements") for name in tensors)}
    if opened.scenario.given:
        wanted.add("given_bytes")
    optional = {*RESPONSES, *(f"{kind}.{name}" for kind in ("quantiser_error", "payload_bytes") for name in tensors)}
    path = claim.folder.path / SAMPLES_FILE
    for name in sorted(wanted - names):
        findings.fault(path, f"lacks column {shown(name)}")
    for name in sorted(name for name in names - wanted - optional if not name.startswith(STATISTIC)):
        findings.fault(path, f"has a column {shown(name)}, which no result has")


def _check_timings(claim: Claim, findings: Findings) -> None:
    """Seconds are seconds; whether they are true only the author's machine could tell."""
    path = claim.folder.path / TIMINGS_FILE
    table = read_table(path, claim.result.samples)
    for name in table.column_names:
        if not all(isinstance(value, (int, float)) and 0 <= value < math.inf for value in table[name].to_pylist()):
            findings.fault(path, f"holds {shown(name)} that are no seconds")


def _check_samples(rows: Sequence[Record], path: Path, opened: OpenScenario, findings: Findings) -> None:
    """The table is of the test split: ids, references, and what features of that size take uncoded."""
    kind = opened.scenario.prediction_kind
    for index, row in enumerate(rows):
        sample_id, features = opened.test.sample_id(index), opened.test.features(index)
        wrong = []
        if row["index"] != index or row["sample_id"] != sample_id:
            findings.fault(path, f"is not sample {index} ({sample_id}) of the test split", sample_of(row))
            continue
        if not same_cell(kind, row["reference"], opened.test.reference(index)):
            wrong.append("has another reference than the test split")
        facts: dict[str, int] = {"elements": features.elements, "raw_bits": features.raw_bits}
        facts |= {f"elements.{name}": tensor.numel() for name, tensor in features.tensors.items()}
        if opened.scenario.given:
            facts["given_bytes"] = features.given_bytes
        for name, here in facts.items():
            if row.get(name) != here:
                wrong.append(f"states {name} {shown(row.get(name))}; here it is {here}")
        for what in wrong:
            findings.fault(path, what, sample_of(row))
    findings.count("samples held against the test split", len(rows), len(rows))


def _check_bitstreams(
    claim: Claim, rows: Sequence[Record], bitstreams: Bitstreams, opened: OpenScenario, findings: Findings
) -> None:
    """Sizes, containers, shapes and side information; the rate is a sum of these sizes and of nothing else."""
    owners: dict[str, Record] = {}
    for row, sha256 in zip(rows, bitstreams.hashes, strict=True):
        twin = owners.setdefault(sha256, row)
        if twin[DIGEST] != row[DIGEST]:
            findings.fault(
                bitstreams.path, f"has the bytes of sample {sample_of(twin)}, which decode otherwise", sample_of(row)
            )
    for index in bitstreams.shown:
        row, features = rows[index], opened.test.features(index)
        size_bytes, most_bytes = bitstreams.size_bytes(index), most_coded_bytes(features)
        if size_bytes > most_bytes:
            what = f"has {size_bytes} bytes; of features of {features.raw_bits} bits, at most {most_bytes} are read"
            findings.fault(bitstreams.path, what, sample_of(row))
            continue
        try:
            data = bitstreams.read(index)
        except SubmissionError as error:
            findings.fault(bitstreams.path, str(error), sample_of(row))
            continue
        if what := _objection(claim, row, data, features, opened.scenario.specs):
            findings.fault(bitstreams.path, what, sample_of(row))
    reason = "" if bitstreams.are_whole else "bitstreams are sampled"
    findings.count("bitstreams recounted", len(bitstreams.shown), len(rows), reason)


def _objection(claim: Claim, row: Record, data: bytes, features: FeatureSet, specs: FeatureSpecs) -> str:
    """What is wrong with a sample's bytes, without decoding them; empty where nothing is."""
    if len(data) != row["coded_bytes"]:
        return f"has {len(data)} bytes, recorded as {row['coded_bytes']}"
    stated = {name.removeprefix(_PAYLOAD): size for name, size in row.items() if name.startswith(_PAYLOAD)}
    try:
        container = open_container(data, bytes.fromhex(claim.result.codec.fingerprint), specs, joined=not stated)
    except LaMoFCBenchError as error:
        return str(error)
    if container.side != dict(features.side):
        return "carries other side information than the test split"
    if container.shapes != {name: tuple(tensor.shape) for name, tensor in features.tensors.items()}:
        return "is of features of another shape"
    if stated:
        found = {spec.name: len(section) for spec, section in zip(specs.tensors, container.sections, strict=True)}
        if found != stated:
            return f"has sections of {shown(found, 200)} bytes, recorded as {shown(stated, 200)}"
    return ""


# ------------------------------------------------------------------------------------------------------------- figures


def _check_statistics(rows: Sequence[Record], path: Path, opened: OpenScenario, findings: Findings) -> None:
    """The metric's statistics are those of the prediction and the test split's reference."""
    for index, row in enumerate(rows):
        try:
            # The reference is ours, so that what a stranger wrote as one is compared and never judged by.
            fresh = judge(opened.metric, opened.scenario, row["prediction"], opened.test.reference(index))
        except (LaMoFCBenchError, LookupError, ValueError) as error:
            findings.fault(path, f"cannot be scored: {first_line(error)}", sample_of(row))
            continue
        if not same_statistics(row, fresh):
            findings.fault(path, "has other statistics than prediction and reference give", sample_of(row))
    findings.count("predictions scored anew", len(rows), len(rows))


def _check_figures(claim: Claim, table: pa.Table, opened: OpenScenario, findings: Findings) -> None:
    """Every figure of the report is that of the table."""
    for name, found in figures_of(opened.metric, table).items():
        stated, counted = _plain(getattr(claim.result, name)), _plain(found)
        if not agree(stated, counted):
            findings.fault(claim.path, f"states {name} {shown(stated)}; the samples give {shown(counted)}")
    errors = [name for name in table.column_names if name.startswith("squared_error.")]
    if claim.result.codec.lossless and any(
        value for name in errors for value in table[name].to_pylist() if math.isfinite(value)
    ):
        findings.fault(claim.path, "states a lossless codec, whose samples have errors")
    findings.count("results with all figures computed anew", 1, 1)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return value.model_dump() if isinstance(value, BaseModel) else value


def processor_of(folder: ResultFolder) -> str:
    """The processor that a result's ``run.json`` names; empty where it names none."""
    run = folder.run_record()
    return str(run.get("device_name") or run.get("processor") or "")
