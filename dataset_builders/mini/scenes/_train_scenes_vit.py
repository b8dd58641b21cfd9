"""The model of the dense tracks and its training: one small DINOv3 trunk under a segmentation and a depth head."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dataset_builders.mini import _rescaling as rescaling
from dataset_builders.mini import _training as training
from dataset_builders.mini._vit_trunk import make_trunk
from dataset_builders.mini.scenes.generator import CLASSES, HEIGHT, Scene, digit_pool, draw_scene
from dataset_builders.mini.scenes.tracks import DepthBuilder, ScenesBuilder, encoded
from lamofcbench.builders import Sample, Split
from lamofcbench.models.images import to_pixels
from lamofcbench.models.vision_heads.base import BlockOutputs
from lamofcbench.models.vision_heads.dpt import DPTHead
from lamofcbench.models.vision_heads.mask2former import Mask2FormerHead
from lamofcbench.models.vit import DINOv3SplitModel
from lamofcbench.rasters import decode_map, decode_png
from lamofcbench.scenarios.base import SCENARIOS

MODEL_NAME = "scenes-vit"
STEPS = 3000
BATCH_SIZE = 32
PATCH = 4
RESIDUAL_EXPONENT = 7  # brings the last block to the range of the published block 39, about -13100 to 7270
LEVELS = (1, 3, 5, 7)
NOTHING_WEIGHT = 0.3  # of a query whose class is absent, in the loss
DEPTH_WEIGHT = 3.0
EDGE_METRES = 0.5  # errors beyond count linearly


class ScenesModel(nn.Module):
    """A DINOv3 trunk under both heads.

    Query k of the segmentation head is taught to find class k, so that no matching is needed.
    """

    def __init__(self, layers: int = 8, hidden: int = 96, heads: int = 3, levels: Sequence[int] = LEVELS) -> None:
        super().__init__()
        self.trunk = make_trunk(HEIGHT, PATCH, layers=layers, hidden=hidden, heads=heads)
        self.levels = tuple(levels)
        self.segmentation = Mask2FormerHead(
            levels,
            hidden,
            scales=(2, 1, 1, 1),
            hidden=48,
            mask_channels=32,
            queries=len(CLASSES),
            classes=len(CLASSES),
            attention_heads=4,
            crop_size=HEIGHT,
            stride=HEIGHT // 2,
        )
        self.depth = DPTHead(levels, hidden, scales=(2, 1, 0.5, 0.25), hidden=32, bins=64, depths=(0.5, 10.0))

    def forward(self, images: Tensor) -> BlockOutputs:
        """Returns what the heads see of normalised images float32 [B, 3, 32, 32]."""
        states = self.trunk(images, output_hidden_states=True).hidden_states
        blocks = {level: states[level + 1] for level in self.levels}  # the embedding comes first
        side = {"height": HEIGHT, "width": HEIGHT}
        count, prefix = len(images), 1 + self.trunk.config.num_register_tokens
        grid = (HEIGHT // PATCH, HEIGHT // PATCH)
        return BlockOutputs(blocks, [1] * count, [side] * count, self.trunk.norm, prefix, grid)


class ScenesLoss:
    """The loss of a training step: both heads on freshly drawn scenes, none of which comes twice."""

    def __init__(self, model: ScenesModel, seed: int, batch_size: int = BATCH_SIZE) -> None:
        self.model, self.seed, self.batch_size = model, seed, batch_size

    def __call__(self, step: int) -> Tensor:
        """Returns the loss of a step, a scalar."""
        source, pool = training.random_source(self.seed, step), digit_pool("training")
        scenes = [draw_scene(source, pool, HEIGHT) for _ in range(self.batch_size)]
        images, masks, depths = as_tensors(scenes)
        outputs = self.model(images)
        loss = segmentation_loss(self.model.segmentation, outputs, masks)
        return loss + DEPTH_WEIGHT * functional.huber_loss(self.model.depth.depths(outputs), depths, delta=EDGE_METRES)


def as_tensors(scenes: Sequence[Scene]) -> tuple[Tensor, Tensor, Tensor]:
    """Returns images float32 [B, 3, 32, 32], masks int64 [B, 32, 32] and depths float32 [B, 32, 32]."""
    images = torch.stack([to_pixels(scene.image, (HEIGHT, HEIGHT)) for scene in scenes])
    masks = torch.from_numpy(np.stack([scene.mask for scene in scenes]).astype(np.int64))
    return images, masks, torch.from_numpy(np.stack([scene.depth for scene in scenes]))


def segmentation_loss(head: Mask2FormerHead, outputs: BlockOutputs, masks: Tensor) -> Tensor:
    """Returns the loss of the queries at every step, and of the pixels' classes at the last one, a scalar.

    Args:
        head: the segmentation head.
        outputs: what it sees.
        masks: labels int64 [B, H, W] as in `CLASSES`, counted from 1; 0 is not judged.
    """
    classes = len(CLASSES)
    judged = masks > 0
    wanted = functional.one_hot(masks, classes + 1).permute(0, 3, 1, 2)[:, 1:].float()
    present = wanted.flatten(2).any(dim=-1)
    labels = torch.where(present, torch.arange(classes), classes)
    weight = torch.ones(classes + 1)
    weight[classes] = NOTHING_WEIGHT
    steps = head.steps(outputs)
    scores = head.semantic(*steps[-1])
    # Masks of absent classes are not taught: their class logits silence them. Every other row and column will do.
    truth = wanted[present][:, ::2, ::2]
    kept = judged[:, None].expand_as(wanted)[present][:, ::2, ::2]
    total = outputs.last.new_zeros(())
    for class_logits, mask_logits in steps:
        total = total + functional.cross_entropy(class_logits.transpose(1, 2), labels, weight)
        logits = mask_logits[present][:, ::2, ::2]
        error = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        total = total + 2 * (error * kept).sum() / kept.sum()
        guess = logits.sigmoid() * kept
        overlap = (guess * truth).flatten(1).sum(dim=1)
        dice = 1 - (2 * overlap + 1) / ((guess + truth).flatten(1).sum(dim=1) + 1)
        total = total + dice.mean()
    share = scores / scores.sum(dim=1, keepdim=True).clamp_min(1e-6)
    right = share.gather(1, (masks - 1).clamp_min(0)[:, None])[:, 0]
    pixels = -right.clamp_min(1e-6).log()
    return total / len(steps) + 2 * (pixels * judged).sum() / judged.sum()


def train(arguments: argparse.Namespace) -> None:
    """Trains, scores and exports the model; see `dataset_builders.mini.train` for the arguments."""
    plan = training.TrainingPlan(
        MODEL_NAME, arguments.seed, arguments.steps, learning_rate=1.5e-3, threads=arguments.threads
    )
    training.seed_everything(plan)
    model = ScenesModel()

    def report(progress: training.Progress) -> None:
        print(f"\nstep {progress.step}: loss {progress.loss:.3f}, {_quick_scores(model)}", flush=True)

    trainer = training.Trainer(model, plan, ScenesLoss(model, plan.seed), arguments.checkpoints)
    progress = trainer.run(on_checkpoint=report)
    trainer.use_average()
    before = _quick_scores(model)
    rescaling.scale_vit_residual(model.trunk, RESIDUAL_EXPONENT)
    export(model, arguments.output)
    print(f"before export: {before}", flush=True)
    results = {"parameters": sum(parameter.numel() for parameter in model.parameters()), **scores(arguments.output)}
    training.write_record(arguments.output / "training.json", plan, progress, results)


def export(model: ScenesModel, output: Path) -> None:
    """Writes config.json, model.safetensors (the trunk) and both heads' files to a folder, tensors in fp16."""
    training.export_model(model.trunk, output)
    training.export_tensors(model.segmentation.state_dict(), output / "segmentation.safetensors")
    training.export_tensors(model.depth.state_dict(), output / "depth.safetensors")


