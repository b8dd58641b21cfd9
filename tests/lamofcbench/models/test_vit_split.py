"""The split vision transformer is the full one, and its tail runs only what stands behind the last split level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest_models import fill_with_nan
from torch.nn import functional

from lamofcbench.errors import DataError, PluginError, ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.images import IMAGENET_MEAN, IMAGENET_STD, to_pixels
from lamofcbench.models.vision_heads.base import BlockOutputs, VisionHead
from lamofcbench.models.vision_heads.linear import LinearHead
from lamofcbench.models.vit import DINOv3SplitModel

CLASSES = 7
CONFIGURATIONS: dict[str, tuple[tuple[int, ...], tuple[int, int], dict[str, Any]]] = {
    "last block": ((1, 5), (32, 32), {}),
    "four levels, gated": ((0, 2, 4, 5), (32, 32), {"use_gated_mlp": True}),
    "middle blocks only": ((1, 3), (32, 32), {}),
    "wide image, no registers": ((2,), (16, 40), {"num_register_tokens": 0, "query_bias": False}),
}


def images(count: int = 3) -> list[np.ndarray]:
    source = np.random.default_rng(0)
    return [source.integers(0, 256, (20 + 7 * index, 33, 3), dtype=np.uint8) for index in range(count)]


def linear_head(width: int = 32, class_indices: tuple[int, ...] | None = None) -> LinearHead:
    source = torch.Generator().manual_seed(3)
    weight, bias = torch.randn(CLASSES, 2 * width, generator=source), torch.randn(CLASSES, generator=source)
    return LinearHead(weight, bias, class_indices)


class LogitsHead(LinearHead):
    """The linear head, showing its logits, and one sample at a time, so that kernels see the same shapes."""

    def predict(self, outputs: BlockOutputs) -> list[Any]:
        return list(self.logits(outputs))


def logits_head() -> LogitsHead:
    return LogitsHead(linear_head().linear.weight, linear_head().linear.bias)


@pytest.fixture(params=CONFIGURATIONS, ids=lambda name: name.replace(" ", "-"))
def split_model(request: Any, make_backbone: Any) -> DINOv3SplitModel:
    splits, size, changes = CONFIGURATIONS[request.param]
    return DINOv3SplitModel(make_backbone(**changes), logits_head(), splits, size)


def test_one_image_gives_the_full_models_logits_to_the_last_bit(split_model: DINOv3SplitModel) -> None:
    for image in images():
        assert torch.equal(split_model.tail([split_model.front(image)])[0], split_model.full(image))


def test_a_batch_gives_the_full_models_logits(split_model: DINOv3SplitModel) -> None:
    logits = split_model.tail([split_model.front(image) for image in images()])
    torch.testing.assert_close(logits, [split_model.full(image) for image in images()], atol=1e-4, rtol=1e-4)
    assert not torch.equal(logits[0], logits[1])


def test_the_full_model_is_the_librarys_own_forward_pass(make_backbone: Any) -> None:
    backbone, head = make_backbone(), logits_head()
    split_model = DINOv3SplitModel(backbone, head, (1, 5), (32, 32))
    for image in images():
        with torch.no_grad():
            tokens = backbone(to_pixels(image, (32, 32))[None]).last_hidden_state[0]
            pooled = torch.cat([tokens[0], tokens[5:].mean(dim=0)])  # class token, four registers, patches
            expected = functional.linear(pooled, head.linear.weight, head.linear.bias)
        torch.testing.assert_close(split_model.full(image), expected, atol=1e-5, rtol=1e-5)


def test_features_are_the_raw_block_outputs(make_backbone: Any) -> None:
    backbone = make_backbone()
    features = DINOv3SplitModel(backbone, linear_head(), (1, 5), (32, 32)).front(images()[0])
    with torch.no_grad():
        states = backbone(to_pixels(images()[0], (32, 32))[None], output_hidden_states=True).hidden_states
    assert list(features) == ["block.1", "block.5"]
    assert features["block.1"].shape == (1 + 4 + 16, 32)
    assert torch.equal(features["block.1"], states[2][0])  # the embedding comes first
    assert torch.equal(features["block.5"], states[6][0])
    assert dict(features.side) == {}


def test_the_tail_needs_no_weight_of_the_front(split_model: DINOv3SplitModel) -> None:
    features = [split_model.front(image) for image in images()]
    before = split_model.tail(features)
    fill_with_nan(split_model.front_modules())
    assert all(torch.equal(one, other) for one, other in zip(split_model.tail(features), before, strict=True))
    assert split_model.full(images()[0]).isnan().all()  # the weights are gone indeed


def test_the_front_runs_nothing_behind_the_last_split(make_backbone: Any) -> None:
    split_model = DINOv3SplitModel(make_backbone(), linear_head(), (1, 3), (32, 32))
    before = split_model.front(images()[0])
    fill_with_nan([*split_model.backbone.model.layer[4:], split_model.backbone.norm])
    assert all(torch.equal(split_model.front(images()[0])[name], before[name]) for name in before)


def test_only_the_last_level_is_alive_for_the_linear_head(split_model: DINOv3SplitModel) -> None:
    features = split_model.front(images()[0])
    logits = split_model.tail([features])[0]
    for name in features:
        changed = FeatureSet({key: t + (key == name) * torch.randn_like(t) for key, t in features.tensors.items()})
        alive = not torch.equal(split_model.tail([changed])[0], logits)
        assert alive == (name == f"block.{split_model.splits[-1]}")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_stored_in_half_precision_are_computed_on_in_full(split_model: DINOv3SplitModel, dtype: Any) -> None:
    features = split_model.front(images()[0])
    stored = FeatureSet({name: tensor.to(dtype) for name, tensor in features.tensors.items()})
    widened = FeatureSet({name: tensor.float() for name, tensor in stored.tensors.items()})
    assert split_model.tail([stored])[0].dtype is torch.float32
    assert torch.equal(split_model.tail([stored])[0], split_model.tail([widened])[0])


def test_sets_of_different_token_counts_are_put_together_and_apart_again(make_backbone: Any) -> None:
    backbone = make_backbone()
    small = DINOv3SplitModel(backbone, logits_head(), (1, 5), (16, 16))
    large = DINOv3SplitModel(backbone, logits_head(), (1, 5), (32, 32))
    mixed = [small.front(images()[0]), large.front(images()[1]), small.front(images()[2])]
    expected = [small.full(images()[0]), large.full(images()[1]), small.full(images()[2])]
    torch.testing.assert_close(large.tail(mixed), expected, atol=1e-4, rtol=1e-4)
    between = DINOv3SplitModel(backbone, logits_head(), (1, 3), (32, 32))
    with pytest.raises(ScenarioError, match="9 tokens; images of size"):  # positions need the true size
        between.tail([DINOv3SplitModel(backbone, logits_head(), (1, 3), (16, 16)).front(images()[0])])


def test_predictions_are_labels_within_the_chosen_classes(make_backbone: Any) -> None:
    everything = DINOv3SplitModel(make_backbone(), linear_head(), (5,), (32, 32))
    subset = DINOv3SplitModel(make_backbone(), linear_head(class_indices=(2, 6)), (5,), (32, 32))
    logits = DINOv3SplitModel(make_backbone(), logits_head(), (5,), (32, 32))
    features = [everything.front(image) for image in images(6)]
    raw = torch.stack(logits.tail(features))
    assert everything.tail(features) == raw.argmax(dim=1).tolist()
    assert subset.tail(features) == [2 if row[2] > row[6] else 6 for row in raw]
    assert all(type(label) is int for label in everything.tail(features))


def test_a_head_may_take_several_views_of_an_image(make_backbone: Any) -> None:
    class FlippedHead(VisionHead):
        """Averages an image and its flip, and needs the image's height."""

        name = "flipped"
        multi_view = True

        @classmethod
        def load(cls, scenario: Any, options: Any, directory: Any, width: int) -> FlippedHead:
            return cls()

        def views(self, image: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
            pixels = to_pixels(image, size)
            return torch.stack([pixels, pixels.flip(-1)])

        def side(self, image: np.ndarray) -> dict[str, int]:
            return {"height": image.shape[0]}

        def predict(self, outputs: BlockOutputs) -> list[Any]:
            means = outputs.norm(outputs.blocks[1]).mean(dim=(1, 2)).split(list(outputs.views))
            return [float(v.mean()) * side["height"] for v, side in zip(means, outputs.sides, strict=True)]

    split_model = DINOv3SplitModel(make_backbone(), FlippedHead(), (1, 5), (32, 32))
    features = [split_model.front(image) for image in images()]
    assert features[0]["block.5"].shape == (2, 21, 32)
    assert features[0].side["height"] == len(images()[0])
    assert split_model.tail(features) == pytest.approx([split_model.full(image) for image in images()], rel=1e-4)
    assert split_model.response_kind is None and split_model.response_lengths(features[:1]) == [1]
    with pytest.raises(PluginError, match="shows no responses"):
        split_model.response(features)


def test_the_model_is_as_before_after_use_and_after_failure(
    split_model: DINOv3SplitModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = split_model.full(images()[0])
    hooks = [dict(module._forward_hooks) for module in split_model.backbone.modules()]
    features = split_model.front(images()[0])
    with monkeypatch.context() as patch:
        patch.setattr(split_model.backbone.model.layer[0].norm1, "forward", lambda hidden: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            split_model.front(images()[0])
    assert [dict(module._forward_hooks) for module in split_model.backbone.modules()] == hooks
    assert torch.equal(split_model.tail([features])[0], before)
    assert torch.equal(split_model.full(images()[0]), before)


def test_an_image_of_the_models_size_is_only_rescaled_and_normalised() -> None:
    image = images()[0]
    pixels = to_pixels(image, image.shape[:2])
    scaled = image.astype(np.float64) / 255
    np.testing.assert_allclose(pixels.permute(1, 2, 0), (scaled - IMAGENET_MEAN) / IMAGENET_STD, atol=1e-5)


def test_grey_images_are_repeated_over_the_channels() -> None:
    grey = images()[0][..., 0]
    assert torch.equal(to_pixels(grey, (16, 16)), to_pixels(np.stack([grey] * 3, axis=-1), (16, 16)))


def test_resizing_averages_what_it_shrinks() -> None:
    """Without antialiasing the stripes would alias to black or white."""
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    pixels = to_pixels(stripes, (8, 8))[0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]
    assert ((pixels > 0.45) & (pixels < 0.55)).all()


def test_resizing_agrees_with_pillow() -> None:
    from PIL import Image

    image = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    resized = np.asarray(Image.fromarray(image).resize((24, 16), Image.Resampling.BILINEAR))
    # Pillow rounds to whole grey levels.
    difference = to_pixels(image, (16, 24)) - to_pixels(resized, (16, 24))
    assert float(difference.abs().max()) <= 1.1 / 255 / min(IMAGENET_STD)


@pytest.mark.parametrize("image", [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8)])
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8 array"):
        to_pixels(image, (8, 8))


def test_splits_and_sizes_that_do_not_exist_are_refused(make_backbone: Any) -> None:
    with pytest.raises(ScenarioError, match=r"blocks 0\.\.5"):
        DINOv3SplitModel(make_backbone(), linear_head(), (1, 6), (32, 32))
    with pytest.raises(ScenarioError, match="patch size 8"):
        DINOv3SplitModel(make_backbone(), linear_head(), (1, 5), (32, 36))
