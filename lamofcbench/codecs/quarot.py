"""`quarot`: a Hadamard rotation over channels, then uniform quantisation with group scales; plain or entropy coded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from lamofcbench.codecs.groups.codec import EntropyGroupedCodec, GroupedCodec, TokenView, Values
from lamofcbench.codecs.groups.hadamard import rotate
from lamofcbench.codecs.groups.scales import bounded


@dataclass(frozen=True)
class QuarotParams:
    """Parameters of `QuarotCodec`.

    Attributes:
        bits: of a code; the paper has 2 to 8 and recommends 4.
        group: how many neighbouring channels share a step and a low end; the paper's 128 is one head.
        clip: which part of a group's range the levels cover; 0.95 is the paper's for caches.
        symmetric: True for levels at multiples of the step, one fewer, without a low end. The paper's caches are
            asymmetric, its activations symmetric.
    """

    bits: Annotated[int, Field(ge=2, le=8)] = 4
    group: Annotated[int, Field(ge=2, le=65536)] = 128
    clip: Annotated[float, Field(gt=0, le=1)] = 0.95
    symmetric: bool = False


class QuarotCodec(GroupedCodec):
    """Rotates the channels of each token, which spreads outliers over all of them, and quantises in groups.

    Keys and values are rotated over the channels of each head, everything else over all channels; groups run along the
    channels of one token. The rotation is orthonormal, so the squared error of a token is that of its rotated channels.

    Where this differs from the paper: it rotates with a Hadamard matrix drawn at random and folds most rotations into
    the model's weights, here a fixed one is applied to the features as they come and undone by the decoder; keys are
    rotated after rotary embedding, as in the paper; channels that are no power of two take a Hartley matrix as factor
    instead of a tabulated Hadamard matrix; with heads smaller than a group, a group spans several of them; clipping
    draws a group's ends towards its middle, with a low end in half precision, where the published program draws both
    towards zero and rounds the zero point, and symmetric levels leave out the lowest.

    Scales are in half precision, which has a range: rotated values below 3e-8 come back as zero, and those beyond 65504
    are clipped.
    """

    Params = QuarotParams
    rate_points = tuple({"bits": bits} for bits in (8, 4, 3, 2))
    rate_step = 1
    paper = "https://arxiv.org/abs/2404.00456"

    def arrange(self, view: TokenView, tokens: Values) -> Values:
        """Rotated tokens ``[tokens, channels]``."""
        if not tokens.size:
            return tokens
        return rotate(bounded(tokens).reshape(-1, view.rotated_channels)).reshape(tokens.shape)

    def restore(self, view: TokenView, vectors: Values) -> Values:
        """The inverse, which is the rotation itself."""
        return self.arrange(view, vectors)

    def vectors_size(self, view: TokenView) -> tuple[int, int]:
        """The view's size."""
        return view.size

    @property
    def clip(self) -> float:
        """The parameter."""
        return float(self.params.clip)

    @property
    def symmetric(self) -> bool:
        """The parameter."""
        return bool(self.params.symmetric)


class QuarotEntropyCodec(EntropyGroupedCodec, QuarotCodec):
    """The values of `QuarotCodec`, its codes and scales entropy coded with calibrated tables."""

    name = "quarot-entropy"
    # Symmetric levels have more codes at zero, which costs a fixed width nothing less and an entropy coder less.
    rate_points = (
        *({"bits": bits} for bits in (8, 4, 3)),
        *({"bits": bits, "symmetric": symmetric} for bits, symmetric in ((3, True), (2, False), (2, True))),
    )