def scores(folder: Path) -> dict[str, float]:
    """Returns both tracks' scores with exported weights, and what can be had without looking at the image.

    Args:
        folder: of the exported weights.
    """
    segmentation, depth = ScenesBuilder(), DepthBuilder()
    results = {}
    for builder, judge in ((segmentation, mean_iou), (depth, depth_error)):
        model = DINOv3SplitModel.load(SCENARIOS.get(builder.name), folder, "cpu")
        splits: tuple[Split, ...] = ("test", "calibration")
        for split in splits:
            samples = builder.samples(split)
            predictions = [model.tail([model.front(sample.inputs)])[0] for sample in samples]
            results[f"{split}_{judge.__name__}"] = judge(predictions, samples)
    source, pool = training.random_source(0, -2), digit_pool("training")
    drawn = [draw_scene(source, pool, HEIGHT) for _ in range(1000)]
    usual_depth = np.mean([scene.depth for scene in drawn], axis=0)
    counts = [sum((scene.mask == label).sum(axis=1) for scene in drawn) for label in range(1, len(CLASSES) + 1)]
    usual_row = np.argmax(counts, axis=0)[:, None]
    samples = segmentation.samples("test")
    results["commonest_class_of_row_mean_iou"] = mean_iou(
        [np.broadcast_to(usual_row, sample.inputs.shape[:2]) for sample in samples], samples
    )
    samples = depth.samples("test")
    mean = np.mean([decode_map(encoded(sample)) for sample in samples], dtype=np.float64)
    results["best_constant_depth_error"] = depth_error([np.full((HEIGHT, HEIGHT), mean)] * len(samples), samples)
    results["usual_depth_of_pixel_depth_error"] = depth_error([usual_depth] * len(samples), samples)
    return results


