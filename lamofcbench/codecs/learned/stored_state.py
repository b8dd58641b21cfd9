"""A network as part of a codec's state: its state dict under a prefix, equal entropy tables once.

The five groups of ELIC use the same table of Gaussians, which at a checkpoint of mini size would be most of the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lamofcbench.codecs.learned.entropy_models import TABLE_BUFFERS
from lamofcbench.codecs.learned.network import LearnedNetwork
from lamofcbench.codecs.learned.networks import NETWORKS
from lamofcbench.errors import CodecError

PREFIX = "network."
_SHARED = (*TABLE_BUFFERS, "scale_table")


def state_of_network(network: LearnedNetwork) -> dict[str, Tensor]:
    """A network's tensors for a codec's state; a table that the group before has too is left out."""
    stored: dict[str, Tensor] = {}
    latest: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        if _is_shared(name):
            buffer = name.rpartition(".")[2]
            if buffer in latest and torch.equal(latest[buffer], tensor):
                continue
            latest[buffer] = tensor
        stored[PREFIX + name] = tensor.contiguous()
    return stored


def network_from_state(codec: str, state: Mapping[str, Tensor]) -> LearnedNetwork:
    """The network of a codec's state.

    Raises:
        CodecError: if tensors are missing or do not fit.
    """
    own = {name.removeprefix(PREFIX): tensor for name, tensor in state.items() if name.startswith(PREFIX)}
    try:
        with torch.device("meta"):
            names = NETWORKS[codec].for_state(own).state_dict()
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise CodecError(
            f"the state holds no network of codec {codec!r}: {error} is missing or does not fit"
        ) from error
    latest: dict[str, Tensor] = {}
    for name in names:
        if _is_shared(name):
            buffer = name.rpartition(".")[2]
            if name in own:
                latest[buffer] = own[name]
            elif buffer in latest:
                own[name] = latest[buffer]
            else:
                raise CodecError(f"the state of codec {codec!r} lacks {PREFIX + name!r}")
    return NETWORKS[codec].from_state_dict(own, shared=True)


def _is_shared(name: str) -> bool:
    """True for the tables of Gaussians."""
    owner, _, buffer = name.rpartition(".")
    return buffer in _SHARED and owner.endswith("gaussian_conditional")
