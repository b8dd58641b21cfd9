"""`mini-clu-arithmetic`: word problems answered by a small Qwen3 decoder; mirrors ``clu-gsm8k``."""

from __future__ import annotations

from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec

_TOKENS = Axis(name="tokens", limit=1024)
_LAYERS = range(5)

MINI_CLU_ARITHMETIC = Scenario(
    id="mini-clu-arithmetic",
    version=1,
    edition="mini",
    category="CLU",
    title="Arithmetic word problems, exact match of the last number in the answer",
    mirrors="clu-gsm8k",
    backbone=Backbone(
        adapter="qwen3-decoder",
        source="builder:mini-clu-arithmetic",
        options={"max_new_tokens": 20, "chat_template": False},
    ),
    splits=(4,),
    tensors=(
        *(TensorSpec(name=f"key.{i}", role="key", shape=(2, _TOKENS, 32), dtype="bfloat16") for i in _LAYERS),
        *(TensorSpec(name=f"value.{i}", role="value", shape=(2, _TOKENS, 32), dtype="bfloat16") for i in _LAYERS),
        TensorSpec(name="hidden", role="hidden", shape=(_TOKENS, 128), dtype="bfloat16"),
    ),
    prediction="text",
    metric="exact-match-number",
    direction="up",
    batch_size=64,
    test_samples=256,
    calibration_samples=128,
    licence="Apache-2.0 (generated)",
    builder="mini-clu-arithmetic",
    description="Layers 0-4 of 8 stand before the split, as in the full scenario.",
)
