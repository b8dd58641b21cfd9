"""`kivi`: keys quantised per channel, values per token, in small groups; plain or entropy coded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from lamofcbench.codecs.groups.codec import EntropyGroupedCodec, GroupedCodec, TokenView, Values


@dataclass(frozen=True)
class KiviParams:
    """Parameters of `KiviCodec`.

    Attributes:
        bits: of a code; the paper has 2 and 4.
        group: how many neighbours share a step and a low end; 32 is the paper's.
        residual: how many of the most recent tokens of keys and values stay as they are. The paper's 128 are for
            prompts of thousands of tokens; the default of 0 quantises all of them, since shorter prompts would else
            not be quantised at all.
    """

    bits: Annotated[int, Field(ge=2, le=8)] = 2
    group: Annotated[int, Field(ge=2, le=65536)] = 32
    residual: Annotated[int, Field(ge=0)] = 0


class KiviCodec(GroupedCodec):
    """Asymmetric uniform quantisation with group scales, along tokens for keys and along channels for values.

    Keys have a few channels of large magnitude in all tokens, so a group of a key holds neighbouring tokens of one
    channel, and such channels have steps of their own. Values do not, so a group holds neighbouring channels of one
    token. The paper knows keys and values alone; here hidden states, embeddings and recurrent states are treated as
    values, and latents, whose pixels vary smoothly, as keys: a group holds neighbouring pixels of one channel.

    Keys come as the model's cache holds them, after rotary embedding, as in the authors' program. Where this differs
    from it: the same number of recent tokens of keys and of values stays as it is (there, for keys, the remainder of
    128); tokens that fill no group share longer groups; groups of values run over all heads side by side, which is the
    same where a head is a multiple of the group; scales are rounded so that the levels cover the group, which bounds
    each error by half a step.

    Scales are in half precision, which has a range: values below 3e-8 come back as zero, and those beyond 65504 are
    clipped.
    """

    Params = KiviParams
    rate_points = (
        *({"bits": bits, "group": 32} for bits in (8, 4, 3)),
        *({"bits": bits, "group": group} for bits, group in ((3, 128), (2, 32), (2, 64), (2, 128))),
    )
    paper = "https://arxiv.org/abs/2402.02750"

    def arrange(self, view: TokenView, tokens: Values) -> Values:
        """Channels ``[channels, tokens]`` of keys and latents, else tokens ``[tokens, channels]``."""
        return tokens.T.copy() if _per_channel(view) else tokens

    def restore(self, view: TokenView, vectors: Values) -> Values:
        """The inverse."""
        return vectors.T if _per_channel(view) else vectors

    def vectors_size(self, view: TokenView) -> tuple[int, int]:
        """The view's size, turned where groups run along tokens."""
        tokens, channels = view.size
        return (channels, tokens) if _per_channel(view) else (tokens, channels)

    def window(self, view: TokenView) -> int:
        """The most recent tokens of keys and values."""
        has_tokens = view.role in ("key", "value") and len(view.shape) >= 2
        return min(self.params.residual, view.shape[-2]) if has_tokens else 0


class KiviEntropyCodec(EntropyGroupedCodec, KiviCodec):
    """The values of `KiviCodec`, its codes and scales entropy coded with calibrated tables."""

    name = "kivi-entropy"


def _per_channel(view: TokenView) -> bool:
    return view.role in ("key", "latent")
