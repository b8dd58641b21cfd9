"""Pins of the user fill what declarations leave open, and results tell them."""

from __future__ import annotations

import pytest

from lamofcbench.models.pinning import pinned, pins_of, repositories
from lamofcbench.pins import write_pin
from lamofcbench.provenance import adapter_identity
from lamofcbench.scenarios.base import SCENARIOS

FALCON, CANNY = "tiiuae/falcon-mamba-7b-instruct", "stabilityai/stable-diffusion-3.5-large-controlnet-canny"
COMMIT = "0123456789" * 4
DECLARED = {
    "clu-gsm8k": "b968826d9c46dd6066d109eabc6255188de91218",
    "cau-sdqa": "9a82a84c37ad9eb1307fb6ed8d7b397862ef9e6b",
    "ctti-coco-canny": "ceddf0a7fdf2064ea28e2213e3b84e4afa170a0f",
}


@pytest.fixture
def pins(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMOFCBENCH_PINS", str(tmp_path / "pins.json"))


def test_declarations_pin_what_could_be_looked_up():
    full = [scenario for scenario in SCENARIOS if scenario.edition == "full"]
    commits = {s.backbone.source: s.backbone.revision for s in full}
    assert {source for source, commit in commits.items() if commit is None} == {
        FALCON,
        "facebook/dinov3-vit7b16-pretrain-lvd1689m",
    }
    for id, commit in DECLARED.items():
        assert SCENARIOS.get(id).backbone.revision == commit


def test_repositories_are_named_with_what_names_them():
    assert repositories(SCENARIOS.get("clu-gsm8k-mamba")) == {"source": (FALCON, None)}
    assert repositories(SCENARIOS.get("ctti-coco-canny-latent")) == {
        "source": ("stabilityai/stable-diffusion-3.5-large", DECLARED["ctti-coco-canny"]),
        "controlnet": (CANNY, None),
    }
    assert repositories(SCENARIOS.get("cau-sdqa"))["audio_tokenizer"] == ("THUDM/glm-4-voice-tokenizer", None)
    assert repositories(SCENARIOS.get("mini-ctti-shapes")) == {}


def test_a_pin_fills_what_is_open_and_nothing_else(pins):
    falcon, canny = SCENARIOS.get("clu-gsm8k-mamba"), SCENARIOS.get("ctti-coco-canny")
    assert pinned(falcon) is falcon and pins_of(falcon) == {}
    for repo in (FALCON, CANNY, "stabilityai/stable-diffusion-3.5-large"):
        write_pin(repo, COMMIT)
    assert pinned(falcon).backbone.revision == COMMIT
    assert pinned(canny).backbone.options["controlnet_revision"] == COMMIT
    assert pinned(canny).backbone.revision == DECLARED["ctti-coco-canny"]  # the declaration's own
    assert pins_of(canny) == {CANNY: COMMIT}
    assert falcon.backbone.revision is None and "controlnet_revision" not in canny.backbone.options


def test_the_identity_of_the_split_model_tells_the_pin(pins):
    scenario = SCENARIOS.get("clu-gsm8k-mamba")
    before = adapter_identity(scenario)
    write_pin(FALCON, COMMIT)
    assert adapter_identity(scenario) == f"{before} + weights:{FALCON}@{COMMIT}"
    assert adapter_identity(SCENARIOS.get("clu-gsm8k")) == "lamofcbench:qwen3-decoder@1"
