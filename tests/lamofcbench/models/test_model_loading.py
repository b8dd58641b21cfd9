"""Models load from folders and users' files; what is incomplete, unpinned or unsafe is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lamofcbench.builders import BUILDERS
from lamofcbench.errors import DataError, LaMoFCBenchError, PluginError, ScenarioError, UnknownNameError
from lamofcbench.features import check_features
from lamofcbench.models import MODELS, load_model
from lamofcbench.models.decoder import DecoderSplitModel
from lamofcbench.models.vit import DINOv3SplitModel
from lamofcbench.scenarios.base import SCENARIOS, Axis, Backbone, Scenario, TensorSpec

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
PROMPT = "how many are 12+7?"
TOKENS = Axis(name="tokens", limit=256)


def scenario_of(origin: Path | None = None, **backbone: Any) -> Scenario:
    scenario = Scenario(
        id="user-test",
        version=1,
        edition="user",
        category="other",
        title="A test",
        backbone=Backbone(**backbone),
        splits=(1, 5) if backbone["adapter"] == "dinov3-vit" else (4,),
        tensors=(TensorSpec(name="hidden", role="hidden", shape=(TOKENS, 32), dtype="float32"),),
        prediction="label",
        metric="accuracy",
        direction="up",
        batch_size=4,
        test_samples=1,
        calibration_samples=0,
        licence="none",
    )
    return scenario if origin is None else scenario.with_origin(origin)


def vit_scenario(directory: Path, **options: Any) -> Scenario:
    return scenario_of(adapter="dinov3-vit", source=str(directory), options={"image_size": 32, **options})


def decoder_scenario(directory: Path, **options: Any) -> Scenario:
    return scenario_of(adapter="qwen3-decoder", source=str(directory), options={"max_new_tokens": 8, **options})


@pytest.fixture(scope="module")
def vit_folder(make_backbone: Callable[..., Any], tmp_path_factory: Any) -> Path:
    """The published layout: config.json and model.safetensors in fp16, head.safetensors."""
    folder = tmp_path_factory.mktemp("vit")
    make_backbone().half().save_pretrained(folder)
    source = torch.Generator().manual_seed(0)
    head = {"weight": torch.randn(10, 64, generator=source).half(), "bias": torch.randn(10, generator=source).half()}
    save_file(head, folder / "head.safetensors")
    return folder


@pytest.fixture(scope="module")
def decoder_folder(make_decoder: Callable[..., Any], tokenizer: Any, tmp_path_factory: Any) -> Path:
    """The published layout: a Qwen3 in fp16 with its generation settings and tokenizer beside it."""
    folder = tmp_path_factory.mktemp("decoder")
    make_decoder(eos_token_id=2).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_vision_model_comes_from_a_folder_and_computes_in_full_precision(vit_folder: Path) -> None:
    model = load_model(vit_scenario(vit_folder, classes=10))
    assert isinstance(model, DINOv3SplitModel)
    features = model.front(IMAGE)
    assert {tensor.dtype for tensor in features.tensors.values()} == {torch.float32}
    assert model.tail([features]) == [model.full(IMAGE)]
    stored = load_file(vit_folder / "model.safetensors")
    loaded = model.backbone.state_dict()
    # Files call the first block layer.0, the model calls it model.layer.0.
    inside = {name: f"model.{name}" if name.startswith("layer.") else name for name in stored}
    assert all(torch.equal(loaded[inside[name]], tensor.float()) for name, tensor in stored.items())


def test_a_decoder_comes_from_a_folder_with_its_tokenizer(decoder_folder: Path) -> None:
    model = load_model(decoder_scenario(decoder_folder))
    assert isinstance(model, DecoderSplitModel)
    assert model.model.dtype is torch.float32
    assert model.token_ids(PROMPT)[0] == 1  # <bos>
    assert model.tail([model.front(PROMPT)]) == [model.full(PROMPT)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_compute_dtype_is_an_option(vit_folder: Path, decoder_folder: Path, dtype: str) -> None:
    for scenario, sample in (
        (vit_scenario(vit_folder, compute_dtype=dtype), IMAGE),
        (decoder_scenario(decoder_folder, compute_dtype=dtype), PROMPT),
    ):
        model = load_model(scenario)
        features = model.front(sample)
        assert {str(tensor.dtype) for tensor in features.tensors.values()} == {f"torch.{dtype}"}
        assert model.tail([features]) == [model.full(sample)]


def test_a_relative_folder_stands_beside_the_scenarios_file(vit_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(vit_folder, tmp_path / "weights")
    (tmp_path / "mine.py").write_text("")
    options = {"image_size": 32}
    relative = scenario_of(tmp_path / "mine.py", adapter="dinov3-vit", source="./weights", options=options)
    assert load_model(relative).front(IMAGE)["block.5"].shape == (21, 32)
    missing = scenario_of(tmp_path / "mine.py", adapter="dinov3-vit", source="./elsewhere", options=options)
    with pytest.raises(DataError, match=r"no folder .*elsewhere"):
        load_model(missing)


def test_an_unpinned_hub_source_is_refused_before_anything_is_fetched() -> None:
    scenario = scenario_of(adapter="qwen3-decoder", source="Qwen/Qwen3-8B", options={"max_new_tokens": 8})
    with pytest.raises(ScenarioError) as caught:
        load_model(scenario)
    message = str(caught.value)
    assert "set backbone.revision to a 40-digit commit of https://huggingface.co/Qwen/Qwen3-8B/commits" in message
    assert "\n" not in message


def test_a_hub_source_that_cannot_be_had_is_one_clear_line() -> None:
    scenario = scenario_of(adapter="qwen3-decoder", source="Qwen/Qwen3-8B", revision="0" * 40)
    with pytest.raises(DataError, match="cannot load Qwen/Qwen3-8B at 0000") as caught:
        load_model(scenario)
    assert "\n" not in str(caught.value)


def test_unknown_adapters_and_options_get_near_matches(vit_folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'dinov3-vit'"):
        load_model(scenario_of(adapter="dinov3-vitt", source=str(vit_folder)))
    with pytest.raises(ScenarioError, match="unknown option 'imagesize'; did you mean 'image_size'"):
        load_model(vit_scenario(vit_folder, imagesize=32))
    with pytest.raises(ScenarioError, match="option image_size"):
        load_model(vit_scenario(vit_folder, image_size="large"))
    with pytest.raises(UnknownNameError, match="unknown vision head 'lineal'; did you mean 'linear'"):
        load_model(vit_scenario(vit_folder, head="lineal"))


@pytest.mark.parametrize("folder", ["vit_folder", "decoder_folder"])
def test_incomplete_weights_are_refused(folder: str, request: Any, tmp_path: Path) -> None:
    """The library would go on with random weights."""
    directory = tmp_path / "incomplete"
    shutil.copytree(request.getfixturevalue(folder), directory)
    weights = load_file(directory / "model.safetensors")
    dropped = next(name for name in weights if "layer" in name and "weight" in name)
    save_file(
        {name: t for name, t in weights.items() if name != dropped}, directory / "model.safetensors", {"format": "pt"}
    )
    make = vit_scenario if folder == "vit_folder" else decoder_scenario
    with pytest.raises(DataError, match="lacks 1 weights"):
        load_model(make(directory))
    (directory / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="cannot load"):
        load_model(make(directory))


class Pwned:
    """Code that a pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code of a weight file ran",))


