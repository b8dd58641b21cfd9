"""The scenes model's training can be resumed exactly, and its shipped weights do what their record says."""

import json

import numpy as np
import pytest
import torch

from dataset_builders.mini import _training as training
from dataset_builders.mini._files import WEIGHTS
from dataset_builders.mini.scenes import _train_scenes_vit as scenes
from dataset_builders.mini.scenes.generator import CLASSES
from dataset_builders.mini.scenes.tracks import DepthBuilder, ScenesBuilder, encoded
from lamofcbench.features import FeatureSet
from lamofcbench.models.loading import load_model
from lamofcbench.rasters import decode_map
from lamofcbench.scenarios.base import SCENARIOS

STEPS = 4
SUBSET = 40


def trainer(checkpoints):
    plan = training.TrainingPlan("tiny-scenes", 3, STEPS, learning_rate=1e-3, warmup_steps=2)
    training.seed_everything(plan)
    model = scenes.ScenesModel(layers=4, hidden=24, heads=2, levels=(0, 1, 2, 3))
    return training.Trainer(model, plan, scenes.ScenesLoss(model, plan.seed, batch_size=3), checkpoints)


def test_a_stopped_run_ends_with_the_bits_of_one_that_was_not(tmp_path):
    whole = trainer(None)
    progress = whole.run()
    trainer(tmp_path).run(stop_at=3, checkpoint_every=2)
    resumed = trainer(tmp_path)
    assert resumed.run().loss == progress.loss
    assert all(torch.equal(resumed.average[name], value) for name, value in whole.average.items())


def test_every_weight_is_trained():
    model = scenes.ScenesModel(layers=4, hidden=24, heads=2, levels=(0, 1, 2, 3))
    scenes.ScenesLoss(model, 3, batch_size=3)(0).backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert idle == {"trunk.embeddings.mask_token"}  # of DINOv3's own training


def test_pixels_that_are_not_judged_do_not_enter_the_loss():
    model = scenes.ScenesModel(layers=4, hidden=24, heads=2, levels=(0, 1, 2, 3)).eval()
    outputs = model(torch.randn(1, 3, 32, 32))
    masks = torch.ones(1, 32, 32, dtype=torch.int64)
    masks[:, 16:] = 2
    losses = []
    for label in (0, 1):  # the upper rows void, or wall
        masks[:, :8] = label
        losses.append(scenes.segmentation_loss(model.segmentation, outputs, masks))
    assert losses[0] != losses[1]
    masks[:] = 0
    masks[:, 16:] = 2
    assert torch.isfinite(scenes.segmentation_loss(model.segmentation, outputs, masks))


def test_the_scores_are_those_of_the_benchmarks_metrics():
    from harness.metrics.depth_rmse import DepthRMSE
    from harness.metrics.mean_iou import MeanIoU

    source = np.random.default_rng(0)
    for builder, metric, judge in (
        (ScenesBuilder(), MeanIoU(num_classes=len(CLASSES), reduce_zero_label=True), scenes.mean_iou),
        (DepthBuilder(), DepthRMSE(), scenes.depth_error),
    ):
        samples = builder.samples("calibration")[:8]
        shapes = [sample.inputs.shape[:2] for sample in samples]
        if judge is scenes.mean_iou:
            predictions = [source.integers(0, len(CLASSES), shape) for shape in shapes]
            references = [scenes.decode_png(encoded(sample)) for sample in samples]
        else:
            predictions = [source.uniform(1, 9, shape) for shape in shapes]
            references = [decode_map(encoded(sample)) for sample in samples]
        rows = [metric.statistics(*pair) for pair in zip(predictions, references, strict=True)]
        stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        assert judge(predictions, samples) == pytest.approx(metric.score(stacked))


@pytest.fixture(scope="module")
def record():
    return json.loads((WEIGHTS / scenes.MODEL_NAME / "training.json").read_text())


@pytest.fixture(scope="module", params=[ScenesBuilder, DepthBuilder])
def track(request):
    builder = request.param()
    scenario = SCENARIOS.get(builder.name)
    model, samples = load_model(scenario, builder=builder), builder.samples("test")[:SUBSET]
    features = [model.front(sample.inputs).cast(scenario.specs) for sample in samples]
    judge = scenes.mean_iou if isinstance(builder, ScenesBuilder) else scenes.depth_error
    return model, samples, features, judge


def test_the_record_holds_the_floors_and_what_needs_no_image(record):
    assert record["test_mean_iou"] >= 0.7
    assert record["test_depth_error"] <= record["best_constant_depth_error"] / 2
    assert record["commonest_class_of_row_mean_iou"] < 0.2
    assert record["test_depth_error"] < record["usual_depth_of_pixel_depth_error"] / 2


def test_the_shipped_weights_reach_their_floors(track, record):
    model, samples, features, judge = track
    score = judge(model.tail(features), samples)
    if judge is scenes.mean_iou:
        assert score >= 0.7
        assert score == pytest.approx(record["test_mean_iou"], abs=0.08)
    else:
        assert score <= record["best_constant_depth_error"] / 2
        assert score == pytest.approx(record["test_depth_error"], abs=0.1)


def test_every_level_is_worth_sending(track):
    """With a level's mean in its place predictions are worse: by a twentieth of mean IoU or 1 % of RMSE."""
    model, samples, features, judge = track
    right = judge(model.tail(features), samples)
    for name in features[0]:
        mean = torch.stack([one[name].mean(dim=(0, 1)) for one in features]).mean(dim=0)
        blank = [FeatureSet({**one.tensors, name: mean.expand_as(one[name])}, one.side) for one in features]
        score = judge(model.tail(blank), samples)
        assert score <= 0.95 * right if judge is scenes.mean_iou else score >= 1.01 * right, name
