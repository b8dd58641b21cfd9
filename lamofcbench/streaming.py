"""Appendable streams: features of tokens that come little by little, such as a key-value cache that grows.

A sender encodes the new tokens only, whenever it likes; the chunks that it has sent are never touched again::

    sender = StreamEncoder(codec)                      receiver = StreamDecoder(codec)
    data = sender.append(features_of_new_tokens)       features = receiver.append(data)

Both sides know how many tokens there are already. So keys are turned back from where they really stand, the first row
of a chunk is not taken for the first of a prompt, and a chunk that is lost, repeated or out of order is refused by its
checksum; none of it costs a byte. `uniform` and `channel` decode chunks to the bits that coding at once gives; `klt`
codes the last token of a prompt as any other, because more may follow.

Codecs that keep the latest tokens exact, as `kvtc` does in its window, or learn from the sample itself, work too, but
start anew with each chunk. What chunks cost over coding at once is measured in docs/library.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lamofcbench.codecs.base import Codec
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs


class _Stream:
    """How far a stream has got.

    Args:
        codec: a fitted codec whose specs have one ragged axis, that of tokens, and all tensors have it.

    Raises:
        CodecError: naming what does not grow with the tokens.
    """

    def __init__(self, codec: Codec) -> None:
        self._axis = _token_axis(codec.specs)
        self._codec, self._tokens = codec, 0

    @property
    def tokens(self) -> int:
        """How many tokens have passed."""
        return self._tokens

    def _advance(self, features: FeatureSet) -> None:
        spec = self._codec.specs.tensors[0]
        self._tokens += features[spec.name].shape[spec.shape.index(self._axis)]


class StreamEncoder(_Stream):
    """Encodes the features of a sequence chunk by chunk.

    Example:
        >>> import torch
        >>> from lamofcbench.codecs.registry import CODECS
        >>> from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec
        >>> shape = (Axis(name="tokens", limit=4096), 8)
        >>> specs = FeatureSpecs(tensors=(TensorSpec(name="hidden", role="hidden", shape=shape, dtype="float32"),))
        >>> codec = CODECS.get("identity")(specs)
        >>> sender, receiver = StreamEncoder(codec), StreamDecoder(codec)
        >>> for tokens in (64, 1):
        ...     received = receiver.append(sender.append(FeatureSet({"hidden": torch.zeros(tokens, 8)})))
        >>> received, receiver.tokens
        (FeatureSet(hidden: float32[1, 8]), 65)
    """

    def append(self, features: FeatureSet) -> bytes:
        """The chunk of the next tokens, of any number; a failure leaves the stream where it was.

        Raises:
            ScenarioError, NonFiniteError, CodecError: as `Codec.encode`.
        """
        data = self._codec.continuing(self._tokens).encode(features)
        self._advance(features)
        return data


class StreamDecoder(_Stream):
    """Decodes what a `StreamEncoder` of the same codec has made, in the same order."""

    def append(self, data: bytes) -> FeatureSet:
        """The features of the next chunk's tokens; a failure leaves the stream where it was.

        Raises:
            BitstreamError: as `Codec.decode`, and for a chunk that does not come next.
        """
        try:
            features = self._codec.continuing(self._tokens).decode(data)
        except BitstreamError as error:
            raise BitstreamError(
                f"chunk at token {self._tokens} (chunks are decoded in their order): {error}"
            ) from error
        self._advance(features)
        return features


def split_tokens(features: FeatureSet, specs: FeatureSpecs, size: int) -> list[FeatureSet]:
    """Features as chunks of ``size`` tokens, the last one of what is left; views, and all with the side information.

    Raises:
        CodecError: naming what does not grow with the tokens.
    """
    dims = _token_dims(specs)
    parts = {name: features[name].split(size, dim) for name, dim in dims.items()}
    return [
        FeatureSet(dict(zip(parts, tensors, strict=True)), features.side)
        for tensors in zip(*parts.values(), strict=True)
    ]


def joined(chunks: Sequence[FeatureSet], specs: FeatureSpecs) -> FeatureSet:
    """The features that chunks make together, with the side information of the first.

    Raises:
        CodecError: if there is no chunk, or naming what does not grow with the tokens.
    """
    if not chunks:
        raise CodecError("there is no chunk to join")
    dims = _token_dims(specs)
    return FeatureSet(
        {name: torch.cat([chunk[name] for chunk in chunks], dim) for name, dim in dims.items()}, chunks[0].side
    )


def _token_dims(specs: FeatureSpecs) -> dict[str, int]:
    axis = _token_axis(specs)
    return {spec.name: spec.shape.index(axis) for spec in specs.tensors}


def _token_axis(specs: FeatureSpecs) -> Axis:
    """The one ragged axis, along which all tensors grow."""
    axes = specs.axes
    if len(axes) != 1:
        named = ", ".join(repr(axis.name) for axis in axes) or "none"
        raise CodecError(f"a stream grows along the one ragged axis of its tensors; these specs have {named}")
    fixed = next((spec.name for spec in specs.tensors if axes[0] not in spec.shape), None)
    if fixed is not None:
        raise CodecError(
            f"tensor {fixed!r} does not grow with {axes[0].name!r}, so it cannot be appended to; make specs without "
            "it, and code it by itself"
        )
    return axes[0]
