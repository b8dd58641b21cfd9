"""Common language understanding: five tasks on two decoders, split after layer 4 (arXiv 2605.24025).

Qwen3-8B sends the key and value caches of layers 0-4, Falcon-Mamba-7B their state-space and convolution states; both
also send the output of layer 4. The caches are needed because generation goes on behind the split: every new token
runs through all layers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec

_TOKENS = Axis(name="tokens", limit=2048)
"""How long the published prompts are is not known before they are imported: without examples they have some hundreds of
tokens, and of each task the longest hundred were taken."""
_SPLIT = 4
_LAYERS = range(_SPLIT + 1)

_QWEN3 = Backbone(
    adapter="qwen3-decoder", source="Qwen/Qwen3-8B", options={"max_new_tokens": 512, "chat_template": True}
)
_FALCON_MAMBA = Backbone(
    adapter="falcon-mamba-decoder",
    source="tiiuae/falcon-mamba-7b-instruct",
    options={"max_new_tokens": 512, "chat_template": True},
)

_QWEN3_TENSORS = (
    *(
        TensorSpec(name=f"key.{i}", role="key", shape=(8, _TOKENS, 128), dtype="bfloat16", rotary_base=1e6)
        for i in _LAYERS
    ),
    *(TensorSpec(name=f"value.{i}", role="value", shape=(8, _TOKENS, 128), dtype="bfloat16") for i in _LAYERS),
    TensorSpec(name="hidden", role="hidden", shape=(_TOKENS, 4096), dtype="bfloat16"),
)
_FALCON_MAMBA_TENSORS = (
    *(TensorSpec(name=f"ssm_state.{i}", role="ssm_state", shape=(8192, 16), dtype="float16") for i in _LAYERS),
    *(TensorSpec(name=f"conv_state.{i}", role="conv_state", shape=(8192, 4), dtype="float16") for i in _LAYERS),
    TensorSpec(name="hidden", role="hidden", shape=(_TOKENS, 4096), dtype="float32"),
)


class _Task(NamedTuple):
    id: str
    title: str
    metric: str
    licence: str


_ARC = _Task(
    "clu-arc-challenge", "ARC-Challenge, exact match of the answer letter", "exact-match-letter", "CC BY-SA 4.0"
)
_HELLASWAG = _Task("clu-hellaswag", "HellaSwag, exact match of the answer letter", "exact-match-letter", "MIT")
_TRUTHFULQA = _Task(
    "clu-truthfulqa-mc1", "TruthfulQA MC1, exact match of the answer letter", "exact-match-letter", "Apache-2.0"
)
_WINOGRANDE = _Task(
    "clu-winogrande", "WinoGrande, exact match of the answer letter", "exact-match-letter", "terms of WinoGrande"
)
_GSM8K = _Task("clu-gsm8k", "GSM8K, exact match of the last number in the answer", "exact-match-number", "MIT")


def _track(task: _Task, suffix: str, model: str, **fields: Any) -> Scenario:
    return Scenario(
        id=task.id + suffix,
        version=1,
        edition="full",
        category="CLU",
        title=f"{task.title}, {model}",
        splits=(_SPLIT,),
        prediction="text",
        metric=task.metric,
        direction="up",
        batch_size=16,
        test_samples=100,
        calibration_samples=50,
        licence=task.licence,
        **fields,
    )


def _qwen3(task: _Task) -> Scenario:
    return _track(
        task,
        "",
        "Qwen3-8B",
        backbone=_QWEN3,
        tensors=_QWEN3_TENSORS,
        description="The published files do not state the stored dtype; bf16 is assumed until they have been imported.",
    )


def _falcon_mamba(task: _Task) -> Scenario:
    return _track(
        task,
        "-mamba",
        "Falcon-Mamba-7B-instruct",
        backbone=_FALCON_MAMBA,
        tensors=_FALCON_MAMBA_TENSORS,
        description="Column 0 of each conv_state is dead: the next step reads the other three columns only.",
    )


CLU_ARC_CHALLENGE, CLU_ARC_CHALLENGE_MAMBA = _qwen3(_ARC), _falcon_mamba(_ARC)
CLU_HELLASWAG, CLU_HELLASWAG_MAMBA = _qwen3(_HELLASWAG), _falcon_mamba(_HELLASWAG)
CLU_TRUTHFULQA_MC1, CLU_TRUTHFULQA_MC1_MAMBA = _qwen3(_TRUTHFULQA), _falcon_mamba(_TRUTHFULQA)
CLU_WINOGRANDE, CLU_WINOGRANDE_MAMBA = _qwen3(_WINOGRANDE), _falcon_mamba(_WINOGRANDE)
CLU_GSM8K, CLU_GSM8K_MAMBA = _qwen3(_GSM8K), _falcon_mamba(_GSM8K)
