import json

import jsonschema
import pytest

from harness.results.schema import SCHEMA_PATH, result_schema
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
