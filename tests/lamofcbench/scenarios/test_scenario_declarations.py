"""Every declared scenario is valid, and together they are the benchmark's tracks."""

import hashlib

import pytest
from pydantic import ValidationError

from lamofcbench.builders import BUILDERS
from lamofcbench.errors import UnknownNameError
from lamofcbench.scenarios.base import SCENARIOS, Axis, FeatureSpecs, Scenario, TensorSpec

ALL = {scenario.id: scenario for scenario in SCENARIOS}
FULL = {id: s for id, s in ALL.items() if s.edition == "full"}
MINI = {id: s for id, s in ALL.items() if s.edition == "mini"}


def test_the_full_edition_has_21_tracks_in_four_categories():
    tracks = [s for s in FULL.values() if s.variant_of is None]
    per_category = {c: sum(s.category == c for s in tracks) for c in ("CVU", "CLU", "CAU", "CTTI")}
    assert per_category == {"CVU": 5, "CLU": 10, "CAU": 5, "CTTI": 1}
    assert all(s.test_samples == 100 for s in FULL.values())


VARIANTS = sorted(id for id, s in ALL.items() if s.variant_of is not None)


@pytest.mark.parametrize("id", VARIANTS)
def test_a_variant_shares_all_but_its_split_with_its_track(id):
    variant, track = ALL[id], ALL[ALL[id].variant_of]
    assert track.variant_of is None
    assert id.startswith(f"{track.id}-")
    for field in ("edition", "category", "prediction", "metric", "metric_options", "direction"):
        assert getattr(variant, field) == getattr(track, field), field
    for field in ("test_samples", "calibration_samples", "licence"):
        assert getattr(variant, field) == getattr(track, field), field
    assert variant.backbone.adapter == track.backbone.adapter
    assert variant.backbone.revision == track.backbone.revision
    assert variant.tensors != track.tensors
    if track.mirrors is not None:
        assert FULL[variant.mirrors].variant_of == track.mirrors


def test_the_second_splits_of_classification_and_text_to_image_are_variants():
    tracks = {ALL[id].variant_of for id in VARIANTS}
    classification = {id for id, s in ALL.items() if s.metric == "accuracy" and s.variant_of is None}
    assert classification == {
        *("cvu-imagenet-val", "cvu-imagenet-a", "cvu-imagenet-r"),
        *("mini-cvu-digits", "mini-cvu-digits-hard", "mini-cvu-digits-renditions"),
    }
    assert tracks == classification | {"ctti-coco-canny", "mini-ctti-shapes"}
    assert all(id.removeprefix(ALL[id].variant_of) in ("-shallow", "-latent") for id in VARIANTS)


@pytest.mark.parametrize("id", [id for id in VARIANTS if id.endswith("-shallow")])
def test_classification_codes_one_level_in_each_of_its_two_runs(id):
    shallow, deep = (9, 39) if ALL[id].edition == "full" else (1, 7)
    for scenario, level in ((ALL[id], shallow), (ALL[ALL[id].variant_of], deep)):
        assert scenario.splits == (level,)
        assert [(t.name, t.dead) for t in scenario.tensors] == [(f"block.{level}", None)]


def test_language_tracks_exist_on_both_backbones():
    qwen = {id for id, s in FULL.items() if s.backbone.adapter == "qwen3-decoder"}
    mamba = {id for id, s in FULL.items() if s.backbone.adapter == "falcon-mamba-decoder"}
    assert len(qwen) == 5 and mamba == {f"{id}-mamba" for id in qwen}


@pytest.mark.parametrize("id", sorted(ALL))
def test_a_scenario_survives_its_json_form(id):
    scenario = ALL[id]
    again = Scenario.model_validate_json(scenario.model_dump_json())
    assert again == scenario and again.digest == scenario.digest


@pytest.mark.parametrize("id", sorted(ALL))
def test_ids_start_with_edition_and_category(id):
    edition = "" if ALL[id].edition == "full" else f"{ALL[id].edition}-"
    assert id.startswith(f"{edition}{ALL[id].category.lower()}-")


@pytest.mark.parametrize("id", sorted(MINI))
def test_a_mini_scenario_mirrors_its_full_one(id):
    mini, full = MINI[id], FULL[MINI[id].mirrors]
    for field in ("category", "metric", "direction", "prediction"):
        assert getattr(mini, field) == getattr(full, field), field
    # A mini tail may do without the raw input where the published one looks at it, never the other way round.
    assert full.needs_raw_input or not mini.needs_raw_input
    assert mini.needs_raw_input == full.needs_raw_input or "raw input" in mini.description
    assert len(mini.splits) == len(full.splits)
    assert mini.backbone.adapter == full.backbone.adapter
    kinds = [[(t.role, len(t.shape), t.dtype) for t in s.tensors] for s in (mini, full)]
    assert kinds[0] == kinds[1]
    ragged = [[[isinstance(n, Axis) and n.name for n in t.shape] for t in s.tensors] for s in (mini, full)]
    assert ragged[0] == ragged[1]


@pytest.mark.parametrize("id", sorted(id for id, s in ALL.items() if s.edition in ("mini", "small")))
def test_a_scenario_that_is_built_on_demand_has_a_builder(id):
    assert BUILDERS.get(ALL[id].builder).name == ALL[id].builder


