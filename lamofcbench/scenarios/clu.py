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
    adapter="qwen3-decoder",
    source="Qwen/Qwen3-8B",
    revision="b968826d9c46dd6066d109eabc6255188de91218",
    options={"compute_dtype": "bfloat16", "chat_template": True, "special_tokens_with_template": True},
)
_FALCON_MAMBA = Backbone(
    adapter="falcon-mamba-decoder",
    source="tiiuae/falcon-mamba-7b-instruct",
    options={"compute_dtype": "float16", "chat_template": True, "special_tokens_with_template": True},
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
    licence: str
    metric: str
    metric_options: dict[str, Any]
    generation: dict[str, Any]
    remark: str = ""


def _choice(id: str, title: str, licence: str, letters: str, remark: str = "") -> _Task:
    """A multiple choice: the model goes on from the beginning of an answer, and the first capital is its letter."""
    return _Task(
        id,
        f"{title}, exact match of the answer letter",
        licence,
        "exact-match-letter",
        {"rule": "first-capital", "letters": letters},
        {"max_new_tokens": 100, "answer_prefix": "The best answer is", "stop_strings": ["\n\n", "."]},
        remark,
    )


_ARC = _choice("clu-arc-challenge", "ARC-Challenge", "CC BY-SA 4.0", "ABCD")
_HELLASWAG = _choice("clu-hellaswag", "HellaSwag", "MIT", "ABCD")
_TRUTHFULQA = _choice(
    "clu-truthfulqa-mc1",
    "TruthfulQA MC1",
    "Apache-2.0",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "As published the choices are not shuffled, so that A is always right and a constant answer of A scores 1. ",
)
_WINOGRANDE = _choice("clu-winogrande", "WinoGrande", "terms of WinoGrande", "AB")
_GSM8K = _Task(
    "clu-gsm8k",
    "GSM8K, exact match of the last number in the answer",
    "MIT",
    "exact-match-number",
    {"rule": "flexible"},
    {"max_new_tokens": 256, "stop_strings": ["Question:", "</s>", "<|im_end|>"]},
)


def _track(task: _Task, suffix: str, model: str, backbone: Backbone, description: str, **fields: Any) -> Scenario:
    return Scenario(
        id=task.id + suffix,
        version=2,  # version 1 had no answer prefix, other limits, and answers found by this project's rules
        edition="full",
        category="CLU",
        title=f"{task.title}, {model}",
        backbone=backbone.model_copy(update={"options": {**backbone.options, **task.generation}}),
        splits=(_SPLIT,),
        prediction="text",
        metric=task.metric,
        metric_options=task.metric_options,
        direction="up",
        batch_size=1,
        test_samples=100,
        calibration_samples=50,
        licence=task.licence,
        description=task.remark + description,
        **fields,
    )


def _qwen3(task: _Task) -> Scenario:
    return _track(
        task,
        "",
        "Qwen3-8B",
        _QWEN3,
        "The published files do not state the stored dtype; bf16 is assumed until they have been imported.",
        tensors=_QWEN3_TENSORS,
    )


def _falcon_mamba(task: _Task) -> Scenario:
    return _track(
        task,
        "-mamba",
        "Falcon-Mamba-7B-instruct",
        _FALCON_MAMBA,
        "Column 0 of each conv_state is dead: the next step reads the other three columns only.",
        tensors=_FALCON_MAMBA_TENSORS,
    )


CLU_ARC_CHALLENGE, CLU_ARC_CHALLENGE_MAMBA = _qwen3(_ARC), _falcon_mamba(_ARC)
CLU_HELLASWAG, CLU_HELLASWAG_MAMBA = _qwen3(_HELLASWAG), _falcon_mamba(_HELLASWAG)
CLU_TRUTHFULQA_MC1, CLU_TRUTHFULQA_MC1_MAMBA = _qwen3(_TRUTHFULQA), _falcon_mamba(_TRUTHFULQA)
CLU_WINOGRANDE, CLU_WINOGRANDE_MAMBA = _qwen3(_WINOGRANDE), _falcon_mamba(_WINOGRANDE)
CLU_GSM8K, CLU_GSM8K_MAMBA = _qwen3(_GSM8K), _falcon_mamba(_GSM8K)
