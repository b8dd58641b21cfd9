"""Common audio understanding: Kimi-Audio-7B, split after layer 4 (arXiv 2605.24025).

Audio and text tokens share one prefill; the key and value caches of layers 0-4 and the output of layer 4 travel.
"""

from __future__ import annotations

from typing import Any, Literal

from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec

_TOKENS = Axis(name="tokens", limit=2048)
"""The published pipeline skips audio of more than 60 seconds, which is 750 tokens; a question and marks come on top."""
_SPLIT = 4
_LAYERS = range(_SPLIT + 1)
_TENSORS = (
    *(
        TensorSpec(name=f"key.{i}", role="key", shape=(4, _TOKENS, 128), dtype="bfloat16", rotary_base=1e6)
        for i in _LAYERS
    ),
    *(TensorSpec(name=f"value.{i}", role="value", shape=(4, _TOKENS, 128), dtype="bfloat16") for i in _LAYERS),
    TensorSpec(name="hidden", role="hidden", shape=(_TOKENS, 3584), dtype="bfloat16"),
)


def _track(
    id: str, title: str, metric: str, direction: Literal["up", "down"], licence: str, **metric_options: Any
) -> Scenario:
    return Scenario(
        id=id,
        version=2,  # version 1 had no repetition penalty, half the limit, and other rules for words and silence
        edition="full",
        category="CAU",
        title=title,
        backbone=Backbone(
            adapter="kimi-audio",
            source="moonshotai/Kimi-Audio-7B-Instruct",
            revision="9a82a84c37ad9eb1307fb6ed8d7b397862ef9e6b",
            options={
                "compute_dtype": "bfloat16",
                "audio_tokenizer": "THUDM/glm-4-voice-tokenizer",
                "max_new_tokens": 1024,
                "repetition_penalty": 1.1,
                "repetition_window": 16,
            },
        ),
        splits=(_SPLIT,),
        tensors=_TENSORS,
        prediction="text",
        metric=metric,
        metric_options=metric_options,
        direction=direction,
        batch_size=1,
        test_samples=100,
        calibration_samples=50,
        licence=licence,
    )


CAU_LIBRISPEECH_CLEAN = _track(
    "cau-librispeech-clean",
    "LibriSpeech test-clean, word error rate",
    "word-error-rate",
    "down",
    "CC BY 4.0",
    words="whisper",
)
CAU_LIBRISPEECH_OTHER = _track(
    "cau-librispeech-other",
    "LibriSpeech test-other, word error rate",
    "word-error-rate",
    "down",
    "CC BY 4.0",
    words="whisper",
)
CAU_ADVBENCH = _track(
    "cau-advbench",
    "AdvBench, spoken harmful requests, refusal rate",
    "refusal-rate",
    "up",
    "MIT",
    empty_refuses=True,
)
CAU_OPENBOOKQA = _track(
    "cau-openbookqa", "OpenBookQA, spoken multiple choice, accuracy", "exact-match-letter", "up", "terms of OpenBookQA"
)
CAU_SDQA = _track("cau-sdqa", "SD-QA, spoken question answering, accuracy", "answer-accuracy", "up", "terms of SD-QA")
