"""No shipped code changes what it puts out without a new revision, which tells old results from new ones."""

import re

import golden_outputs
import pytest
from golden_outputs import COMMAND, KINDS, complaint, difference, read, unavailable

from lamofcbench.models.base import MODELS
from lamofcbench.models.vision_heads.base import HEADS


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, (names, _) in KINDS.items() for name in names()])
def test_outputs_change_with_the_revision_alone(kind, name):
    if missing := unavailable(kind, name):
        pytest.skip(missing)
    problem = complaint(kind, name, read(kind).get(name), KINDS[kind][1](name))
    assert problem is None, problem


def test_every_split_model_and_head_has_an_output():
    covered = " ".join(entry["identity"] for entry in read("split_models").values())
    for registered in (*MODELS, *HEADS):
        assert f"lamofcbench:{registered.name}@" in covered


def test_nothing_is_kept_of_what_is_gone():
    for kind, (names, _) in KINDS.items():
        assert set(read(kind)) == set(names()), f"run {COMMAND}"


GOLDEN = {"identity": "lamofcbench:x@1", "given": "a", "outputs": {"payload_bytes": 1000, "errors": [1.0, 0.0]}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"outputs": {"payload_bytes": 1001, "errors": [1.0001, 0.0]}}, None),  # another machine
        (
            {"outputs": {"payload_bytes": 1010, "errors": [1.0, 0.0]}},
            "payload_bytes: 1010 where it was 1000.*Raise its",
        ),
        ({"outputs": {"payload_bytes": 1000, "errors": [1.1, 0.0]}}, "errors.0.: 1.1 where it was 1.0.*Raise its"),
        ({"outputs": {"payload_bytes": 1000}}, "Raise its revision"),
        ({"outputs": {}, "given": "b"}, "write it anew"),  # new weights, not new code
        ({"outputs": {}, "identity": "lamofcbench:x@2"}, "write it anew"),
        ({"identity": "lamofcbench:x@2"}, "write it anew"),
    ],
)
def test_what_is_said_of_a_change(change, message):
    found = complaint("codecs", "x", GOLDEN, GOLDEN | change)
    assert (found is None) if message is None else re.search(message, found)


def test_exact_outputs_are_compared_on_machines_of_one_kind_alone():
    assert difference({"exact": {"one": "a"}}, {"exact": {"other": "b"}}) is None
    assert difference({"exact": {"one": "a"}}, {"exact": {"one": "b"}}) is not None


def test_writing_refuses_what_changed_under_its_revision(monkeypatch, tmp_path):
    monkeypatch.setattr(golden_outputs, "FOLDER", tmp_path)
    measured = dict(GOLDEN)
    monkeypatch.setattr(golden_outputs, "KINDS", {"metrics": (lambda: ["x"], lambda name: measured)})
    golden_outputs.main()
    assert golden_outputs.read("metrics") == {"x": GOLDEN}
    measured["outputs"] = {"payload_bytes": 5, "errors": []}
    with pytest.raises(SystemExit, match="puts out something else"):
        golden_outputs.main()
    assert golden_outputs.read("metrics") == {"x": GOLDEN}
    measured["identity"] = "lamofcbench:x@2"
    golden_outputs.main()
    assert golden_outputs.read("metrics") == {"x": measured}


def test_summaries_are_compared_in_units_of_their_spread():
    golden = {"shape": [4], "mean": 0.001, "std": 10.0}
    assert difference(golden, golden | {"mean": 0.05}) is None
    for change in ({"mean": 0.2}, {"std": 10.2}, {"shape": [5]}):
        assert difference(golden, golden | change) is not None
