"""The published segmentor: its file's names and shapes, the image given to its tail, its windows and its scores."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest_models import fill_with_nan
from PIL import Image
from plain_vision import bilinear, sigmoid, softmax
from published_names import LISTING, adapter, listed, mask2former
from safetensors.torch import save_file
from small_segmentor import CLASSES, HEADS, LEVELS, SIDE, STRIDE, WIDTH, small_segmentor

from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.features import FeatureSet, check_given
from lamofcbench.models.images import IMAGENET_MEAN, IMAGENET_STD
from lamofcbench.models.vision_heads.base import BlockOutputs
from lamofcbench.models.vision_heads.dinov3_segmentor import DINOv3SegmentorHead, SegmentorOptions
from lamofcbench.models.vision_heads.mask2former import window_starts
from lamofcbench.models.vit import DINOv3SplitModel
from lamofcbench.scenarios.base import SCENARIOS

SCENARIO = SCENARIOS.get("cvu-ade20k")


class StepsHead(DINOv3SegmentorHead):
    """The segmentor, showing all logits in place of classes."""

    def predict(self, outputs: BlockOutputs) -> list[Any]:
        """Of one sample."""
        return [torch.cat([logits.flatten() for pair in self.steps(outputs) for logits in pair])]


def split_model(make_backbone: Any, head: DINOv3SegmentorHead | None = None) -> DINOv3SplitModel:
    backbone = make_backbone(patch_size=16, image_size=SIDE)
    return DINOv3SplitModel(backbone, head or small_segmentor(), LEVELS, (SIDE, SIDE))


def images() -> list[np.ndarray]:
    """Images of one, two and two windows, wide and high, and one in grey."""
    source = np.random.default_rng(0)
    sizes = [(50, 50, 3), (64, 90, 3), (80, 64, 3), (40, 40)]
    return [source.integers(0, 256, size, dtype=np.uint8) for size in sizes]


# ------------------------------------------------------------------------------------------------- names and shapes


def test_names_and_shapes_at_real_size_are_the_published_ones() -> None:
    with torch.device("meta"):
        head = DINOv3SegmentorHead(SCENARIO.splits)
    found = {name: list(tensor.shape) for name, tensor in head.state_dict().items()}
    expected = {f"segmentation_model.0.{name}": shape for name, shape in adapter().items()}
    expected |= {f"segmentation_model.1.{name}": shape for name, shape in mask2former().items()}
    assert found == expected
    assert len(found) == 479 and sum(math.prod(shape) for shape in found.values()) == 927_454_817


@torch.no_grad()
def test_shapes_follow_at_real_size() -> None:
    with torch.device("meta"):
        adapter, mask2former = DINOv3SegmentorHead(SCENARIO.splits).segmentation_model
        maps = adapter(torch.empty(2, 3, 896, 896), [torch.empty(2, 4096, 56, 56) for _ in range(4)])
        steps = mask2former(maps)
    assert [tuple(level.shape) for level in maps] == [(2, 4096, side, side) for side in (224, 112, 56, 28)]
    assert len(steps) == 10
    assert {tuple(classes.shape) for classes, _ in steps} == {(2, 100, 151)}
    assert {tuple(masks.shape) for _, masks in steps} == {(2, 100, 224, 224)}


@pytest.mark.skipif(not LISTING.is_file(), reason="the listing of the publishers' modules is not beside the checkout")
def test_names_and_shapes_are_those_of_the_publishers_modules() -> None:
    assert (adapter(), mask2former()) == (listed("ADAPTER"), listed("M2F"))


def test_the_scenario_states_what_was_published() -> None:
    options = SegmentorOptions.model_validate(SCENARIO.backbone.options)
    assert (options.head, options.classes, options.size, options.stride) == ("dinov3-segmentor", 150, (896, 896), 596)
    assert (options.score_dtype, options.backbone_autocast, options.compute_dtype) == (
        "bfloat16",
        "bfloat16",
        "float32",
    )
    assert window_starts(1195, options.crop_size, options.stride) == [0, 299]  # 480 x 640 at 896
    assert window_starts(1593, options.crop_size, options.stride) == [0, 596, 697]


# ------------------------------------------------------------------------------------------------------------- inputs


def test_windows_are_cut_from_bytes_that_pillow_scaled() -> None:
    image = images()[1]  # 64 x 90: windows start at columns 0 and 26
    views = small_segmentor().views(image, (SIDE, SIDE))
    assert views.shape == (2, 3, SIDE, SIDE)
    exact = (image.astype(np.float64) - 255 * np.array(IMAGENET_MEAN)) / (255 * np.array(IMAGENET_STD))
    for view, left in zip(views, (0, 26), strict=True):
        np.testing.assert_allclose(view.permute(1, 2, 0), exact[:, left : left + SIDE], atol=1e-5)
    scaled = np.asarray(Image.fromarray(images()[2]).resize((64, 80), Image.Resampling.BILINEAR), dtype=np.float64)
    exact = (scaled - 255 * np.array(IMAGENET_MEAN)) / (255 * np.array(IMAGENET_STD))
    np.testing.assert_allclose(
        small_segmentor().views(images()[2], (SIDE, SIDE))[1].permute(1, 2, 0), exact[16:], atol=1e-5
    )


def test_the_longer_side_is_rounded_and_not_cut() -> None:
    assert small_segmentor().views(np.zeros((30, 47, 3), np.uint8), (SIDE, SIDE)).shape[0] == 2  # 100.27 pixels


def test_the_front_gives_the_image_beside_the_features(make_backbone: Any) -> None:
    model = split_model(make_backbone)
    for image in images():
        features = model.front(image)
        assert list(features.given) == ["image"]
        assert dict(features.side) == {"height": image.shape[0], "width": image.shape[1]}
        expected = image if image.ndim == 3 else np.stack([image] * 3, axis=-1)
        assert np.array_equal(features.given["image"].numpy(), expected)
        check_given(features.given, SCENARIO.given, {})
        assert features.raw_bits == 32 * features.elements  # the image counts nowhere
        assert all(tensor.dtype is torch.float32 for tensor in features.tensors.values())


# -------------------------------------------------------------------------------------------------------- split model


def test_one_image_gives_the_full_models_logits_to_the_last_bit(make_backbone: Any) -> None:
    head = small_segmentor()
    head.__class__ = StepsHead
    model = split_model(make_backbone, head)
    for image in images():
        assert torch.equal(model.tail([model.front(image)])[0], model.full(image))


def test_a_ragged_batch_gives_the_full_models_classes(make_backbone: Any) -> None:
    model = split_model(make_backbone)
    for mask, image in zip(model.tail([model.front(image) for image in images()]), images(), strict=True):
        expected = model.full(image)
        assert mask.shape == image.shape[:2] and mask.dtype == np.uint8 and mask.max() < CLASSES
        assert np.mean(mask == expected) > 0.99 and len(np.unique(expected)) > 1


def test_the_tail_needs_no_weight_of_the_front(make_backbone: Any) -> None:
    model = split_model(make_backbone)
    features = [model.front(image) for image in images()]
    before = model.tail(features)
    fill_with_nan(model.front_modules())
    assert all(np.array_equal(one, other) for one, other in zip(model.tail(features), before, strict=True))


def test_every_level_and_the_image_are_alive(make_backbone: Any) -> None:
    head = small_segmentor()
    head.__class__ = StepsHead
    model = split_model(make_backbone, head)
    features = model.front(images()[1])
    before = model.tail([features])[0]
    for name in features:
        changed = {key: t.flip(0) if key == name else t for key, t in features.tensors.items()}
        assert not torch.equal(model.tail([FeatureSet(changed, features.side, features.given)])[0], before), name
    other = features.with_given({"image": 255 - features.given["image"]})
    assert not torch.equal(model.tail([other])[0], before)


def test_the_backbone_runs_in_autocast_where_it_did(make_backbone: Any) -> None:
    exact = split_model(make_backbone, small_segmentor(backbone_autocast=None)).front(images()[0])
    rounded = split_model(make_backbone).front(images()[0])
    for name in exact:
        assert not torch.equal(rounded[name], exact[name]) and rounded[name].dtype is torch.float32
        torch.testing.assert_close(rounded[name], exact[name], atol=0.1, rtol=0.1)


# ------------------------------------------------------------------------------------------------------------- scores


def test_scores_are_classes_times_masks_in_bfloat16() -> None:
    generator = torch.Generator().manual_seed(0)
    classes, masks = torch.randn(1, 6, CLASSES + 1, generator=generator), torch.randn(1, 6, 16, 16, generator=generator)
    shares = softmax(classes[0].double().numpy())[:, :CLASSES]
    covers = sigmoid(bilinear(masks[0].double().numpy(), (SIDE, SIDE)))
    exact = np.einsum("qk,qhw->khw", shares, covers)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.03)):
        found = small_segmentor(score_dtype=dtype).semantic(classes, masks)
        assert found.dtype is torch.float32 and found.shape == (1, CLASSES, SIDE, SIDE)
        np.testing.assert_allclose(found[0], exact, rtol=tolerance)
        assert torch.equal(found, found.to(dtype).float())


def test_scores_are_averaged_where_windows_meet() -> None:
    head = small_segmentor()
    windows = torch.zeros(2, CLASSES, SIDE, SIDE)
    windows[0, 1], windows[1, 2] = 0.4, 0.6  # columns 0 to 63 and 26 to 89
    mask = head._joined(windows, (64, 90)).argmax(dim=0)
    assert (mask[:, :26] == 1).all() and (mask[:, 26:] == 2).all()


def test_responses_carry_gradients_to_every_level(make_backbone: Any) -> None:
    model = split_model(make_backbone)
    features = model.front(images()[1])
    tensors = {name: tensor.clone().requires_grad_() for name, tensor in features.tensors.items()}
    response = model.response([FeatureSet(tensors, features.side, features.given)])
    assert response.shape[0] == 1 and response.shape[2] == CLASSES
    response[..., 0].sum().backward()
    for name, tensor in tensors.items():
        assert tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.abs().max() > 0, name


# ------------------------------------------------------------------------------------------------------------ refusals


def test_images_that_are_not_those_of_the_features_are_refused(make_backbone: Any) -> None:
    model = split_model(make_backbone)
    features = model.front(images()[1])
    for given, message in (
        (None, "looks at the image: hand its tail 'image'"),
        ({"image": torch.zeros(64, 91, 3, dtype=torch.uint8)}, "64 x 91 pixels; side information tells of 64 x 90"),
    ):
        with pytest.raises(ScenarioError, match=message):
            model.tail([features.with_given(given)])
    square = model.front(images()[0])
    with pytest.raises(ScenarioError, match="hold 1 windows; an image of 64 x 90"):
        model.tail([FeatureSet(square.tensors, features.side, features.given)])


# -------------------------------------------------------------------------------------------------------------- files


def loaded(path: Path | None, directory: Path | None = None, **options: Any) -> DINOv3SegmentorHead:
    scenario = SCENARIO.model_copy(update={"splits": LEVELS})
    settings = {"crop_size": SIDE, "stride": STRIDE, "attention_heads": HEADS, "classes": CLASSES, **options}
    if path is not None:
        settings["head_file"] = str(path)
    return DINOv3SegmentorHead.load(scenario, SegmentorOptions(**settings), directory, WIDTH)


def saved(tensors: dict[str, torch.Tensor], path: Path) -> Path:
    if path.suffix == ".pth":
        torch.save(tensors, path)
    else:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


@pytest.mark.parametrize("name", ["head.pth", "head.safetensors"])
def test_a_file_gives_the_head(name: str, tmp_path: Path, make_backbone: Any) -> None:
    head = loaded(saved(small_segmentor().state_dict(), tmp_path / name))
    assert np.array_equal(
        split_model(make_backbone, head).full(images()[1]), split_model(make_backbone).full(images()[1])
    )
    assert not any(tensor.is_meta for tensor in (*head.parameters(), *head.buffers()))


def test_the_published_file_may_lie_beside_the_backbone(tmp_path: Path) -> None:
    saved(small_segmentor().state_dict(), tmp_path / "dinov3_vit7b16_ade20k_m2f_head-bf307cb1.pth")
    assert loaded(None, tmp_path).classes == CLASSES


@pytest.mark.parametrize("name", ["head.pth", "head.safetensors"])
def test_the_first_tensor_that_does_not_fit_is_named(name: str, tmp_path: Path) -> None:
    tensors = dict(small_segmentor().state_dict())
    first, second = "segmentation_model.0.", "segmentation_model.1."
    for change, message in (
        ({f"{first}level_embed": None}, r"'segmentation_model\.0\.level_embed' is missing"),
        ({f"{second}predictor.post_norm.weight": None}, r"predictor\.post_norm\.weight' is missing"),
        ({f"{second}pixel_decoder.encoder.level_encoding": None}, r"level_encoding' is missing"),
        (
            {f"{first}interactions.2.extractor.attn.attention_weights.bias": None},
            r"attention_weights\.bias' is missing",
        ),
        ({f"{first}backbone.cls_token": torch.zeros(1)}, r"'segmentation_model\.0\.backbone\.cls_token' is foreign"),
        ({f"{first}up.bias": torch.zeros(3)}, r"up\.bias' has shape \[3\], wanted: \[32\]"),
    ):
        spoilt = {key: tensor for key, tensor in {**tensors, **change}.items() if tensor is not None}
        with pytest.raises(DataError, match=message):
            loaded(saved(spoilt, tmp_path / name))


class Pwned:
    """Code that a pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code of a weight file ran",))


def test_a_hostile_file_does_not_run(tmp_path: Path) -> None:
    torch.save({"segmentation_model.0.level_embed": Pwned()}, tmp_path / "head.pth")
    with pytest.raises(DataError, match="cannot read"):
        loaded(tmp_path / "head.pth")


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = saved(small_segmentor().state_dict(), tmp_path / "head.pth")
    for options, message in (
        ({"crop_size": 50}, "multiple of 32"),
        ({"stride": SIDE + 1}, "stride 1 to crop_size"),
    ):
        with pytest.raises(ScenarioError, match=message):
            loaded(path, **options)
    with pytest.raises(DataError, match="5 classes; scenario 'cvu-ade20k' states 150"):
        loaded(path, classes=150)
    with pytest.raises(DataError, match="its sizes contradict each other"):
        loaded(path, attention_heads=7)
    with pytest.raises(ScenarioError, match="does not say where its head's weights are"):
        loaded(None)
    without = SCENARIO.model_copy(update={"given": (), "splits": LEVELS})
    with pytest.raises(ScenarioError, match="a tensor 'image' that the scenario declares"):
        DINOv3SegmentorHead.load(without, SegmentorOptions(head_file=str(path)), None, WIDTH)
