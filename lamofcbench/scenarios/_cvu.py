"""What the full and the mini scenarios of classification share: the variant that is split early.

The published classification evaluates two levels of the backbone as two runs (arXiv 2605.24025): features of the last
block feed the head; features of an early one feed the blocks after it and then the head.
"""

from __future__ import annotations

from lamofcbench.scenarios.base import Scenario


def shallow_variant(track: Scenario, level: int, **fields: object) -> Scenario:
    """The variant of a track that is split after an early block; its tail runs the rest of the backbone and the head.

    Args:
        track: split after the last block, with one tensor.
        level: the early block, counted from 0.
        fields: further fields in which the variant differs; ``source`` is that of its backbone.
    """
    backbone = {"source": fields.pop("source", track.backbone.source)}
    (deep,) = track.tensors
    return track.model_copy(
        update={
            "id": f"{track.id}-shallow",
            "version": 1,
            "title": f"{track.title}; split after block {level}",
            "variant_of": track.id,
            "backbone": track.backbone.model_copy(update=backbone),
            "splits": (level,),
            "tensors": (deep.model_copy(update={"name": f"block.{level}"}),),
            **fields,
        }
    )
