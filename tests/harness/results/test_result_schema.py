import json

import jsonschema
import pytest

from harness.results.schema import SCHEMA_PATH, result_schema
from harness.results.store import ResultFolder
from lamofcbench.codecs.identity import IdentityCodec


def test_the_published_schema_is_the_models_own():
    assert SCHEMA_PATH.read_text() == result_schema(), "run `python -m harness.results.schema`"


def test_a_real_result_follows_the_schema_and_a_changed_one_does_not(make_runner, toy):
    finished = make_runner().run_codec(IdentityCodec(toy.specs))
    schema = json.loads(SCHEMA_PATH.read_text())
    result = json.loads((finished.folder / "result.json").read_text())
    jsonschema.validate(result, schema)
    without_rate = {name: value for name, value in result.items() if name != "rate"}
    for broken in ({**result, "extra": 1}, {**result, "score": "high"}, without_rate):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_a_result_of_schema_1_is_read_and_is_of_another_protocol(make_runner, toy):
    finished = make_runner().run_codec(IdentityCodec(toy.specs))
    assert finished.result.is_current
    file = finished.folder / "result.json"
    old = json.loads(file.read_text()) | {"schema_version": 1, "protocol_version": 1}
    for name in ("builder_identity", "metric_identity", "adapter_identity"):
        del old[name]
    del old["codec"]["identity"]
    file.write_text(json.dumps(old))
    read = ResultFolder(finished.folder).read_result()
    assert not read.is_current
    assert (read.metric_identity, read.adapter_identity, read.builder_identity, read.codec.identity) == ("", "", "", "")
    jsonschema.validate(old, json.loads(SCHEMA_PATH.read_text()))
