"""`channel` for what a codec made for caches does not code by its own rule: states, latents, pooled vectors and others.

Its state is part of the codec's, its symbols go into the codec's stream, and its step follows from the codec's rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.calibration import Moments, channel_dims, measure
from lamofcbench.codecs.channel import ChannelCodec
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import FeatureSpecs

PREFIX = "channel."
_OCTAVES = np.arange(-6.0, 20.0, 0.25)
"""Of deviations over steps, at which the entropy of a rounded Gaussian is tabulated."""


def learn(specs: FeatureSpecs | None, calibration: Iterable[FeatureSet], step: float) -> dict[str, Tensor]:
    """What `channel` learns of tensors, under names that no other part of a codec's state has; nothing without specs.

    Args:
        specs: of its tensors, from `lamofcbench.codecs.caches.tokens.other_specs`.
        calibration: feature sets, which may hold other tensors besides; iterated repeatedly.
        step: the parameter of `channel`.
    """
    if specs is None:
        return {}
    fitted = ChannelCodec(specs, {"step": step}).fit(_Selected(specs, calibration))
    return {f"{PREFIX}{name}": tensor for name, tensor in fitted.state.items()}


def restored(specs: FeatureSpecs | None, state: Mapping[str, Tensor]) -> ChannelCodec | None:
    """The codec of what `learn` learned; None without specs.

    Raises:
        CodecError: if its state is missing or does not fit.
    """
    if specs is None:
        return None
    own = {name.removeprefix(PREFIX): tensor for name, tensor in state.items() if name.startswith(PREFIX)}
    codec = ChannelCodec(specs, None, own)
    try:
        codec.check_state()
    except KeyError as error:
        raise CodecError(f"the state of tensors coded per channel lacks {error}") from error
    return codec


def step_for_ratio(specs: FeatureSpecs | None, calibration: Iterable[FeatureSet], ratio: float) -> float:
    """The step at which `channel` would take one part in ``ratio`` of the stored bits, were all channels Gaussian."""
    if specs is None:
        return 1.0
    moments = measure(_Selected(specs, calibration), specs, {spec.name: channel_dims(spec) for spec in specs.tensors})
    deviations = {name: _relative_deviations(moment) for name, moment in moments.items()}
    weights = np.concatenate([np.full(len(part), moments[name].count) for name, part in deviations.items()])
    budget = sum(len(part) * moments[name].count * specs[name].bits for name, part in deviations.items())
    octaves, varying = _octaves(np.concatenate(list(deviations.values())))
    entropies = _gaussian_entropies()
    low, high = -12.0, 12.0
    for _ in range(24):
        middle = (low + high) / 2
        bits = float(weights[varying] @ np.interp(octaves - middle, _OCTAVES, entropies))
        low, high = (middle, high) if bits > budget / ratio else (low, middle)
    return float(2.0**high)


def _relative_deviations(moment: Moments) -> NDArray[np.float64]:
    """Deviations of channels over the median of those that vary, which is what `channel` measures its step by."""
    deviations = moment.std.reshape(-1)
    varying = deviations[deviations > 0]
    return deviations / np.median(varying) if varying.size else deviations


def _octaves(deviations: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    varying = deviations > 0
    return np.log2(deviations[varying]), varying


def _gaussian_entropies() -> NDArray[np.float64]:
    """Bits of a Gaussian rounded to multiples of one, at deviations of ``2**_OCTAVES``."""
    places = np.arange(-40.5, 40.5, 1 / 256) + 1 / 512
    entropies = []
    for deviation in 2.0**_OCTAVES:
        if deviation > 4:  # where rounding hardly shows
            entropies.append(float(np.log2(deviation * np.sqrt(2 * np.pi * np.e))))
            continue
        density = np.exp(-np.square(places / deviation) / 2).reshape(81, 256).sum(1)
        shares = density / density.sum()
        shares = shares[shares > 0]
        entropies.append(float(-(shares * np.log2(shares)).sum()))
    return np.array(entropies)


class _Selected:
    """The tensors of some specs of each sample, without side information; can be iterated repeatedly."""

    def __init__(self, specs: FeatureSpecs, samples: Iterable[FeatureSet]) -> None:
        self._names, self._samples = [spec.name for spec in specs.tensors], samples

    def __iter__(self) -> Iterator[FeatureSet]:
        for features in self._samples:
            yield FeatureSet({name: features[name] for name in self._names})