def test_heads_are_read_without_running_their_code(vit_folder: Path, tmp_path: Path) -> None:
    tensors = load_file(vit_folder / "head.safetensors")
    torch.save(tensors, tmp_path / "head.pth")
    expected = load_model(vit_scenario(vit_folder)).full(IMAGE)
    assert load_model(vit_scenario(vit_folder, head_file=str(tmp_path / "head.pth"))).full(IMAGE) == expected
    for content, message in (
        (Pwned(), "cannot read"),
        ([1, 2], "holds a list"),
        ({"weight": tensors["weight"]}, "one weight and one bias.*'bias' is missing"),
        ({**tensors, "scale": tensors["bias"]}, "'scale' is foreign"),
        ({"weight": tensors["weight"][:, 1:], "bias": tensors["bias"]}, r"\[K, 64\]"),
    ):
        torch.save(content, tmp_path / "head.pth")
        with pytest.raises(DataError, match=message):
            load_model(vit_scenario(vit_folder, head_file=str(tmp_path / "head.pth")))


def test_classes_are_checked_against_the_head(vit_folder: Path) -> None:
    with pytest.raises(DataError, match="has 10 classes; scenario 'user-test' states 1000"):
        load_model(vit_scenario(vit_folder, classes=1000))
    with pytest.raises(ScenarioError, match=r"class_indices must lie in 0\.\.9"):
        load_model(vit_scenario(vit_folder, class_indices=[3, 10]))
    with pytest.raises(ScenarioError, match=r"'imagenet-v2' are not known.*list the classes in option class_indices"):
        load_model(vit_scenario(vit_folder, class_subset="imagenet-v2"))
    with pytest.raises(ScenarioError, match=r"must lie in 0\.\.9: \[11, 13"):  # the head has ten
        load_model(vit_scenario(vit_folder, class_subset="imagenet-a"))
    assert load_model(vit_scenario(vit_folder, class_subset="of my own", class_indices=[3])).full(IMAGE) == 3
    assert load_model(vit_scenario(vit_folder, class_indices=[3])).full(IMAGE) == 3


