"""The published depth head: its file's names and shapes, and its equations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest_models import fill_with_nan, randomised
from plain_vision import Weights, batch_norm, bilinear, convolution, layer_norm, relu, spread, under, weights_of
from published_names import LISTING, depth_head, listed
from safetensors.torch import save_file

from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.vision_heads.base import BlockOutputs
from lamofcbench.models.vision_heads.dinov3_dpt import DINOv3DPTHead, DINOv3DPTOptions
from lamofcbench.models.vision_heads.linear import LinearOptions
from lamofcbench.models.vit import DINOv3SplitModel
from lamofcbench.scenarios.base import SCENARIOS

LEVELS, WIDTH, BINS = (0, 2, 4, 5), 32, 8
SIZE = (24, 32)  # pixels of a model input: 3 x 4 patches of 8


def small_head(seed: int = 1) -> DINOv3DPTHead:
    head = DINOv3DPTHead(LEVELS, WIDTH, projected=6, hidden=5, head_channels=(4, 3), bins=BINS, depths=(0.5, 10.0))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, buffer in head.named_buffers():
            if buffer.is_floating_point():  # running statistics as after training
                buffer.copy_((0.5 if "var" in name else 0) + torch.rand(buffer.shape, generator=generator))
    return randomised(head, seed, spread=0.3)


def split_model(backbone: Any, head: DINOv3DPTHead | None = None) -> DINOv3SplitModel:
    return DINOv3SplitModel(backbone, head or small_head(), LEVELS, SIZE)


def image(seed: int = 0, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


# ------------------------------------------------------------------------------------------------- names and shapes


def test_names_and_shapes_at_real_size_are_the_published_ones() -> None:
    with torch.device("meta"):
        head = DINOv3DPTHead((9, 19, 29, 39))
    found = {name: list(tensor.shape) for name, tensor in head.state_dict().items()}
    assert found == depth_head()
    assert len(found) == 68 and sum(math.prod(shape) for shape in found.values()) == 230_720_548


@pytest.mark.skipif(not LISTING.is_file(), reason="the listing of the publishers' modules is not beside the checkout")
def test_names_and_shapes_are_those_of_the_publishers_modules() -> None:
    assert depth_head() == listed("DPT")


# --------------------------------------------------------------------------------------------------------- equations


def fused(weights: Weights, level: np.ndarray, deeper: np.ndarray | None) -> np.ndarray:
    """A block of the fusion, pixel by pixel."""

    def unit(number: int, values: np.ndarray) -> np.ndarray:
        part = under(weights, f"res_conv_unit{number}.")
        inner = convolution(relu(values), under(part, "conv1.conv."))
        return values + convolution(relu(inner), under(part, "conv2.conv."))

    joined = level
    if deeper is not None:
        joined = deeper + unit(1, bilinear(level, deeper.shape[1:]))
    joined = unit(2, joined)
    doubled = bilinear(joined, (2 * joined.shape[1], 2 * joined.shape[2]), corners_aligned=True)
    return convolution(doubled, under(weights, "project.conv."))


def plain_depth(weights: Weights, maps: list[np.ndarray]) -> np.ndarray:
    """Metres, from the four levels' normalised patch maps."""
    blocks = under(weights, "reassemble_blocks.")
    levels = []
    for index, values in enumerate(maps):
        values = batch_norm(values, under(blocks, f"batchnorm_layers.{index}."))
        values = convolution(values, under(blocks, f"projects.{index}.conv."))
        resize = under(blocks, f"resize_layers.{index}.")
        if index < 2:
            values = spread(values, resize)
        elif index == 3:
            values = convolution(values, resize, stride=2)
        levels.append(convolution(values, under(weights, f"convs.{index}.conv.")))
    joined: np.ndarray | None = None
    for index, level in enumerate(reversed(levels)):
        joined = fused(under(weights, f"fusion_blocks.{index}."), level, joined)
    assert joined is not None
    values = relu(convolution(joined, under(weights, "project.conv.")))
    values = convolution(values, under(weights, "conv_depth.head.0."))
    values = bilinear(values, (2 * values.shape[1], 2 * values.shape[2]), corners_aligned=True)
    values = relu(convolution(values, under(weights, "conv_depth.head.2.")))
    shares = relu(convolution(values, under(weights, "conv_depth.head.4."))) + 0.1
    centres = [0.5 + index * 9.5 / (BINS - 1) for index in range(BINS)]
    return np.tensordot(centres, shares / shares.sum(0), axes=1)


