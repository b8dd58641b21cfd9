"""Tensors that a scenario hands its tail: exact there, stored beside the features, unseen by codecs, uncounted."""

import json

import pyarrow.parquet as pq
import pytest
import torch

import lamofcbench
from harness.results.rescoring import rescore
from harness.results.store import ResultFolder
from lamofcbench.builders import BUILDERS
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split
from lamofcbench.storage.calibration import Calibration
from lamofcbench.storage.writer import DatasetWriter


@pytest.fixture(scope="module")
def given(repository):
    return SCENARIOS.get(f"{repository / 'tests' / 'data' / 'given_scenario.py'}:GIVEN")


@pytest.fixture(scope="module")
def given_data(given, build):
    return build(given)


@pytest.fixture(scope="module")
def expected(given):
    """What was given, by position in the test split."""
    samples = BUILDERS.get(given.builder, relative_to=given.origin)().samples("test")
    return [(sample.inputs[1].tolist(), sample.inputs[2]) for sample in samples]


class WatchingCodec(Codec):
    """Fails where it is shown anything but features."""

    needs_calibration = True

    def learn(self, calibration):
        assert not any(features.given for features in calibration)
        return {"seen": torch.ones(1)}

    def encode_features(self, features):
        assert not features.given
        return features["hidden"].numpy().tobytes()

    def decode_features(self, payload, shapes):
        return {"hidden": torch.frombuffer(bytearray(payload), dtype=torch.float32).reshape(shapes["hidden"])}


def test_they_come_back_as_they_were_in_their_dtypes(given, given_data, expected):
    reader = open_split(given, "test", given_data)
    rows = lamofcbench.load_dataset(given, "test", data_dir=given_data)
    for index, (chosen, first) in enumerate(expected):
        features = reader.features(index)
        for one in (features, lamofcbench.feature_set(rows[index], given.specs, given.given)):
            assert one.given["chosen"].dtype is torch.uint8 and one.given["chosen"].tolist() == chosen
            assert one.given["first-class"].dtype is torch.int64 and one.given["first-class"].tolist() == [first]
        assert features.given_bytes == len(chosen) + 8
        assert not lamofcbench.feature_set(rows[index], given.specs).given
    assert {"given.chosen", "given.first-class"} <= set(rows.column_names)


def test_the_tail_gets_them_and_no_codec_does(given, given_data, make_runner):
    runner = make_runner(given, data=given_data)
    for codec in (IdentityCodec(given.specs), WatchingCodec(given.specs)):
        assert runner.run_codec(codec).result.score == 1.0


def test_calibration_leaves_them_out(given, given_data):
    samples = Calibration(given, given_data)
    for features in (samples[0], samples.features(1), *samples[:2], next(iter(samples))):
        assert isinstance(features, FeatureSet) and not features.given


def test_no_rate_counts_them_and_the_result_says_how_much_they_are(given, given_data, expected, make_runner):
    finished = make_runner(given, data=given_data).run_codec(IdentityCodec(given.specs))
    result = finished.result
    assert result.given_bytes == sum(len(chosen) + 8 for chosen, _ in expected)
    assert result.rate.elements == sum(4 * len(chosen) for chosen, _ in expected)
    assert result.rate.raw_bits == 32 * result.rate.elements and list(result.tensors) == ["hidden"]
    rows = pq.read_table(finished.folder / "samples.parquet")
    assert rows.column("given_bytes").to_pylist() == [len(chosen) + 8 for chosen, _ in expected]
    assert rescore(ResultFolder(finished.folder), given) == result


def test_scenarios_that_give_nothing_say_so(make_runner, toy):
    finished = make_runner().run_codec(IdentityCodec(toy.specs))
    assert finished.result.given_bytes == 0
    assert "given_bytes" not in pq.read_schema(finished.folder / "samples.parquet").names


def test_encoding_by_hand_ignores_them(given, given_data):
    features = open_split(given, "test", given_data).features(0)
    codec = IdentityCodec(given.specs)
    assert codec.encode(features) == codec.encode(features.with_given(None))
    assert not codec.decode(codec.encode(features)).given


def test_no_codec_sees_them(given, given_data):
    seen = []

    class Looking(IdentityCodec):
        def encode_features(self, features):
            seen.append(dict(features.given))
            return b""

        def quantise_features(self, features):
            seen.append(dict(features.given))
            return dict(features.tensors)

    features = open_split(given, "test", given_data).features(0)
    codec = Looking(given.specs)
    codec.encode(features)
    codec.quantised(features)
    assert features.given and seen == [{}, {}]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, "given tensors are .*'chosen'.*; the scenario declares"),
        ({"chosen": torch.ones(3, dtype=torch.int64)}, "dtype torch.int64; the scenario declares uint8"),
        ({"chosen": torch.ones(4, dtype=torch.uint8)}, r"shape \[4\]"),  # three tokens are coded
    ],
)
def test_others_than_declared_are_not_stored(given, tmp_path, change, complaint):
    all_given = {"chosen": torch.ones(3, dtype=torch.uint8), "first-class": torch.tensor([1])}
    handed = all_given | change if change else {"chosen": all_given["chosen"]}
    features = FeatureSet({"hidden": torch.zeros(3, 4)}, {"seed": 1}, handed)
    with pytest.raises(ScenarioError, match=complaint), DatasetWriter(tmp_path, given, data_revision="1") as writer:
        writer.add("test", "a", features, reference=1, content_sha256="0" * 64)


def test_data_built_without_them_are_refused(given, given_data):
    bare = given.model_copy(update={"given": ()})
    with pytest.raises(DataError, match="other tensors than toy-given@1 declares"):
        open_split(bare, "test", given_data)


def test_every_byte_of_them_is_verified(given_data):
    from lamofcbench.audit import Audit
    from lamofcbench.storage.verification import verify_dataset

    audit = Audit()
    verify_dataset(given_data, audit)
    manifest = json.loads((given_data / "toy-given" / "manifest.json").read_text())
    assert [spec["name"] for spec in manifest["given"]] == ["chosen", "first-class"]
    assert not audit.damage and not audit.notes
