"""What the mini language scenarios share: two small decoders, split after layer 4 of 8 as the full ones are of 36."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec

_SPLIT = 4
_LAYERS = range(_SPLIT + 1)
_INERT = "the small model answers without what this layer has cached; it counts in the rate as in the full scenario"


def tracks(
    id: str,
    *,
    title: str,
    mirrors: str,
    metric: str,
    max_tokens: int,
    max_new_tokens: int,
    inert: Sequence[str] = (),
    inert_mamba: Sequence[str] = (),
    **fields: Any,
) -> tuple[Scenario, Scenario]:
    """Returns a task's tracks on the small Qwen3 and on the small Falcon-Mamba; the latter's id ends with ``-mamba``.

    Args:
        id: of the first track and of its builder.
        title: of the task, without the model.
        mirrors: the full scenario of the first track.
        metric: a registered metric.
        max_tokens: the most that a prompt may have: two to four times the longest of the task's samples.
        max_new_tokens: where generation stops at the latest.
        inert: tensors that change no answer of the trained Qwen3.
        inert_mamba: tensors that change no answer of the trained Falcon-Mamba.
        fields: further fields of both scenarios.
    """
    tokens = Axis(name="tokens", limit=max_tokens)
    task = {"metric": metric, "max_new_tokens": max_new_tokens, **fields}
    qwen3 = _track(
        id,
        title=f"{title}, a small Qwen3",
        mirrors=mirrors,
        adapter="qwen3-decoder",
        tensors=_declared(_qwen3_tensors(tokens), inert),
        description="Layers 0-4 of 8 stand before the split, as in the full scenario.",
        **task,
    )
    falcon_mamba = _track(
        f"{id}-mamba",
        title=f"{title}, a small Falcon-Mamba",
        mirrors=f"{mirrors}-mamba",
        adapter="falcon-mamba-decoder",
        tensors=_declared(_falcon_mamba_tensors(tokens), inert_mamba),
        description=(
            "Layers 0-4 of 8 stand before the split. Column 0 of each conv_state is dead: the next step reads the "
            "other three columns only."
        ),
        **task,
    )
    return qwen3, falcon_mamba


def _qwen3_tensors(tokens: Axis) -> tuple[TensorSpec, ...]:
    return (
        *(
            TensorSpec(name=f"key.{i}", role="key", shape=(2, tokens, 32), dtype="bfloat16", rotary_base=1e4)
            for i in _LAYERS
        ),
        *(TensorSpec(name=f"value.{i}", role="value", shape=(2, tokens, 32), dtype="bfloat16") for i in _LAYERS),
        TensorSpec(name="hidden", role="hidden", shape=(tokens, 128), dtype="bfloat16"),
    )


def _falcon_mamba_tensors(tokens: Axis) -> tuple[TensorSpec, ...]:
    return (
        *(TensorSpec(name=f"ssm_state.{i}", role="ssm_state", shape=(256, 8), dtype="float16") for i in _LAYERS),
        *(TensorSpec(name=f"conv_state.{i}", role="conv_state", shape=(256, 4), dtype="float16") for i in _LAYERS),
        TensorSpec(name="hidden", role="hidden", shape=(tokens, 128), dtype="float32"),
    )


def _declared(tensors: Sequence[TensorSpec], inert: Sequence[str]) -> tuple[TensorSpec, ...]:
    return tuple(spec.model_copy(update={"dead": _INERT}) if spec.name in inert else spec for spec in tensors)


def _track(id: str, *, adapter: str, max_new_tokens: int, **fields: Any) -> Scenario:
    return Scenario(
        id=id,
        version=1,
        edition="mini",
        category="CLU",
        backbone=Backbone(
            adapter=adapter,
            source=f"builder:{id}",
            options={"max_new_tokens": max_new_tokens, "chat_template": False},
        ),
        splits=(_SPLIT,),
        prediction="text",
        direction="up",
        batch_size=64,
        test_samples=256,
        calibration_samples=128,
        licence="Apache-2.0 (generated)",
        builder=id,
        **fields,
    )