def test_the_small_edition_splits_one_real_decoder_after_layer_4():
    small = [s for s in ALL.values() if s.edition == "small"]
    assert [s.id for s in small] == ["small-clu-facts", "small-clu-prose", "small-clu-recall"]
    for scenario in small:
        assert scenario.splits == (4,) and scenario.mirrors is None
        caches = [f"{role}.{layer}" for role in ("key", "value") for layer in range(5)]
        assert [t.name for t in scenario.tensors] == [*caches, "hidden"]
        assert {t.dtype for t in scenario.tensors} == {"bfloat16"} and all(t.dead is None for t in scenario.tensors)
    assert [spec.name for scenario in small for spec in scenario.given] == ["continuation"]


def test_what_the_tail_is_given_is_declared_apart_from_what_codecs_see():
    scenario = ALL["small-clu-prose"]
    bare = scenario.model_copy(update={"given": ()})
    assert scenario.specs == bare.specs and scenario.digest != bare.digest
    later = {"given": True, "tensors": {"__all__": {"rotary_base"}}}  # fields that came later change no older digest
    assert bare.digest == hashlib.sha256(bare.model_dump_json(exclude=later).encode()).hexdigest()
    [spec] = scenario.given
    twice = scenario.model_dump() | {"given": [spec.model_dump()] * 2}
    with pytest.raises(ValidationError, match="names of given tensors repeat"):
        Scenario.model_validate(twice)
    other_limit = spec.model_copy(update={"shape": (Axis(name="tokens", limit=5),)})
    with pytest.raises(ValidationError, match="two limits"):
        Scenario.model_validate(scenario.model_dump() | {"given": [other_limit.model_dump()]})


def test_an_unknown_scenario_lists_near_matches():
    with pytest.raises(UnknownNameError, match="did you mean 'clu-gsm8k'"):
        SCENARIOS.get("clu-gsm8")


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"splits": (5, 3)}, "ascend"),
        ({"mirrors": "clu-gsm8k"}, "mirrors"),
        ({"variant_of": "cvu-imagenet-val"}, "variant of itself"),
        ({"side": ("seed", "seed")}, "repeat"),
        ({"batch_size": 0}, "greater than 0"),
        ({"direction": "sideways"}, "'up' or 'down'"),
        ({"id": "No Spaces"}, "pattern"),
        ({"surprise": 1}, "Extra inputs"),
    ],
)
def test_a_contradictory_scenario_is_refused(change, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Scenario.model_validate({**FULL["cvu-imagenet-val"].model_dump(), **change})


@pytest.mark.parametrize(
    "change", [{"shape": (-1,)}, {"shape": (2**31,)}, {"shape": (1,) * 33}, {"name": "x" * 101}, {"name": ""}]
)
def test_a_tensor_that_can_be_none_is_refused(change):
    with pytest.raises(ValidationError):
        TensorSpec(**{"name": "x", "role": "hidden", "shape": (1,), "dtype": "float32", **change})


def test_an_unknown_tensor_lists_near_matches():
    with pytest.raises(UnknownNameError, match=r"did you mean 'block\.9'"):
        FeatureSpecs(tensors=(TensorSpec(name="block.9", role="hidden", shape=(1,), dtype="float32"),))["block.8"]


def test_one_axis_has_one_limit():
    first, second = (Axis(name="tokens", limit=n) for n in (5, 6))
    tensors = tuple(
        TensorSpec(name=f"of-{axis.limit}", role="hidden", shape=(axis, 4), dtype="float32") for axis in (first, second)
    )
    with pytest.raises(ValidationError, match="two limits"):
        FeatureSpecs(tensors=tensors)


def test_the_digest_of_a_file_scenario_covers_its_source(tmp_path):
    source = (
        "from lamofcbench.scenarios.base import SCENARIOS\n"
        "MINE = SCENARIOS.get('cvu-imagenet-val').model_copy(update={'id': 'mine', 'edition': 'user'})\n"
    )
    (tmp_path / "mine.py").write_text(source)
    first = SCENARIOS.get(f"{tmp_path}/mine.py:MINE").digest
    (tmp_path / "mine.py").write_text(source + "# changed\n")
    assert SCENARIOS.get(f"{tmp_path}/mine.py:MINE").digest != first


@pytest.mark.parametrize("changes", [{"role": "value"}, {"shape": (2, 4, 7)}, {"shape": (8,)}, {"rotary_base": 1.0}])
def test_only_keys_of_an_even_width_have_a_rotary_base(changes):
    fields = {"name": "key.0", "role": "key", "shape": (2, 4, 8), "dtype": "bfloat16", "rotary_base": 1e4}
    assert TensorSpec(**fields).rotary_base == 1e4
    with pytest.raises(ValidationError):
        TensorSpec(**fields | changes)


def test_a_rotary_base_is_part_of_what_codecs_see_and_not_of_the_digest():
    scenario = ALL["mini-clu-facts"]
    plain = scenario.model_copy(
        update={"tensors": tuple(spec.model_copy(update={"rotary_base": None}) for spec in scenario.tensors)}
    )
    assert plain.digest == scenario.digest
    assert "rotary_base" in scenario.specs.model_dump_json()
    assert "rotary_base" not in plain.specs.model_dump_json()  # so that codecs saved before keep their fingerprints


def test_features_that_were_stored_before_a_rotary_base_was_stated_are_the_same_features():
    specs = ALL["mini-clu-facts"].specs
    assert specs.as_stored() != specs
    assert all(spec.rotary_base is None for spec in specs.as_stored().tensors)
    assert specs.as_stored() == specs.as_stored().as_stored()