def test_a_hub_head_is_pinned_too(vit_folder: Path) -> None:
    with pytest.raises(ScenarioError, match="set option head_revision to a 40-digit commit"):
        load_model(vit_scenario(vit_folder, head_repo="org/head"))
    with pytest.raises(DataError, match=r"cannot fetch head\.safetensors of org/head"):
        load_model(vit_scenario(vit_folder, head_repo="org/head", head_revision="0" * 40))


def test_code_beside_the_weights_never_runs(decoder_folder: Path, tmp_path: Path) -> None:
    directory = tmp_path / "remote"
    shutil.copytree(decoder_folder, directory)
    config = (directory / "config.json").read_text()
    classes = '"auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}, "model_type": "evil",'
    (directory / "config.json").write_text(
        config.replace("{", "{" + classes, 1).replace('"model_type": "qwen3"', '"x": 1')
    )
    (directory / "evil.py").write_text("raise SystemExit('code from the folder ran')")
    with pytest.raises(DataError, match="cannot load"):
        load_model(decoder_scenario(directory))


USER_FILE = '''
"""A scenario of one's own, with a model that is none of the library's families."""

import torch
from safetensors.torch import load_file
from torch import nn

from lamofcbench.models import HookedSplitModel
from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec


class TinyCNN(HookedSplitModel):
    points = {"conv": "0"}
    input_shape = (1, 8, 8)

    @classmethod
    def load(cls, scenario, directory, device):
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 10))
        network.load_state_dict(load_file(directory / "tiny_cnn.safetensors"))
        return cls(network, device=device)

    def preprocess(self, inputs):
        return torch.from_numpy(inputs)[None] / 255

    def postprocess(self, output):
        return int(output.argmax())


MINE = Scenario(
    id="my-digits",
    version=1,
    edition="user",
    category="other",
    title="My own digits",
    backbone=Backbone(adapter=":TinyCNN", source="."),
    splits=(0,),
    tensors=(TensorSpec(name="conv", role="latent", shape=(4, 6, 6), dtype="float16"),),
    prediction="label",
    metric="accuracy",
    direction="up",
    batch_size=16,
    test_samples=100,
    calibration_samples=50,
    licence="Apache-2.0",
)
'''


def test_a_users_own_model_stands_in_the_users_own_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(USER_FILE)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 10)
    )
    save_file(network.state_dict(), tmp_path / "tiny_cnn.safetensors")
    scenario = SCENARIOS.get(f"{tmp_path / 'mine.py'}:MINE")
    model = load_model(scenario)
    samples = [np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8) for seed in range(5)]
    features = [model.front(sample) for sample in samples]
    assert check_features(features[0].cast(scenario.specs), scenario.specs) == {}
    assert model.tail(features) == [model.full(sample) for sample in samples]


def test_the_bare_fallback_says_how_to_use_it(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="subclass HookedSplitModel in a file of your own"):
        load_model(scenario_of(adapter="hooks", source=str(tmp_path)))


def test_weights_of_a_builder_come_from_its_folder(vit_folder: Path, tmp_path: Path) -> None:
    builder = f"""
from pathlib import Path
from lamofcbench.builders import ScenarioBuilder

class Mine(ScenarioBuilder):
    name = "mine"
    samples = content_hash = revision = build = lambda self, *args, **keywords: None
    def model_directory(self):
        return Path({str(vit_folder)!r})

class Weightless(Mine):
    name = "weightless"
    def model_directory(self):
        return None
"""
    (tmp_path / "builder.py").write_text(builder)
    origin, options = tmp_path / "builder.py", {"image_size": 32}
    assert BUILDERS.get(":Mine", relative_to=origin).name == "mine"
    own = scenario_of(origin, adapter="dinov3-vit", source="builder::Mine", options=options)
    assert load_model(own).full(IMAGE) == load_model(vit_scenario(vit_folder)).full(IMAGE)
    with pytest.raises(PluginError, match="brings none"):
        load_model(scenario_of(origin, adapter="dinov3-vit", source="builder::Weightless", options=options))


def test_every_registered_model_has_a_name_of_its_own() -> None:
    assert {"dinov3-vit", "qwen3-decoder", "hooks"} <= set(MODELS.names())


def test_full_scenarios_stop_with_a_clear_line_only() -> None:
    """Where no commit is known, the user reads how to pin one."""
    for scenario in SCENARIOS:
        if scenario.edition == "full" and scenario.backbone.revision is None:
            with pytest.raises(LaMoFCBenchError) as caught:
                load_model(scenario)
            assert "\n" not in str(caught.value)
