"""A whole track at real width, two layers deep: shards of real size, import, codec, tail."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import harness
from dataset_builders.full.published.importing import import_published
from harness.running.runner import ScenarioRunner
from lamofcbench.models.loading import load_model
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "published")]
try:
    import published_layout as layout
    import small_scenarios as small
finally:
    del sys.path[:2]

WIDTH, TOKENS, CLASSES = 4096, 1029, 1000


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    """ImageNet's shallow track on two blocks of DINOv3 ViT-7B's width with random weights, split after the first."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    folder = tmp_path_factory.mktemp("real-width")
    config = DINOv3ViTConfig(
        hidden_size=WIDTH, intermediate_size=8192, num_hidden_layers=2, num_attention_heads=32, patch_size=16,
        num_register_tokens=4, use_gated_mlp=True, query_bias=False, value_bias=False, key_bias=False,
    )  # fmt: skip
    source = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        model = DINOv3ViTModel(config)
    model = model.to(torch.float16).to_empty(device="cpu")
    for name, tensor in model.state_dict().items():
        tensor.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.02, generator=source)
    model.save_pretrained(folder)
    head = {"weight": torch.randn(CLASSES, 2 * WIDTH, generator=source), "bias": torch.zeros(CLASSES)}
    torch.save(head, folder / "head.pth")
    full = SCENARIOS.get("cvu-imagenet-val-shallow")
    tensors = (full.tensors[0].model_copy(update={"name": "block.0"}),)
    options = {"head_file": "head.pth"}
    fields = {"tensors": tensors, "splits": (0,), "test_samples": 2, "calibration_samples": 1, "batch_size": 1}
    return small.small("cvu-imagenet-val-shallow", folder, options, **fields)


@pytest.mark.slow
def test_a_track_of_two_real_layers_goes_from_published_files_to_a_score(scenario, tmp_path, monkeypatch):
    monkeypatch.setattr(ScenarioRunner, "_check_headroom", lambda self, anchor, floor: None)  # random weights
    model = load_model(scenario)
    expected = {}
    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 256, (512, 600, 3), dtype=np.uint8)
        features = model.front(picture)
        folder = tmp_path / ("test" if number < 2 else "calibration")
        tree = {"backbone.blocks.0": [features["block.0"][None]], "backbone.blocks.39": [torch.zeros(1)]}
        expected[f"n01440764-{number}"] = model.full(picture)
        small.put(folder / f"n01440764-{number}.zst", layout.saved(tree))
    del model
    data = tmp_path / "data"
    import_published(scenario, tmp_path / "test", data, calibration=tmp_path / "calibration", processes=2)
    split = open_split(scenario, "test", data)
    assert split.features(0)["block.0"].shape == (TOKENS, WIDTH)
    assert all(0 < shard.size_bytes - 4 * TOKENS * WIDTH < 4096 for shard in split.manifest.splits["test"].shards)

    curve = harness.evaluate(
        ["zstd", "uniform:step=0.01"], scenario, data=data, results=tmp_path / "results", progress=False
    )
    coarse, lossless = curve  # by rising rate
    right = sum(prediction == 0 for id, prediction in expected.items() if id in ("n01440764-0", "n01440764-1"))
    assert lossless.score == curve.anchor.score == right / 2
    assert coarse.rate.ebpfp < lossless.rate.ebpfp
