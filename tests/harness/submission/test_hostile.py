"""What a submission holds may be anything: it ends in a verdict, never in an error that stops a maintainer's review."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from doctoring import Doctored

from harness.results.store import ResultFolder
from lamofcbench.errors import VerificationError
from lamofcbench.features import FeatureSet


@pytest.fixture
def doctored(submission, toy):
    return Doctored(submission, toy)


def faults_of(verdict, file):
    assert verdict.level == "refused"
    return [fault.fault for fault in verdict.faults if fault.file.endswith(file)]


def test_a_number_of_threads_that_is_none(doctored, verdict_on):
    (doctored.path / "run.json").write_text('{"threads": 1e999}')  # of an older version, which kept no hashes
    assert ResultFolder(doctored.path).threads() == 1
    assert verdict_on(doctored.submission).faults == []


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity"])
def test_parameters_that_json_does_not_have(doctored, verdict_on, number):
    path = doctored.submission / "submission.json"
    path.write_text(path.read_text().replace('"step": 0.25', f'"step": {number}'))
    (fault,) = verdict_on(doctored.submission).faults
    assert fault.file == "submission.json" and "breaks its schema: ladders.0.points" in fault.fault


def test_parameters_of_a_result_that_json_does_not_have(doctored, verdict_on):
    step = json.loads((doctored.path / "result.json").read_text())["codec"]["params"]["step"]
    path = doctored.path / "result.json"
    path.write_text(path.read_text().replace(f'"step": {step}', '"step": 1e999'))
    told = faults_of(verdict_on(doctored.submission), f"{doctored.place}/result.json")
    assert any("breaks the result schema: codec.params" in fault for fault in told)


def test_a_quantiser_of_other_tensors(own_codec, decodes_here, verdict_on):
    class Astray(decodes_here):
        def quantised(self, features, *, seconds, most_bytes):
            return FeatureSet({"other": features["hidden"]})

    told = faults_of(verdict_on(own_codec, Astray(), trust_code=True), "result.json")
    assert told == ["cannot be validated: 'hidden'"]


def test_an_encoder_whose_bytes_decode_to_other_tensors(packed, decodes_here, verdict_on, made_elsewhere):
    class Astray(decodes_here):
        def encode(self, features, *, seconds, most_bytes, seeds=None):
            return super().encode(features, seconds=seconds, most_bytes=most_bytes)[:-6] + b"astray"

        def decode(self, data, *, seconds, most_bytes):
            if data.endswith(b"astray"):
                return FeatureSet({"other": self.codec.decode(self.good)["hidden"]})
            self.good = data
            return super().decode(data, seconds=seconds, most_bytes=most_bytes)

    told = faults_of(verdict_on(packed, Astray()), "result.json")
    assert len(told) == 4 and all(fault.startswith("cannot be validated: ") for fault in told)


class Ended:
    """Mixed in: the codec ends the process with the first sample that it decodes, once."""

    loads = 0
    is_running = True

    def load(self, saved, **options):
        self.loads, self.is_running = self.loads + 1, True
        return super().load(saved, **options)

    def decode(self, data, **options):
        if self.loads == 1:
            self.is_running = False
            raise VerificationError("the process ends by SIGKILL")
        return super().decode(data, **options)


def test_a_codec_that_ends_its_process_is_loaded_again_for_the_next_sample(packed, decodes_here, verdict_on):
    decoder = type("EndedOnce", (Ended, decodes_here), {})()
    verdict = verdict_on(packed, decoder)
    (fault,) = verdict.faults
    assert "does not decode: the process ends by SIGKILL" in fault.fault
    assert decoder.loads == 6  # of four results, one of them twice, and the floor once more after it has learned
    decoded = next(check for check in verdict.checked if check.what == "samples decoded anew")
    assert decoded.of == 88 and decoded.checked == 2 * 22 + 2 * 4 - 1


def test_a_codec_that_ends_its_process_and_loads_no_second_time(packed, decodes_here, verdict_on):
    class EndedForGood(Ended, decodes_here):
        def load(self, saved, **options):
            if self.loads == 1 and not self.is_running:
                self.loads += 1
                raise VerificationError("it does not load twice")
            return super().load(saved, **options)

    first, second = verdict_on(packed, EndedForGood()).faults
    assert "does not decode: the process ends by SIGKILL" in first.fault
    assert second.fault == "cannot be validated: it does not load twice" and second.file.endswith("result.json")


def test_a_shape_that_nests_without_end(doctored, verdict_on):
    path = doctored.path / "samples.parquet"
    table = pq.read_table(path)
    at = next(at for at, name in enumerate(table.column_names) if name.startswith("statistic."))
    values = pa.array([[1.0]] * len(table))
    field = pa.field(table.column_names[at], values.type, metadata={b"shape": b"[" * 10**5})
    pq.write_table(table.set_column(at, field, values), path)
    doctored.seal()
    told = faults_of(verdict_on(doctored.submission), "samples.parquet")
    assert any("does not say the shape of its values" in fault for fault in told)


def test_json_that_breaks_its_schema_in_a_million_places(doctored, verdict_on):
    doctored.saved(feature_specs={"tensors": [{}] * 200_000})
    told = faults_of(verdict_on(doctored.submission), "config.json")
    assert any("it holds more than 100000 values" in fault for fault in told)
    manifest = doctored.submission / "submission.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"editions": [0] * 200_000}))
    assert faults_of(verdict_on(doctored.submission), "submission.json") == [
        "submission.json breaks its schema: it holds more than 100000 values"
    ]