def mean_iou(predictions: Sequence[np.ndarray], samples: Sequence[Sample]) -> float:
    """Returns the mean over classes of intersection over union, over the judged pixels of all samples."""
    classes = len(CLASSES)
    table = np.zeros((classes, classes))  # labelled, predicted
    for prediction, sample in zip(predictions, samples, strict=True):
        labels = decode_png(encoded(sample)).astype(np.int64)
        judged = labels > 0
        np.add.at(table, (labels[judged] - 1, prediction[judged]), 1)
    union = table.sum(axis=0) + table.sum(axis=1) - table.diagonal()
    return float(np.mean(table.diagonal()[union > 0] / union[union > 0]))


def depth_error(predictions: Sequence[np.ndarray], samples: Sequence[Sample]) -> float:
    """Returns the root mean squared error over the pixels of all samples, in metres."""
    errors = [
        np.square(prediction - decode_map(encoded(sample)).astype(np.float64))
        for prediction, sample in zip(predictions, samples, strict=True)
    ]
    return float(np.sqrt(np.mean(errors)))


@torch.no_grad()
def _quick_scores(model: ScenesModel) -> str:
    """How the model does on a few scenes of calibration digits while it is trained."""
    model.eval()
    source, pool = training.random_source(0, -1), digit_pool("calibration")
    images, masks, depths = as_tensors([draw_scene(source, pool, HEIGHT) for _ in range(64)])
    outputs = model(images)
    labels = model.segmentation.scores(outputs).argmax(dim=1) + 1
    judged = masks > 0
    ratios = []
    for label in range(1, len(CLASSES) + 1):
        found, there = (labels == label) & judged, masks == label
        ratios.append(float((found & there).sum() / (found | there).sum().clamp_min(1)))
    error = float((model.depth.depths(outputs) - depths).square().mean().sqrt())
    return f"mean IoU {np.mean(ratios):.3f} ({' '.join(f'{r:.2f}' for r in ratios)}), depth RMSE {error:.3f} m"
