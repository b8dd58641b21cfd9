"""What both networks share: their output, their tables, and strict loading."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from lamofcbench.codecs.learned.entropy_models import EntropyBottleneck, EntropyModel, GaussianConditional
from lamofcbench.codecs.learned.layers import scale_parameters, undo_gain
from lamofcbench.errors import CodecError

N = TypeVar("N", bound="LearnedNetwork")

STRIDE = 64
"""Height and width of planes are multiples of this: analysis divides by 16, hyper-analysis by 4."""
LATENT_STRIDE = 16

_TABLES = re.compile(r"(^|\.)(_offset|_quantized_cdf|_cdf_length|scale_table)$")
_OLD_DENSITY = re.compile(r"(^|\.)_(matrix|bias|factor)(\d+)$")
_NEW_DENSITY = {"matrix": "matrices", "bias": "biases", "factor": "factors"}


class NetworkOutput(NamedTuple):
    """What `LearnedNetwork.forward` returns.

    Attributes:
        reconstruction: float32 ``[B, 1, H, W]``, about in [0, 1), not clipped.
        likelihoods: of the latents ``y`` and the hyper-latents ``z``; ``-log2`` sums to the bits.
    """

    reconstruction: Tensor
    likelihoods: dict[str, Tensor]


class LearnedNetwork(nn.Module, ABC):
    """An image codec's network on planes of one channel.

    Both subclasses are built by ``(N, M)``, the widths of transforms and latents, or by `from_state_dict`.
    """

    @abstractmethod
    def forward(self, planes: Tensor) -> NetworkOutput:
        """Planes ``[B, 1, H, W]`` in [0, 1), whose sizes are multiples of 64, through the whole network.

        In training mode quantisation is uniform noise (and rounding with the identity's gradient where the network's
        paper says so), else rounding.
        """

    @abstractmethod
    def scale_latents(self, gain: float) -> None:
        """Multiplies the latents by a gain, in place, and undoes it wherever they are read.

        Latents are rounded to integers, so the network stays the same function with another step of the quantiser.
        Every layer between latents and where the gain is undone is linear or a ReLU: biases take the gain in between,
        and one kernel undoes it. Large kernels stay as they are, so that networks of several rates may share them.
        """

    @classmethod
    @abstractmethod
    def for_state(cls: type[N], state: Mapping[str, Tensor]) -> N:
        """A network with the widths that a state dict's shapes show, its weights not loaded."""

    @classmethod
    def from_state_dict(cls: type[N], state: Mapping[str, Tensor], *, shared: bool = False) -> N:
        """The network of a state dict, in evaluation mode, float32.

        Tables may have any size, or be absent; all else is strict.

        Args:
            state: by the names of this class, or by older ones of CompressAI's for the bottleneck's density.
            shared: let the network hold float32 tensors of the state dict themselves, not copies.

        Raises:
            CodecError: naming the first parameter that is missing, unknown, of another shape, or not finite.
        """
        state = _with_new_names(state)
        try:
            with torch.device("meta"):  # no memory and no random numbers for what is replaced at once
                network = cls.for_state(state)
        except KeyError as error:
            raise CodecError(f"these weights are no {cls.__name__}: {error} is missing") from error
        except (IndexError, ValueError, TypeError, ZeroDivisionError, RuntimeError) as error:
            raise CodecError(f"these weights are no {cls.__name__}: their shapes contradict each other") from error
        checked = network._checked(state)
        network.load_state_dict(checked if shared else {n: t.clone() for n, t in checked.items()}, assign=True)
        return network.eval()

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Copies a state dict into this network, as strictly as `from_state_dict`; tables that it lacks stay.

        Raises:
            CodecError: as `from_state_dict`.
        """
        self.load_state_dict(self._checked(_with_new_names(state)))

    def _checked(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A tensor for each name of this network's own; its table buffers get the sizes of those."""
        own = self.state_dict()
        whose = f"these weights are no {type(self).__name__}"
        for name, tensor in own.items():
            if _TABLES.search(name):
                continue
            if name not in state:
                raise CodecError(f"{whose}: {name!r} is missing")
            if state[name].shape != tensor.shape:
                raise CodecError(f"{whose}: {name!r} has shape {list(state[name].shape)}, not {list(tensor.shape)}")
        unknown = next((name for name in state if name not in own), None)
        if unknown is not None:
            raise CodecError(f"{whose}: it has no {unknown!r}")
        checked = {}
        for name, tensor in own.items():
            kept = torch.empty(0) if tensor.is_meta else tensor
            value = checked[name] = state.get(name, kept).detach().to(tensor.dtype)
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise CodecError(f"weights {name!r} hold NaN or infinity")
            if _TABLES.search(name):
                owner, _, buffer = name.rpartition(".")
                setattr(self.get_submodule(owner), buffer, torch.empty_like(value, device=tensor.device))
        return checked

    def entropy_models(self) -> Iterator[EntropyModel]:
        """All entropy models of the network."""
        return (module for module in self.modules() if isinstance(module, EntropyModel))

    def auxiliary_loss(self) -> Tensor:
        """The loss of the bottleneck's quantiles, which alone it trains."""
        losses = [m.auxiliary_loss() for m in self.entropy_models() if isinstance(m, EntropyBottleneck)]
        return torch.stack(losses).sum()

    def update_tables(self) -> None:
        """Makes all integer tables from the weights; to be called after training."""
        for module in self.entropy_models():
            assert isinstance(module, (EntropyBottleneck, GaussianConditional))
            module.update_tables()


def scale_hyper_analysis(analysis: nn.Sequential, gain: float) -> None:
    """Makes ``h_a`` read latents multiplied by a gain; hyper-latents stay as they are."""
    scale_parameters(analysis[:-1], gain, biases_only=True)
    undo_gain(analysis[-1], gain)


def _with_new_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_OLD_DENSITY.sub(_new_name, name): tensor for name, tensor in state.items()}


def _new_name(match: re.Match[str]) -> str:
    return f"{match[1]}{_NEW_DENSITY[match[2]]}.{match[3]}"
