"""Tails without what only fronts run, and networks that accelerate spreads: the same predictions to the last bit."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset_builders.full.raw import RawData
from lamofcbench.builders import BUILDERS
from lamofcbench.errors import LaMoFCBenchError, PluginError
from lamofcbench.models.loading import load_model
from lamofcbench.models.placement import TAIL, Absent, Placement
from lamofcbench.scenarios._cvu import shallow_variant
from lamofcbench.scenarios.base import SCENARIOS

FULL_TESTS = Path(__file__).parents[2] / "dataset_builders" / "full"
sys.path.append(str(FULL_TESTS))
try:
    import small_scenarios as small
finally:
    sys.path.remove(str(FULL_TESTS))

PROMPT = "Question: how?"


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    return small.classification(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return small.language(tmp_path_factory.mktemp("decoder"))


@pytest.mark.parametrize("level", [5, 2])
def test_a_vision_tail_holds_only_the_blocks_behind_the_split(deep, level):
    scenario = deep if level == 5 else shallow_variant(deep, level)
    whole, tail = load_model(scenario), load_model(scenario, placement=TAIL)
    blocks = tail.backbone.model.layer
    assert [isinstance(block, Absent) for block in blocks] == [index <= level for index in range(6)]
    assert sum(map(parameters, tail.front_modules())) == 0
    assert parameters(tail.backbone) == parameters(whole.backbone) - sum(map(parameters, whole.front_modules()))
    features = whole.front(picture())
    assert tail.tail([features]) == whole.tail([features])
    assert torch.equal(tail.response([features]), whole.response([features]))
    with pytest.raises(PluginError, match="'embeddings' was not loaded: this model was loaded for its tail alone"):
        tail.front(picture())


def test_a_spoken_tail_holds_neither_the_encoder_nor_the_adaptor():
    scenario = small.speech("cau-librispeech-clean")
    whole, tail = load_model(scenario), load_model(scenario, placement=TAIL)
    adaptor = parameters(whole.model.model.vq_adaptor)
    assert adaptor > 0 and parameters(whole.model) - parameters(tail.model) == adaptor
    inputs = BUILDERS.get("mini-cau-questions")().samples("test")[0].inputs
    features = whole.front(inputs)
    assert tail.tail([features]) == whole.tail([features])
    with pytest.raises(PluginError, match="encoder was not loaded"):
        tail.front(inputs)


def test_a_decoder_on_disk_and_in_memory_writes_what_it_writes_on_one_device(decoder, tmp_path):
    layers = {"model.layers.0": "cpu", "model.layers.1": "disk"}
    rest = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    spread = load_model(decoder, placement=Placement(device_map={**layers, **rest}, offload=tmp_path))
    assert all(parameter.is_meta for parameter in spread.layers[1].parameters())
    whole = load_model(decoder)
    features, other = whole.front(PROMPT), spread.front(PROMPT)
    assert all(torch.equal(features[name], other[name]) for name in features)
    assert spread.generate_tokens([features, other]) == whole.generate_tokens([features, features])
    assert spread.full(PROMPT) == whole.full(PROMPT)


def test_a_spread_build_writes_the_files_of_a_plain_one(deep, tmp_path):
    for seed in range(5):
        part = "val" if seed < 3 else "train"
        small.put(tmp_path / "raw" / part / "n01440764" / f"{seed}.JPEG", small.picture(seed))
    placement = Placement(device_map="auto", offload=tmp_path / "offload", max_memory={"cpu": "60KB"})
    model = load_model(deep, placement=placement)
    assert any(parameter.is_meta for parameter in model.backbone.parameters())
    built = []
    for number, given in enumerate(({}, {"placement": placement})):
        builder = BUILDERS.get("cvu-imagenet-val")(RawData(tmp_path / "raw"))
        folder = builder.build(deep, tmp_path / str(number), progress=False, **given)
        built.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert built[0] == built[1]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("family", ["deep", "decoder"])
def test_halves_run_from_front_to_tail(request, family, dtype):
    scenario = request.getfixturevalue(family)
    options = {**scenario.backbone.options, "compute_dtype": dtype}
    backbone = scenario.backbone.model_copy(update={"options": options})
    model = load_model(scenario.model_copy(update={"backbone": backbone}))
    inputs = picture() if family == "deep" else PROMPT
    features = model.front(inputs)
    assert {tensor.dtype for tensor in features.tensors.values()} == {getattr(torch, dtype)}
    assert model.tail([features]) == [model.full(inputs)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"device_map": "anywhere"}, "it may be auto, balanced, sequential"), ({"offload": Path()}, "belong to a device")],
)
def test_what_is_no_placement_is_refused(settings, message):
    with pytest.raises(LaMoFCBenchError, match=message):
        Placement(**settings)


def test_the_tail_of_a_mini_scenario_alone_knows_what_the_whole_model_knows():
    scenario = SCENARIOS.get("mini-cvu-digits-shallow")
    sample = BUILDERS.get(scenario.builder)().samples("test")[0]
    features = load_model(scenario).front(sample.inputs)
    assert load_model(scenario, placement=TAIL).tail([features]) == [sample.reference]
