"""`CacheCodec`: a codec made for caches, with `channel` for the tensors that it does not code by its own rule."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterable, Mapping

from torch import Tensor

from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.caches import companion
from lamofcbench.codecs.caches.tokens import other_specs
from lamofcbench.codecs.channel import ChannelCodec
from lamofcbench.codecs.entropy import SymbolDecoder, SymbolEncoder
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import FeatureSpecs

Shapes = Mapping[str, tuple[int, ...]]


class CacheCodec(Codec):
    """Codes tensors of tokens by a rule of its own, and leaves all others to `channel`."""

    needs_calibration = True

    @abstractmethod
    def learn(self, calibration: Iterable[FeatureSet]) -> Mapping[str, Tensor]:
        """The codec's own state, and that of `lamofcbench.codecs.caches.companion.learn` for `others`."""

    @functools.cached_property
    def others(self) -> FeatureSpecs | None:
        """The specs of what holds no tokens; None where everything does."""
        return other_specs(self.specs)

    @functools.cached_property
    def channel(self) -> ChannelCodec | None:
        """The codec of these.

        Raises:
            CodecError: if its state is missing or does not fit.
        """
        return companion.restored(self.others, self.state)

    def put_others(self, encoder: SymbolEncoder, features: FeatureSet) -> None:
        """Appends what holds no tokens."""
        if self.channel is not None:
            self.channel.put(encoder, features)

    def take_others(self, decoder: SymbolDecoder, shapes: Shapes) -> dict[str, Tensor]:
        """What `put_others` appended."""
        return {} if self.channel is None else self.channel.take(decoder, shapes)

    def least_cost_of_others(self, shapes: Shapes) -> int:
        """What it costs at the least, for `lamofcbench.codecs.entropy.least_bytes`."""
        return 0 if self.channel is None else self.channel.least_cost(shapes)
