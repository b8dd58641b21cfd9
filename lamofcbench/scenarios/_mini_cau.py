"""What the mini audio scenarios share: a small Kimi-Audio, split after layer 4 of 8 as the full one is of 28."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec

_TOKENS = Axis(name="tokens", limit=96)  # the longest samples of the five tracks have 31 to 44
_SPLIT = 4
_LAYERS = range(_SPLIT + 1)
_INERT = "the small model answers without what this layer has cached; it counts in the rate as in the full scenario"


_TENSORS = (
    *(
        TensorSpec(name=f"key.{i}", role="key", shape=(2, _TOKENS, 24), dtype="bfloat16", rotary_base=1e4)
        for i in _LAYERS
    ),
    *(TensorSpec(name=f"value.{i}", role="value", shape=(2, _TOKENS, 24), dtype="bfloat16") for i in _LAYERS),
    TensorSpec(name="hidden", role="hidden", shape=(_TOKENS, 96), dtype="bfloat16"),
)


def spoken_track(id: str, *, inert: Sequence[str] = (), **fields: Any) -> Scenario:
    """Returns a track on the small Kimi-Audio.

    Args:
        id: of the scenario and of its builder.
        inert: tensors that change no answer of the trained model.
        fields: title, mirrors, metric, direction and description of the scenario.
    """
    return Scenario(
        id=id,
        version=1,
        edition="mini",
        category="CAU",
        backbone=Backbone(
            adapter="kimi-audio",
            source=f"builder:{id}",
            options={"max_new_tokens": 20, "encoder": "encoder", "placeholder": "<|audio|>"},
        ),
        splits=(_SPLIT,),
        tensors=tuple(spec.model_copy(update={"dead": _INERT}) if spec.name in inert else spec for spec in _TENSORS),
        prediction="text",
        batch_size=50,
        test_samples=200,
        calibration_samples=64,
        licence="Apache-2.0 (synthesised)",
        builder=id,
        **fields,
    )
