"""What the full and the mini scenario of controllable text to image share: the tensors, and the variant's split."""

from __future__ import annotations

from typing import Any

from lamofcbench.scenarios.base import Scenario, TensorSpec


def condition_tensors(tokens: int, clip_l: int, clip_g: int, t5: int, latent_side: int) -> tuple[TensorSpec, ...]:
    """The tensors of the `condition` mode: embeddings of both prompts, and the control image's for both of guidance.

    Args:
        tokens: of each prompt.
        clip_l: width of the first encoder; its pooled form is as wide.
        clip_g: width of the second.
        t5: width of the third.
        latent_side: height and width of the VAE encoder's output.
    """
    sizes = (
        ("clip_l.pooled", "pooled", (clip_l,)),
        ("clip_l.hidden", "embedding", (tokens, clip_l)),
        ("clip_g.pooled", "pooled", (clip_g,)),
        ("clip_g.hidden", "embedding", (tokens, clip_g)),
        ("t5.hidden", "embedding", (tokens, t5)),
    )
    text = [(f"{name}.{prompt}", role, shape) for prompt in ("positive", "negative") for name, role, shape in sizes]
    control = [(f"vae_encoder.{half}", "latent", (32, latent_side, latent_side)) for half in range(2)]
    return tuple(
        TensorSpec(name=name, role=role, shape=shape, dtype="float16") for name, role, shape in [*text, *control]
    )


def latent_variant(track: Scenario, latent_side: int, **fields: Any) -> Scenario:
    """The variant of a track that is split before the VAE's decoder: the latents as the denoising loop leaves them.

    Args:
        track: in the `condition` mode.
        latent_side: height and width of the latents.
        fields: further fields in which the variant differs; ``source`` is that of its backbone.
    """
    backbone = {"source": fields.pop("source", track.backbone.source)}
    return track.model_copy(
        update={
            "id": f"{track.id}-latent",
            "version": 2,  # version 1 took the latents after scaling and shift
            "title": f"{track.title}; split before the decoder",
            "variant_of": track.id,
            "backbone": track.backbone.model_copy(
                update={**backbone, "options": {**track.backbone.options, "mode": "latent"}}
            ),
            "tensors": (
                TensorSpec(name="latent", role="latent", shape=(16, latent_side, latent_side), dtype="float16"),
            ),
            "side": (),
            **fields,
        }
    )
