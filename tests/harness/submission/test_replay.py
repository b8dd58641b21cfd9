"""Predictions made anew: what agrees up to rounding is told from what is the same, and rounding has no direction."""

import dataclasses
import shutil
from types import SimpleNamespace

import pytest

from harness.metrics.base import METRICS
from harness.running.confinement import Limits, shares_disk
from harness.running.decoding_process import DecodingProcess
from harness.submission.findings import Findings
from harness.submission.pack import Author, pack
from harness.submission.replay import Replay
from harness.submission.validate import validate
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.errors import VerificationError


@pytest.fixture
def replay(tmp_path):
    """A replay of predictions that accuracy judges."""
    made = object.__new__(Replay)
    made.findings = Findings(tmp_path)
    made.claim = SimpleNamespace(folder=SimpleNamespace(path=tmp_path / "result"))
    made.opened = SimpleNamespace(metric=METRICS.get("accuracy")())
    return made


def judged(right, predictions):
    return [{"prediction": one, "statistic.correct": float(hit)} for one, hit in zip(predictions, right, strict=True)]


def test_the_same_predictions_are_the_same(replay):
    rows = judged([1, 0, 1], ["a", "b", "c"])
    assert replay._tell_otherwise(rows, rows, 0) == "" and not replay.findings.faults


def test_predictions_that_agree_up_to_rounding_are_a_reason(replay):
    assert "rounding" in replay._tell_otherwise(judged([1], ["0.5"]), judged([1], ["0.5000001"]), 0)


def test_a_score_that_rounding_makes_better_is_a_fault(replay):
    stated, made = judged([1] * 100, ["x"] * 100), judged([1] * 90 + [0] * 10, ["y"] * 100)
    replay._tell_otherwise(stated, made, 0)
    (fault,) = replay.findings.faults
    assert fault.fault == "scores 1 on 100 samples drawn; the tail's predictions score 0.9"
    replay._tell_otherwise(made, stated, 0)  # worse than the tail's is nobody's gain
    assert len(replay.findings.faults) == 1


def test_a_strangers_codec_never_decodes_in_the_process_that_encoded_nor_the_reverse(
    own_codec, decodes_here, verdict_on, made_elsewhere
):
    class Watched(decodes_here):
        life, encoding, decoding = 0, set(), []

        def close(self):
            self.life += 1

        def encode(self, features, **options):
            self.encoding.add((self.codec.name, self.life))
            return super().encode(features, **options)[:-1] + b"."  # so that it is decoded, too

        def decode(self, data, **options):
            self.decoding.append((self.codec.name, self.life))
            if data.endswith(b"."):
                raise VerificationError("this will do")
            return super().decode(data, **options)

    verdict_on(own_codec, Watched(), trust_code=True)
    own = [life for name, life in Watched.decoding if name == "own"]
    assert len(set(own)) == 2 and not {("own", life) for life in own} & Watched.encoding


def test_results_are_looked_at_in_an_order_that_the_seed_draws(packed, scrutiny):
    def order(seed):
        told = []
        validate(packed, dataclasses.replace(scrutiny, seed=seed), tell=told.append)
        return [place for place in told if "/" in place]

    assert order(1) == order(1) and len({tuple(order(seed)) for seed in range(4)}) > 1


LEAVING = """
import hashlib, subprocess

from lamofcbench.codecs.zstd import ZstdCodec

PLACE = "{place}"


class LeavingCodec(ZstdCodec):
    name = "leaving"

    def encode_features(self, features):
        payload = super().encode_features(features)
        name = hashlib.sha256(payload).hexdigest()[:12]
        subprocess.run(["sh", "-c", f"cat > {{PLACE}}/{{name}}"], input=payload)
        return bytes.fromhex(name)

    def decode_features(self, payload, shapes):
        found = subprocess.run(["cat", f"{{PLACE}}/{{payload.hex()}}"], capture_output=True).stdout
        return super().decode_features(found, shapes)
"""


def test_a_codec_that_leaves_its_payloads_on_the_disk_is_refused(run_results, toy, make_runner, verdict_on, tmp_path):
    if shares_disk():
        pytest.skip(shares_disk())
    (tmp_path / "left").mkdir()
    (tmp_path / "leaving.py").write_text(LEAVING.format(place=tmp_path / "left"))
    results = shutil.copytree(run_results, tmp_path / "results")
    (codec,) = make_codecs(f"{tmp_path / 'leaving.py'}:LeavingCodec", toy.specs)
    make_runner(results=results).run_codec(codec)  # Python's own functions alone are watched in a run
    folder = pack(results, tmp_path / "packed", Author(), "leaving")
    assert verdict_on(folder, trust_code=True).level != "refused"
    with DecodingProcess(Limits()) as process:
        verdict = verdict_on(folder, process, trust_code=True)
    assert verdict.level == "refused" and {"leaving"} == {fault.file.split("/")[2] for fault in verdict.faults}
