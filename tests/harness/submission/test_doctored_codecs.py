"""Saved codecs that are not what a submission says of them are refused, floors among them."""

import json
import shutil

import torch
from doctoring import Doctored, edit_json
from safetensors.torch import load_file, save_file

from harness.submission.bitstreams import BITSTREAMS_FILE, write_bitstreams
from harness.submission.pack import Author, pack
from lamofcbench.atomic import write_json
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.storage import open_split


def test_a_floor_that_states_more_knowledge_than_it_has(submission, toy, refused):
    floor = Doctored(submission, toy, codec="mean")
    floor.configuration(codec={"trained_on": "other data"})
    refused("result.json", "states that mean knows 'other data', not 'calibration'")


def test_a_floor_of_another_class(submission, toy, refused):
    floor = Doctored(submission, toy, codec="mean")
    floor.configuration(codec={"identity": "file:floor.py:Mean#00c2a50d3fc0e4a5"})
    refused("result.json", "every retention rests on lamofcbench:mean@")


def test_a_second_floor(submission, toy, refused):
    floor = Doctored(submission, toy, codec="mean")
    shutil.copytree(floor.path, floor.path.with_name("0" * 16))
    floor.path = floor.path.with_name("0" * 16)
    floor.configuration(seed=99)
    refused("result.json", "is a second result of mean on toy-directions@1")


def test_source_of_its_own_under_a_shipped_identity(submission, own_codec, toy, refused):
    floor, own = Doctored(submission, toy, codec="mean"), Doctored(own_codec, toy, codec="own")
    folder = floor.path / "codec"
    shutil.copytree(own.path / "codec" / "source", folder / "source")
    floor.saved(codec_source=json.loads((own.path / "codec" / "config.json").read_text())["codec_source"])
    refused("config.json", "brings source of its own, and states that it is lamofcbench:mean@1")


def test_a_table_among_the_parameters_that_counts_as_no_state(submission, toy, refused):
    Doctored(submission, toy, codec="mean").saved(codec_params={"table": [0.5] * 1000})
    refused("config.json", "has parameters of 5011 bytes, of which 4096 are possible")


def test_a_fingerprint_that_is_not_the_codecs(doctored, refused):
    doctored.configuration(codec={"fingerprint": "f" * 64})
    refused("result.json", "is of another codec than codec/ holds")


def test_a_codec_whose_state_was_edited(doctored, refused):
    path = doctored.path / "codec" / "model.safetensors"
    state = load_file(path)
    save_file({name: tensor + 0.5 for name, tensor in state.items()}, path)
    doctored.seal()
    refused("codec/config.json", "do not add up to the fingerprint")


def test_a_codec_whose_parameters_were_edited(doctored, refused):
    edit_json(doctored.path / "codec" / "config.json", lambda config: config["codec_params"].update(step=99.0))
    doctored.seal()
    refused("codec/config.json", "do not add up to the fingerprint")


def test_a_state_that_another_split_gave(doctored, refused, toy, toy_data, make_runner, decoder):
    """A codec that was fitted on the test split, with bitstreams, figures and hashes to fit."""
    test = open_split(toy, "test", toy_data)
    unfitted = make_codecs("uniform:step=0.25", toy.specs)[0]
    fitted = unfitted.fit([test.features(index) for index in range(len(test))])
    runner = make_runner(results=doctored.submission.parent / "cheat")
    result = runner.run_codec(fitted)
    edit_json(result.folder / "codec" / "fit.json",
              lambda record: record.update(unfitted_fingerprint=unfitted.fingerprint.hex()))  # fmt: skip
    bitstreams = shutil.move(result.folder / "bitstreams", doctored.submission.parent / "bitstreams")
    replaced = Doctored(doctored.submission, toy)
    if json.loads((replaced.path / "result.json").read_text())["codec"]["params"]["step"] != 0.25:
        replaced = Doctored(doctored.submission, toy, number=1)
    replaced.as_another(result.folder)
    write_bitstreams(replaced.path / BITSTREAMS_FILE, [bitstreams / f"{at}.bin" for at in range(22)], sampled=False)
    replaced.configuration(codec={"trained_on": "calibration"})
    refused("model.safetensors", "is not what uniform learns from the calibration split", full=True)


def test_a_state_that_its_codec_cannot_have_learned(
    run_results, doctored, verdict_on, toy, toy_data, make_runner, tmp_path
):
    """Parameters with which learning fails, and a state from elsewhere: nothing can be compared with it."""
    test = open_split(toy, "test", toy_data)
    unfitted = make_codecs("zfp:tolerance=1.7e308,unit=range", toy.specs)[0]
    donor = make_codecs("zfp:tolerance=0.3", toy.specs)[0].fit([test.features(at) for at in range(len(test))])
    results = shutil.copytree(run_results, tmp_path / "results")
    make_runner(results=results).run_codec(type(unfitted)(toy.specs, unfitted.params, donor.state))
    folder = pack(results, tmp_path / "packed", Author(), "zfp")
    own, floor = Doctored(folder, toy, "zfp"), Doctored(folder, toy, "mean")
    record = json.loads((floor.path / "codec" / "fit.json").read_text())
    write_json(own.path / "codec" / "fit.json", record | {"unfitted_fingerprint": unfitted.fingerprint.hex()})
    own.configuration(codec={"trained_on": "calibration"})
    own.manifest(lambda manifest: manifest.update(knowledge="calibration"))
    verdict = verdict_on(folder, full=True)
    assert verdict.level == "refused"
    assert any("is of a codec that learns nothing from these samples" in fault.fault for fault in verdict.faults)


def test_knowledge_that_was_left_unsaid(doctored, refused):
    doctored.result(lambda result: result["codec"].update(trained_on="nothing"))
    refused("result.json", "states that nothing was learned")


def test_a_state_that_tells_by_names_alone(own_codec, toy, verdict_on):
    spoilt = Doctored(own_codec, toy, "own")
    save_file({"anything": torch.zeros(0)}, spoilt.path / "codec" / "model.safetensors")
    spoilt.saved()
    told = [fault.fault for fault in verdict_on(own_codec).faults if fault.file.endswith("result.json")]
    assert any("states that nothing was learned; saved is a state of 0 bytes" in fault for fault in told)


def test_a_state_that_came_from_elsewhere(doctored, refused):
    edit_json(doctored.path / "codec" / "fit.json", lambda record: record.update(data_revision="0" * 64))
    doctored.seal()
    refused("codec/fit.json", "does not say that the state was learned on this scenario's data")


def test_a_state_that_says_nothing_of_where_it_came_from(doctored, refused):
    (doctored.path / "codec" / "fit.json").unlink()
    doctored.seal()
    refused("codec/fit.json", "does not say that the state was learned on this scenario's data")


def test_more_verified_samples_than_there_are(doctored, refused):
    doctored.result(lambda result: result["verification"].update(samples=1000))
    refused("result.json", "more samples were verified than there are")


def test_a_class_of_knowledge_below_that_of_the_results(doctored, refused):
    doctored.manifest(lambda manifest: manifest.update(knowledge="nothing"))
    refused("submission.json", "states knowledge 'nothing'")


def test_a_floor_that_was_lowered(submission, toy, refused):
    floor = Doctored(submission, toy, codec="mean")
    path = floor.path / "codec" / "model.safetensors"
    save_file({name: torch.zeros_like(tensor) for name, tensor in load_file(path).items()}, path)
    floor.seal()
    refused("codec/config.json", "do not add up to the fingerprint")
