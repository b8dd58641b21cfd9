"""The segmentation and the depth head see four levels of features, all of them, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest_models import fill_with_nan, randomised
from safetensors.torch import save_file

from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.images import to_pixels
from lamofcbench.models.vision_heads.base import LARGEST_IMAGE, BlockOutputs, VisionHead
from lamofcbench.models.vision_heads.dpt import DPTHead, DPTOptions
from lamofcbench.models.vision_heads.mask2former import (
    Mask2FormerHead,
    Mask2FormerOptions,
    _hidden_from,
    scaled_size,
    window_starts,
)
from lamofcbench.models.vit import DINOv3SplitModel
from lamofcbench.scenarios.base import SCENARIOS

LEVELS = (0, 2, 4, 5)
CLASSES = 5
SIDE = 32  # pixels of a window
PATCH = 8
FULL_SCENARIOS = {"mask2former": SCENARIOS.get("cvu-ade20k"), "dpt": SCENARIOS.get("cvu-nyuv2")}


class ScoresHead(Mask2FormerHead):
    """The segmentation head, showing its scores at every step in place of classes."""

    def predict(self, outputs: BlockOutputs) -> list[Any]:
        super().predict(outputs)
        parts = zip(
            *(logits.split(list(outputs.views)) for pair in self.steps(outputs) for logits in pair), strict=True
        )
        return [torch.cat([tensor.flatten() for tensor in part]) for part in parts]


def segmentation_head(kind: type[Mask2FormerHead] = Mask2FormerHead) -> Mask2FormerHead:
    torch.manual_seed(1)
    head = kind(
        LEVELS,
        32,
        scales=(2, 1, 1, 1),
        hidden=16,
        mask_channels=8,
        queries=6,
        classes=CLASSES,
        attention_heads=2,
        crop_size=SIDE,
        stride=16,
    )
    with torch.no_grad():
        for parameter in head.parameters():  # none stays zero or one
            parameter += 0.05 * torch.randn(parameter.shape)
        head.classifier.weight *= 10  # queries of different classes, and masks with edges
        head.mask_embedding[2].weight *= 10
    return head.eval()


def depth_head() -> DPTHead:
    return randomised(
        DPTHead(LEVELS, 32, scales=(2, 1, 0.5, 0.25), hidden=8, bins=16, depths=(0.5, 10.0)), seed=1, spread=0.3
    )


HEADS: dict[str, Callable[[], VisionHead]] = {
    "mask2former": segmentation_head,
    "mask2former scores": lambda: segmentation_head(ScoresHead),
    "dpt": depth_head,
}


@pytest.fixture(params=HEADS, ids=lambda name: name.replace(" ", "-"))
def split_model(request: Any, make_backbone: Any) -> DINOv3SplitModel:
    return DINOv3SplitModel(make_backbone(), HEADS[request.param](), LEVELS, (SIDE, SIDE))


def images() -> list[np.ndarray]:
    """Images of one, two, two and three windows, wide and high."""
    source = np.random.default_rng(0)
    sizes = [(32, 32), (32, 40), (48, 32), (64, 32)]
    return [source.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def changed(features: FeatureSet, **changes: Any) -> FeatureSet:
    return FeatureSet(features.tensors, {**features.side, **changes})


def test_one_image_gives_the_full_models_prediction_to_the_last_bit(split_model: DINOv3SplitModel) -> None:
    for image in images():
        assert np.array_equal(split_model.tail([split_model.front(image)])[0], split_model.full(image))


def test_a_ragged_batch_gives_the_full_models_predictions(split_model: DINOv3SplitModel) -> None:
    predictions = split_model.tail([split_model.front(image) for image in images()])
    for prediction, image in zip(predictions, images(), strict=True):
        expected = split_model.full(image)
        assert np.mean(np.isclose(prediction, expected, atol=1e-2, rtol=1e-2)) > 0.999
        assert len(np.unique(expected)) > 1


def test_the_tail_needs_no_weight_of_the_front_and_no_image(split_model: DINOv3SplitModel) -> None:
    features = [split_model.front(image) for image in images()]
    before = split_model.tail(features)
    fill_with_nan(split_model.front_modules())
    assert all(np.array_equal(one, other) for one, other in zip(split_model.tail(features), before, strict=True))


def test_every_level_is_alive(split_model: DINOv3SplitModel) -> None:
    features = split_model.front(images()[1])
    before = split_model.tail([features])[0]
    for name in features:
        noise = torch.randn(features[name].shape, generator=torch.Generator().manual_seed(1)) * features[name].std()
        tensors = {key: t + noise if key == name else t for key, t in features.tensors.items()}
        assert not np.array_equal(split_model.tail([FeatureSet(tensors, features.side)])[0], before), name


def test_levels_of_the_middle_are_read_where_the_last_block_is_none_of_them(make_backbone: Any) -> None:
    head = DPTHead((1, 3), 32, scales=(2, 1), hidden=8, bins=16, depths=(0.5, 10.0))
    split_model = DINOv3SplitModel(make_backbone(), randomised(head), (1, 3), (SIDE, SIDE))
    assert np.array_equal(split_model.tail([split_model.front(images()[0])])[0], split_model.full(images()[0]))


def test_predictions_have_the_images_size_and_their_types(make_backbone: Any) -> None:
    for image in [*images(), np.zeros((21, 50, 3), np.uint8), np.zeros((70, 64), np.uint8)]:
        for head in (segmentation_head(), depth_head()):
            split_model = DINOv3SplitModel(make_backbone(), head, LEVELS, (SIDE, SIDE))
            features = split_model.front(image)
            prediction = split_model.tail([features])[0]
            assert prediction.shape == image.shape[:2]
            assert dict(features.side) == {"height": image.shape[0], "width": image.shape[1]}
            if isinstance(head, DPTHead):
                assert prediction.dtype == np.float32 and 0.5 <= prediction.min() <= prediction.max() <= 10
            else:
                assert prediction.dtype == np.uint8 and prediction.max() < CLASSES


def test_windows_cover_an_image_and_end_with_it() -> None:
    for length in range(SIDE, 5 * SIDE):
        starts = window_starts(length, SIDE, 16)
        assert starts[0] == 0 and starts[-1] == length - SIDE
        assert all(0 < later - earlier <= 16 for earlier, later in itertools.pairwise(starts))


def test_scaling_keeps_the_shape_and_makes_the_shorter_side_a_window() -> None:
    for size in [(1, 1), (7, 3), (480, 640), (32, 2000)]:
        scaled = scaled_size(*size, SIDE)
        assert min(scaled) == SIDE
        assert max(scaled) / SIDE == pytest.approx(max(size) / min(size), abs=0.5 / SIDE)


def test_windows_are_cut_from_the_image_as_it_is() -> None:
    image = images()[1]
    views = segmentation_head().views(image, (SIDE, SIDE))
    pixels = to_pixels(image, (32, 40))
    assert torch.equal(views, torch.stack([pixels[:, :, :32], pixels[:, :, 8:]]))


def test_scores_are_averaged_where_windows_meet() -> None:
    head = segmentation_head()
    windows = torch.zeros(2, CLASSES, SIDE, SIDE)
    windows[0, 1], windows[1, 2] = 0.4, 0.6  # columns 0 to 31 and 8 to 39
    mask = head.decide(head._joined(windows, (32, 40)))
    assert (mask[:, :8] == 1).all() and (mask[:, 8:] == 2).all()
    windows[0, 1] = 0.7
    assert (head.decide(head._joined(windows, (32, 40)))[:, 8:32] == 1).all()


@torch.no_grad()
def test_a_query_looks_only_where_its_mask_was() -> None:
    layer = segmentation_head().layers[0]
    query, position, level = torch.randn(1, 1, 16), torch.randn(1, 16), torch.randn(1, 16, 4, 4)
    elsewhere = level.clone()
    elsewhere[:, :, 2:] += 1
    upper_half = torch.full((1, 1, 8, 8), -1.0)
    upper_half[:, :, :4] = 1
    for mask, same in ((upper_half, True), (-upper_half, False), (torch.full_like(upper_half, -1), False)):
        outcomes = [layer(query, position, one, _hidden_from(mask, one)) for one in (level, elsewhere)]
        assert torch.equal(*outcomes) == same  # an empty mask hides nothing


def test_depth_is_the_mean_of_the_image_and_its_flip(make_backbone: Any) -> None:
    split_model = DINOv3SplitModel(make_backbone(), depth_head(), LEVELS, (SIDE, SIDE))
    image = images()[0]
    features = split_model.front(image)
    assert torch.equal(split_model.front(image[:, ::-1]).tensors["block.5"], features["block.5"].flip(0))
    mirrored = split_model.tail([split_model.front(image[:, ::-1])])[0]
    np.testing.assert_allclose(mirrored[:, ::-1], split_model.tail([features])[0], rtol=1e-5)


@pytest.mark.parametrize(
    "side",
    [
        {"height": 0},
        {"width": -32},
        {"height": LARGEST_IMAGE, "width": 2},
        {"height": 2**62, "width": 2**62},
        {"width": -(2**63), "height": -1},
    ],
)
def test_side_information_of_no_image_is_refused(split_model: DINOv3SplitModel, side: dict[str, int]) -> None:
    features = changed(split_model.front(images()[0]), **side)
    with pytest.raises(ScenarioError, match="side information"):
        split_model.tail([features])


def test_side_information_of_other_windows_is_refused(make_backbone: Any) -> None:
    split_model = DINOv3SplitModel(make_backbone(), segmentation_head(), LEVELS, (SIDE, SIDE))
    features = split_model.front(images()[1])
    for side in ({"width": 32}, {"width": 400}, {"height": 1, "width": 2**22}):
        with pytest.raises(ScenarioError, match="2 windows"):
            split_model.tail([changed(features, **side)])


def test_another_number_of_tokens_is_refused(split_model: DINOv3SplitModel) -> None:
    features = split_model.front(images()[0])
    fewer = FeatureSet({name: tensor[:, :-1] for name, tensor in features.tensors.items()}, features.side)
    with pytest.raises(ScenarioError, match="15 patch tokens; a model input has 4 x 4"):
        split_model.tail([fewer])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 0.0, 1e30])
def test_features_of_any_value_give_a_prediction(split_model: DINOv3SplitModel, value: float) -> None:
    features = split_model.front(images()[1])
    spoilt = FeatureSet({name: torch.full_like(t, value) for name, t in features.tensors.items()}, features.side)
    assert len(split_model.tail([spoilt])) == 1


def saved(head: VisionHead, path: Any) -> VisionHead:
    save_file({name: tensor.contiguous() for name, tensor in head.state_dict().items()}, path)
    return head


def scenario_of(head: str, **options: Any) -> Any:
    full = FULL_SCENARIOS[head]
    backbone = full.backbone.model_copy(update={"options": {**full.backbone.options, **options}})
    return full.model_copy(update={"backbone": backbone, "splits": LEVELS})


def test_a_heads_file_gives_the_head(tmp_path: Any, make_backbone: Any) -> None:
    for head, name, options in (
        (
            segmentation_head(),
            "segmentation.safetensors",
            Mask2FormerOptions(crop_size=SIDE, stride=16, attention_heads=2),
        ),
        (depth_head(), "depth.safetensors", DPTOptions(scales=(2, 1, 0.5, 0.25), min_depth=0.5, max_depth=10)),
    ):
        saved(head, tmp_path / name)
        loaded = type(head).load(scenario_of(head.name), options, tmp_path, 32)
        ours, theirs = (DINOv3SplitModel(make_backbone(), one, LEVELS, (SIDE, SIDE)) for one in (head, loaded))
        assert np.array_equal(ours.full(images()[0]), theirs.full(images()[0]))


@pytest.mark.parametrize("head", FULL_SCENARIOS)
def test_published_heads_are_refused_in_one_clear_line(head: str, tmp_path: Any) -> None:
    kind, options = (Mask2FormerHead, Mask2FormerOptions) if head == "mask2former" else (DPTHead, DPTOptions)
    with pytest.raises(ScenarioError, match="does not say where its head's weights are"):
        kind.load(FULL_SCENARIOS[head], options(), None, 32)
    save_file({"decoder.weight": torch.zeros(3)}, tmp_path / "published.safetensors")
    with pytest.raises(DataError, match="published weights of DINOv3's"):
        kind.load(FULL_SCENARIOS[head], options(head_file=str(tmp_path / "published.safetensors")), None, 32)


def test_weights_that_do_not_fit_are_refused(tmp_path: Any) -> None:
    options = Mask2FormerOptions(crop_size=SIDE, stride=16, attention_heads=2)
    tensors = dict(saved(segmentation_head(), tmp_path / "segmentation.safetensors").state_dict())
    for spoil, message in (
        ({"surplus": torch.zeros(1)}, "'surplus' is foreign"),
        ({"norm.weight": torch.zeros(3)}, "'norm.weight' has shape \\[3\\]"),
    ):
        save_file({**tensors, **spoil}, tmp_path / "segmentation.safetensors")
        with pytest.raises(DataError, match=message):
            Mask2FormerHead.load(scenario_of("mask2former", classes=CLASSES), options, tmp_path, 32)
    with pytest.raises(DataError, match="5 classes; scenario 'cvu-ade20k' states 150"):
        Mask2FormerHead.load(scenario_of("mask2former"), options.model_copy(update={"classes": 150}), tmp_path, 32)


@pytest.mark.parametrize("options", [{"stride": 33}, {"stride": 0}, {"attention_heads": 3}])
def test_options_that_do_not_fit_are_refused(options: dict[str, int], tmp_path: Any) -> None:
    saved(segmentation_head(), tmp_path / "segmentation.safetensors")
    with pytest.raises(ScenarioError, match="stride must be 1 to crop_size"):
        Mask2FormerHead.load(
            scenario_of("mask2former"), Mask2FormerOptions(**{"crop_size": SIDE, **options}), tmp_path, 32
        )


@pytest.mark.parametrize(
    "options", [{"scales": (4, 2, 1)}, {"scales": (4, 3, 1, 0.5)}, {"min_depth": 2.0, "max_depth": 1.0}]
)
def test_depths_and_scales_that_do_not_fit_are_refused(options: dict[str, Any], tmp_path: Any) -> None:
    with pytest.raises(ScenarioError, match=r"scales must be 4 powers|depths must be"):
        DPTHead.load(scenario_of("dpt"), DPTOptions(**options), tmp_path, 32)


@pytest.mark.parametrize("name", ["mask2former", "dpt"])
def test_images_of_different_sizes_respond_side_by_side(name: str, make_backbone: Any) -> None:
    model = DINOv3SplitModel(make_backbone(), HEADS[name](), LEVELS, (SIDE, SIDE))
    features = [model.front(image) for image in images()[:3]]
    predictions, response = model.tail_and_response(features)
    lengths = model.response_lengths(features)
    assert lengths == [prediction.size for prediction in predictions] and len(set(lengths)) > 1
    assert response.shape == (3, max(lengths), CLASSES if name == "mask2former" else 1)
    for one, row, length, prediction in zip(features, response, lengths, predictions, strict=True):
        found = row[:length].argmax(-1) if name == "mask2former" else row[:length, 0]
        assert np.array_equal(found.reshape(prediction.shape), prediction) and not row[length:].any()
        torch.testing.assert_close(model.response([one])[0], row[:length], atol=1e-4, rtol=1e-4)


def test_a_head_that_predicts_in_its_own_way_is_asked_for_it(make_backbone: Any) -> None:
    model = DINOv3SplitModel(make_backbone(), segmentation_head(ScoresHead), LEVELS, (SIDE, SIDE))
    features = [model.front(images()[0])]
    predictions, response = model.tail_and_response(features)
    assert torch.equal(predictions[0], model.tail(features)[0])
    assert torch.equal(response, model.response(features))