@pytest.mark.parametrize("grid", [(4, 2), (3, 4)])  # with an odd number of rows the levels do not meet
@torch.no_grad()
def test_depths_are_what_the_equations_say(grid: tuple[int, int]) -> None:
    head, norm = small_head(), randomised(torch.nn.LayerNorm(WIDTH))
    tokens = 5 + grid[0] * grid[1]
    generator = torch.Generator().manual_seed(5)
    blocks = {level: torch.randn(1, tokens, WIDTH, generator=generator) for level in LEVELS}
    found = head.depths(BlockOutputs(blocks, [1], [{}], norm, 5, grid))[0].numpy()
    maps = [
        layer_norm(blocks[level][0, 5:].double().numpy(), weights_of(norm)).T.reshape(WIDTH, *grid) for level in LEVELS
    ]
    expected = plain_depth(weights_of(head), maps)
    assert found.shape == expected.shape and np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    if grid[0] % 2 == 0:
        assert found.shape == (16 * grid[0], 16 * grid[1])


# -------------------------------------------------------------------------------------------------------- split model


def test_one_image_gives_the_full_models_depths_to_the_last_bit(make_backbone: Any) -> None:
    model = split_model(make_backbone())
    features = model.front(image())
    depths = model.tail([features])[0]
    assert np.array_equal(depths, model.full(image()))
    assert depths.dtype == np.float32 and depths.shape == (48, 64)
    assert features["block.5"].shape == (2, 17, WIDTH) and not features.given


def test_the_tail_needs_no_weight_of_the_front(make_backbone: Any) -> None:
    model = split_model(make_backbone())
    features = [model.front(image(seed)) for seed in range(2)]
    before = model.tail(features)
    fill_with_nan(model.front_modules())
    assert all(np.array_equal(one, other) for one, other in zip(model.tail(features), before, strict=True))


def test_every_level_is_alive(make_backbone: Any) -> None:
    model = split_model(make_backbone())
    features = model.front(image())
    before = model.tail([features])[0]
    for name in features:
        changed = {key: t.flip(0) if key == name else t for key, t in features.tensors.items()}
        assert not np.array_equal(model.tail([FeatureSet(changed, features.side)])[0], before), name


def test_depth_is_the_mean_of_the_image_and_its_flip(make_backbone: Any) -> None:
    model = split_model(make_backbone())
    mirrored = model.full(image()[:, ::-1])
    np.testing.assert_allclose(mirrored[:, ::-1], model.full(image()), rtol=1e-5)


def test_an_image_of_another_shape_is_refused_rather_than_stretched(make_backbone: Any) -> None:
    with pytest.raises(DataError, match="becomes 24 x 24; the model input is 24 x 32"):
        split_model(make_backbone()).front(image(size=(50, 50)))


def test_the_scenario_states_the_published_input() -> None:
    scenario = SCENARIOS.get("cvu-nyuv2")
    options = DINOv3DPTOptions.model_validate(scenario.backbone.options)
    assert (options.head, options.size, options.min_depth, options.max_depth) == ("dinov3-dpt", (768, 1024), 0.001, 100)
    assert small_head().views(image(size=(480, 640)), options.size).shape == (2, 3, 768, 1024)


# -------------------------------------------------------------------------------------------------------------- files


def loaded(path: Path, **options: Any) -> DINOv3DPTHead:
    scenario = SCENARIOS.get("cvu-nyuv2").model_copy(update={"splits": LEVELS})
    settings = DINOv3DPTOptions(head_file=str(path), min_depth=0.5, max_depth=10.0, **options)
    return DINOv3DPTHead.load(scenario, settings, None, WIDTH)


