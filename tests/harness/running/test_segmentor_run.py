"""`cvu-ade20k` runs from pictures to a score, on a small random model: its tail gets the picture, no codec does."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from harness.cli import main
from lamofcbench.builders import BUILDERS
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split


@pytest.fixture(scope="module")
def folder(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenario's file, and beside it the weights of backbone and head."""
    sys.path.append(str(repository / "tests" / "lamofcbench" / "models"))
    try:
        from conftest_models import randomised
        from small_segmentor import small_segmentor
    finally:
        sys.path.pop()
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    made = tmp_path_factory.mktemp("segmentor")
    config = DINOv3ViTConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=6, num_attention_heads=4, patch_size=16, image_size=64,
        num_register_tokens=4,
    )  # fmt: skip
    randomised(DINOv3ViTModel(config)).save_pretrained(made / "weights")
    torch.save(small_segmentor().state_dict(), made / "weights" / "head.pth")
    shutil.copy(repository / "tests" / "data" / "segmentor_scenario.py", made)
    return made


def test_it_runs_from_pictures_to_a_score_and_a_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = f"{folder / 'segmentor_scenario.py'}:SEGMENTOR"
    scenario = SCENARIOS.get(reference)
    BUILDERS.get(scenario.builder, relative_to=scenario.origin)().build(scenario, folder / "data", progress=False)
    first = open_split(scenario, "test", folder / "data").features(1)
    assert first.given["image"].shape == (64, 94, 3) and first["block.5"].shape == (2, 21, 32)

    data, results = str(folder / "data"), str(folder / "results")
    codecs = ["zstd", "uniform:step=4"]
    arguments = ["run", "--scenarios", reference, "--codecs", *codecs, "--data", data, "--results", results]
    assert main(arguments) == 0
    found = {}
    for path in Path(results).rglob("result.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        found[path.parent.parent.name] = result
        assert result["given_bytes"] == sum(64 * (64 + 30 * number) * 3 for number in range(3))
    assert found["zstd"]["score"] == 1.0  # the reference is what uncoded features give
    assert found["uniform"]["score"] < 1.0
    assert found["uniform"]["rate"]["coded_bytes"] < found["zstd"]["rate"]["coded_bytes"]
    assert (
        main(
            [
                "report",
                "--results",
                results,
                "--scenarios",
                reference,
                "--data",
                data,
                "--output",
                str(folder / "report"),
                "--bootstrap",
                "0",
            ]
        )
        == 0
    )
    capsys.readouterr()
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "which no codec sees and no rate counts" in page
    assert "`given.*`" in (folder / "data" / "README.md").read_text(encoding="utf-8")
