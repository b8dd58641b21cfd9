"""Doctored submissions of every kind are refused, and the fault is named by file and sample."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from doctoring import Doctored, edit_json
from safetensors import safe_open
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from harness.submission.bitstreams import BITSTREAMS_FILE, Bitstreams, drawn
from lamofcbench.codecs.registry import load_saved
from lamofcbench.storage import open_split


def swapped(values, first, second):
    values = list(values)
    values[first], values[second] = values[second], values[first]
    return values


# ------------------------------------------------------------------------------------------------- figures and tables


def test_a_rate_that_was_written_down_lower(doctored, refused):
    doctored.result(lambda result: result["rate"].update(coded_bytes=10, bpfp=0.1, ebpfp=0.1))
    refused("result.json", "says rate")


def test_a_rate_whose_table_was_changed_too(doctored, refused):
    doctored.table(coded_bytes=lambda sizes: [size - 1 for size in sizes])
    refused(BITSTREAMS_FILE, "recorded as", "0 (test-0)")


def test_sections_that_were_written_down_smaller(submission, toy, refused):
    anchor = Doctored(submission, toy, codec="identity")  # which codes tensor by tensor
    anchor.table(payload_bytes__hidden=lambda sizes: [sizes[0] - 1, *sizes[1:]])
    refused(BITSTREAMS_FILE, "has sections of", "0 (test-0)")


def test_a_report_that_was_changed_and_not_sealed(doctored, refused):
    doctored.result(lambda result: result.update(score=0.123), seal=False)
    refused("result.json", "is not what run.json recorded")


def test_a_score_that_was_written_down_higher(doctored, refused):
    doctored.result(lambda result: result.update(score=result["score"] / 2))
    refused("result.json", "states score")


def test_statistics_that_are_not_those_of_the_predictions(doctored, refused):
    doctored.table(judged=False, statistic__correct=lambda values: [1 - values[0], *values[1:]])
    refused("samples.parquet", "other statistics", "0 (test-0)")


def test_a_prediction_that_the_tail_does_not_make(doctored, refused):
    doctored.table(prediction=lambda labels: [*labels[:5], (labels[5] + 1) % 4, *labels[6:]])
    refused("samples.parquet", "the tail predicts something else", "5 (test-5)", full=True)


def test_a_reference_that_is_not_the_test_splits(doctored, refused):
    doctored.table(reference=lambda labels: [*labels[:5], (labels[5] + 1) % 4, *labels[6:]])
    refused("samples.parquet", "another reference", "5 (test-5)")


def test_a_distortion_that_was_written_down_smaller(doctored, refused):
    doctored.table(
        squared_error__hidden=lambda errors: [errors[0] / 2, *errors[1:]],
        decoded_sha256=lambda digests: ["0" * 64, *digests[1:]],
    )
    refused(BITSTREAMS_FILE, "tensor 'hidden' decodes to squared error", "0 (test-0)", full=True)


def test_a_distortion_that_was_written_down_smaller_beside_the_digest_that_it_had(doctored, refused):
    doctored.table(squared_error__hidden=lambda errors: [errors[0] / 2, *errors[1:]])
    refused(BITSTREAMS_FILE, "tensor 'hidden' decodes to squared error", "0 (test-0)", full=True)


def test_a_response_that_was_written_down_closer(submission, toy, refused):
    result = Doctored(submission, toy)
    table = pq.read_table(result.path / "samples.parquet")
    table = table.append_column("response_divergence_nats", pa.array([0.0] * 22))
    pq.write_table(table.append_column("response_positions", pa.array([1] * 22)), result.path / "samples.parquet")
    result.count()
    result.seal()
    refused("samples.parquet", "states response_divergence_nats 0.0; the tail gives None")


@pytest.mark.parametrize(
    ("column", "file", "what"),
    [
        ("decoded_sha256", "samples.parquet", "lacks column 'decoded_sha256'"),
        ("squared_error.hidden", "result.json", "says mse"),
        ("prediction", "samples.parquet", "lacks column 'prediction'"),
        ("raw_bits", "samples.parquet", "Column raw_bits does not exist"),
    ],
)
def test_a_column_that_is_missing(doctored, refused, column, file, what):
    path = doctored.path / "samples.parquet"
    pq.write_table(pq.read_table(path).drop_columns(column), path)
    doctored.seal()
    refused(file, what)


NO_TABLE = "does not hold what a result's table does"


@pytest.mark.parametrize(
    ("column", "what"),
    [
        ("coded_bytes", NO_TABLE),
        ("squared_error.hidden", NO_TABLE),
        ("statistic.correct", NO_TABLE),
        ("sample_id", "is not sample 0"),
    ],
)
def test_a_column_of_another_type(doctored, refused, column, what):
    path = doctored.path / "samples.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index(column)
    pq.write_table(table.set_column(at, column, pa.array(["x"] * 22)), path)
    doctored.seal()
    refused("samples.parquet", what)


def test_a_column_that_no_result_has(doctored, refused):
    path = doctored.path / "samples.parquet"
    pq.write_table(pq.read_table(path).append_column("bonus", pa.array([1.0] * 22)), path)
    doctored.seal()
    refused("samples.parquet", "has a column 'bonus'")


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_timings_that_are_none(doctored, refused, seconds):
    path = doctored.path / "timings.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index("decode_seconds")
    pq.write_table(table.set_column(at, "decode_seconds", pa.array([seconds] * 22)), path)
    doctored.seal()
    refused("timings.parquet", "holds 'decode_seconds' that are no seconds")


def test_fewer_bits_of_uncoded_features(doctored, refused):
    doctored.table(raw_bits=lambda bits: [2 * bits[0], *bits[1:]])
    refused("samples.parquet", "states raw_bits", "0 (test-0)")


def test_a_lossless_codec_that_is_none(doctored, refused):
    doctored.result(lambda result: result["codec"].update(lossless=True))
    refused("result.json", "lossless")


# ------------------------------------------------------------------------------------------------------------- samples


def test_a_sample_list_in_another_order(doctored, refused):
    doctored.table(sample_id=lambda ids: swapped(ids, 0, 1))
    refused("samples.parquet", "is not sample 0 (test-0) of the test split", "0 (test-1)")


def test_samples_that_were_left_out(doctored, refused):
    for name in ("samples.parquet", "timings.parquet"):
        pq.write_table(pq.read_table(doctored.path / name).slice(0, 20), doctored.path / name)
    doctored.bitstreams(lambda contents: contents[:20])
    doctored.count()
    doctored.result(lambda result: result.update(samples=20))
    refused("result.json", "covers 20 of 22 test samples")


def test_a_split_that_was_declared_smaller(doctored, refused):
    for name in ("samples.parquet", "timings.parquet"):
        pq.write_table(pq.read_table(doctored.path / name).slice(0, 20), doctored.path / name)
    doctored.bitstreams(lambda contents: contents[:20])
    doctored.count()
    doctored.result(lambda result: result.update(samples=20, test_samples=20))
    refused("result.json", "covers 20 of 22 test samples")


# ---------------------------------------------------------------------------------------------------------- bitstreams


def test_two_bitstreams_that_were_exchanged(doctored, refused):
    doctored.bitstreams(lambda contents: swapped(contents, 0, 5))  # of one size of features
    doctored.table(coded_bytes=lambda sizes: swapped(sizes, 0, 5))
    refused(BITSTREAMS_FILE, "decodes to squared error", "0 (test-0)", full=True)


def test_a_bitstream_that_stands_for_two_samples(doctored, refused):
    doctored.bitstreams(lambda contents: [*contents[:5], contents[0], *contents[6:]])
    doctored.table(coded_bytes=lambda sizes: [*sizes[:5], sizes[0], *sizes[6:]])
    refused(BITSTREAMS_FILE, "has the bytes of sample 0 (test-0), which decode otherwise", "5 (test-5)")


def test_a_bitstream_of_coarser_features_under_the_same_fingerprint(doctored, refused, toy, toy_data):
    codec = load_saved(doctored.path / "codec")
    features = open_split(toy, "test", toy_data).features(0)
    coarse = type(features)({n: t - t.float().mean().to(t.dtype) for n, t in features.tensors.items()}, features.side)
    data = codec.encode(coarse)
    doctored.bitstreams(lambda contents: [data, *contents[1:]])
    doctored.table(coded_bytes=lambda sizes: [len(data), *sizes[1:]])
    refused(BITSTREAMS_FILE, "decodes to squared error", "0 (test-0)", full=True)


def test_bitstreams_of_another_encoder_that_all_else_was_made_to_fit(doctored, refused, toy, toy_data):
    """Of some samples, the features of another one of their class: they decode, and the tail agrees."""
    codec = load_saved(doctored.path / "codec")
    test = open_split(toy, "test", toy_data)
    originals = [test.features(index) for index in range(22)]
    # Class and number of tokens repeat after 20 samples.
    data = [codec.encode(originals[index + 20 if index < 2 else index]) for index in range(22)]
    doctored.encoded_as(codec, originals, data)
    refused(BITSTREAMS_FILE, "its codec makes", full=True)


@pytest.fixture
def liked_by_the_tail(doctored, toy, toy_data):
    """Makes bytes of like size and error of some samples, such that the tail likes what they decode to."""

    def make(count):
        codec = load_saved(doctored.path / "codec")
        test = open_split(toy, "test", toy_data)
        originals = [test.features(index) for index in range(22)]
        data = [codec.encode(features) for features in originals]
        generator = torch.Generator().manual_seed(1)
        for index in range(count):
            for _ in range(200):
                noisy = {
                    name: (tensor.float() + 0.02 * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
                    for name, tensor in originals[index].tensors.items()
                }
                other = codec.encode(type(originals[index])(noisy, originals[index].side))
                if other != data[index] and abs(len(other) - len(data[index])) <= 1:
                    data[index] = other
                    break
        doctored.encoded_as(codec, originals, data)

    return make


def test_on_the_same_processor_an_encoder_makes_the_very_bytes(liked_by_the_tail, refused):
    liked_by_the_tail(1)
    refused(
        BITSTREAMS_FILE, "holds other bytes than its codec makes on the same processor with", "0 (test-0)", full=True
    )


def test_on_another_processor_what_many_samples_hold_is_too_far_from_what_its_codec_makes(
    liked_by_the_tail, refused, made_elsewhere
):
    liked_by_the_tail(22)
    refused(BITSTREAMS_FILE, "from what its codec makes, in squares", full=True)


def test_a_bitstream_larger_than_features_need_is_not_read(doctored, refused, monkeypatch):
    large = bytes(2**20)
    doctored.bitstreams(lambda contents: [large, *contents[1:]])
    doctored.table(coded_bytes=lambda sizes: [len(large), *sizes[1:]])
    read = Bitstreams.read

    def watched(self, at):
        assert self.size_bytes(at) < len(large), "it was read"
        return read(self, at)

    monkeypatch.setattr(Bitstreams, "read", watched)
    refused(BITSTREAMS_FILE, "has 1048576 bytes; of features of", "0 (test-0)")


def test_bitstreams_of_another_rate_point(doctored, refused):
    shutil.copy(doctored.other / BITSTREAMS_FILE, doctored.path / BITSTREAMS_FILE)
    refused(BITSTREAMS_FILE, "bytes, recorded as")


def test_a_damaged_bitstream(doctored, refused):
    doctored.bitstreams(lambda contents: [contents[0][:-1] + bytes([contents[0][-1] ^ 1]), *contents[1:]])
    refused(BITSTREAMS_FILE, "checksum", "0 (test-0)")


def test_bytes_that_are_not_those_of_their_hash(doctored, refused):
    doctored.bitstreams(lambda contents: [contents[0][:-1] + bytes([contents[0][-1] ^ 1]), *contents[1:]], hashed=False)
    refused(BITSTREAMS_FILE, "are not those of the hash", "0 (test-0)")


def test_bitstreams_that_are_missing(doctored, refused):
    (doctored.path / BITSTREAMS_FILE).unlink()
    refused(BITSTREAMS_FILE, "is missing")


def test_bitstreams_of_which_a_part_was_chosen_by_hand(doctored, refused):
    path = doctored.path / BITSTREAMS_FILE
    kept = {name: array for name, array in load_arrays(path).items() if name in ("0", "1", "2")}
    with safe_open(path, framework="numpy") as file:
        save_arrays(kept, path, file.metadata())
    refused(BITSTREAMS_FILE, "neither all 22 nor those that hashes draw")


def test_bitstreams_of_which_fewer_are_here_than_the_manifest_says(submission, doctored, refused):
    with safe_open(doctored.path / BITSTREAMS_FILE, framework="numpy") as file:
        metadata = file.metadata()
    shown = {str(index) for index in drawn(json.loads(metadata["sha256"]))}
    arrays = load_arrays(doctored.path / BITSTREAMS_FILE)
    save_arrays({name: arrays[name] for name in shown}, doctored.path / BITSTREAMS_FILE, metadata)
    refused("submission.json", f"states whole bitstreams; those of 3 of 22 samples of {doctored.place} are here")


# -------------------------------------------------------------------------------------- data, versions, rate points


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data_revision", "0" * 64),
        ("scenario_digest", "0" * 64),
        ("metric_identity", "lamofcbench:accuracy@99"),
        ("adapter_identity", "file:toy_scenario.py:ToyModel#0000000000000000"),
        ("batch_size", 1),
        ("dtype", "float16"),
    ],
)
def test_results_of_other_data_or_code(doctored, refused, field, value):
    doctored.configuration(**{field: value})
    refused("result.json", f"states {field}")


def test_results_of_another_protocol(doctored, refused):
    doctored.configuration(protocol_version=2)
    refused("result.json", "states protocol_version 2")


def test_a_configuration_under_the_hash_of_another(doctored, refused):
    doctored.result(lambda result: result.update(seed=5))
    refused("result.json", "another config hash")


@pytest.mark.parametrize(("field", "value", "said"), [("seed", 5, "seed 0"), ("device_type", "cuda", "device 'cpu'")])
def test_a_run_of_another_seed_or_device_than_its_result(doctored, refused, field, value, said):
    doctored.configuration(**{field: value})
    refused("run.json", f"states {said}; the result states {value}")


def test_a_codec_that_was_fitted_with_another_seed(doctored, refused):
    edit_json(doctored.path / "codec" / "fit.json", lambda record: record.update(seed=99))
    doctored.seal()
    refused("fit.json", "does not say that the state was learned on this scenario's data")


def test_a_rate_point_that_is_missing(doctored, refused):
    shutil.rmtree(doctored.path)
    refused("submission.json", "has no result")


def test_a_rate_point_that_the_ladder_does_not_have(doctored, refused):
    doctored.manifest(lambda manifest: manifest["ladders"][0].update(points=manifest["ladders"][0]["points"][:1]))
    refused("result.json", "is of a rate point that the ladder of toy-directions@1 does not have")


def test_a_shipped_codecs_own_ladder_with_a_point_left_out(doctored, refused):
    doctored.manifest(lambda manifest: manifest["ladders"][0].update(chosen_by="the codec's own"))
    refused("submission.json", "of the codec's own")


def test_an_edition_of_which_scenarios_are_missing(doctored, refused):
    doctored.manifest(lambda manifest: manifest.update(editions=["mini"]))
    refused("submission.json", "claims the mini edition and has no ladder of mini-cau-choices")


@pytest.mark.parametrize("codec", ["identity", "mean"])
def test_an_anchor_or_a_floor_that_is_missing(doctored, refused, codec):
    shutil.rmtree(doctored.submission / "results" / "toy-directions@1" / codec)
    refused("submission.json", f"there is no result of {codec} on toy-directions@1")


def test_an_anchor_that_is_another_codec(submission, toy, refused):
    anchor = Doctored(submission, toy, codec="identity")
    anchor.result(lambda result: result["codec"].update(name="mean"))
    refused("result.json", "is of another codec than codec/ holds")


def test_an_unfinished_result(doctored, refused):
    (doctored.path / "result.json").unlink()
    refused("result.json", "is missing")