def saved(tensors: dict[str, torch.Tensor], path: Path) -> Path:
    if path.suffix == ".pth":
        torch.save(tensors, path)
    else:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


@pytest.mark.parametrize("name", ["head.pth", "head.safetensors"])
def test_a_file_gives_the_head(name: str, tmp_path: Path, make_backbone: Any) -> None:
    head = loaded(saved(small_head().state_dict(), tmp_path / name))
    expected = split_model(make_backbone()).full(image())
    assert np.array_equal(split_model(make_backbone(), head).full(image()), expected)
    assert not any(tensor.is_meta for tensor in (*head.parameters(), *head.buffers()))


@pytest.mark.parametrize("name", ["head.pth", "head.safetensors"])
def test_the_first_tensor_that_does_not_fit_is_named(name: str, tmp_path: Path) -> None:
    tensors = dict(small_head().state_dict())
    for change, message in (
        ({"convs.1.conv.weight": None}, r"'convs\.1\.conv\.weight' is missing"),
        ({"reassemble_blocks.batchnorm_layers.0.running_var": None}, r"running_var' is missing"),
        ({"project.conv.weight": None, "conv_depth.head.4.bias": None}, r"'conv_depth\.head\.4\.bias' is missing"),
        ({"a.foreign": torch.zeros(2)}, r"'a\.foreign' is foreign"),
        ({"convs.1.conv.weight": torch.zeros(5, 7, 3, 3)}, r"has shape \[5, 7, 3, 3\], wanted: \[5, 6, 3, 3\]"),
    ):
        spoilt = {key: tensor for key, tensor in {**tensors, **change}.items() if tensor is not None}
        with pytest.raises(DataError, match=message):
            loaded(saved(spoilt, tmp_path / name))


def test_the_file_may_lie_in_a_folder_of_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "dinov3_vit7b16_synthmix_dpt_head-02040be1.pth"
    expected = small_head().state_dict()
    saved(expected, tmp_path / name)
    monkeypatch.setenv("LAMOFCBENCH_HEADS", str(tmp_path))
    scenario = SCENARIOS.get("cvu-nyuv2").model_copy(update={"splits": LEVELS})
    found = DINOv3DPTHead.load(scenario, DINOv3DPTOptions(), None, WIDTH).state_dict()
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())
    classification = SCENARIOS.get("cvu-imagenet-val")
    options = LinearOptions.model_validate(classification.backbone.options)
    assert options.head_path(classification, None) == tmp_path / "dinov3_vit7b16_imagenet1k_linear_head-90d8ed92.pth"
    monkeypatch.delenv("LAMOFCBENCH_HEADS")
    with pytest.raises(ScenarioError, match="LAMOFCBENCH_HEADS name the folder with dinov3_vit7b16_imagenet1k_linear"):
        options.head_path(classification, None)


@torch.no_grad()
def test_shapes_follow_at_real_size() -> None:
    with torch.device("meta"):
        head, norm = DINOv3DPTHead((9, 19, 29, 39)), torch.nn.LayerNorm(4096)
        blocks = {level: torch.empty(2, 3077, 4096) for level in head.levels}
        assert head.depths(BlockOutputs(blocks, [2], [{}], norm, 5, (48, 64))).shape == (2, 768, 1024)


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    scenario = SCENARIOS.get("cvu-nyuv2")
    with pytest.raises(ScenarioError, match="does not say where its head's weights are"):
        DINOv3DPTHead.load(scenario, DINOv3DPTOptions(), None, WIDTH)
    with pytest.raises(ScenarioError, match="0 < min_depth < max_depth"):
        DINOv3DPTHead.load(scenario, DINOv3DPTOptions(min_depth=3.0, max_depth=2.0), tmp_path, WIDTH)
    with pytest.raises(ScenarioError, match="reads 4 levels"):
        DINOv3DPTHead.load(scenario.model_copy(update={"splits": (39,)}), DINOv3DPTOptions(), tmp_path, WIDTH)
