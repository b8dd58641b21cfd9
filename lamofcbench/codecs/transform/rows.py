"""Rows: the vectors that a joint transform works on, made of all tensors that describe the same thing.

Keys, values and hidden state of one token are functions of one residual stream, the levels of one image patch of
another; statistics that span them all tell more than those of each tensor. What belongs together is read from the
specs, from roles and axes and never from names, so that it holds for anybody's scenario:

======================  =====================  ==================  ================================================
role                    tensor                 a row is            joined where the sizes over rows agree
======================  =====================  ==================  ================================================
key, value              ``[..., H, T, D]``     a token, ``H*D``    with each other and with hidden and embedding
hidden, embedding, ...  ``[..., T, C]``        a token, ``C``      likewise
latent                  ``[..., N, h, w]``     a place, ``N``      with other latents
pooled                  ``[..., C]``           itself, ``C``       with other pooled tensors
ssm_state               ``[..., D, S]``        a channel, ``S``    with nothing: layers number channels differently
conv_state              ``[..., D, S]``        an instant, ``D``   with nothing
======================  =====================  ==================  ================================================
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.calibration import as_float32, ragged_dims
from lamofcbench.codecs.rotary import with_positions, without_positions
from lamofcbench.codecs.transform.ingredients import EVERYTHING, Ingredients
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class RowGroup:
    """Tensors that share their rows, side by side in one matrix.

    Attributes:
        specs: of the tensors, in the order of their columns.
        row_axes: the sizes over which rows run, as the specs state them, outermost first.
        first_position: where the first row of tokens stands in its sequence, by which its keys were rotated.
    """

    specs: tuple[TensorSpec, ...]
    row_axes: tuple[int | Axis, ...]
    first_position: int = 0

    @functools.cached_property
    def columns(self) -> dict[str, slice]:
        """Where each tensor's columns stand."""
        ends = np.cumsum([0, *(_column_count(spec) for spec in self.specs)]).tolist()
        return {spec.name: slice(a, b) for spec, a, b in zip(self.specs, ends, ends[1:], strict=False)}

    @property
    def width(self) -> int:
        """C, the number of columns."""
        return self.columns[self.specs[-1].name].stop

    def row_shape(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """The sizes over which the rows of one sample run."""
        spec = self.specs[0]
        return tuple(shapes[spec.name][d] for d in row_dims(spec))

    def gather(self, features: FeatureSet) -> Rows:
        """The rows of one sample, ``[rows, C]``; keys as they were before their rotary embedding."""
        count = math.prod(self.row_shape({spec.name: tuple(features[spec.name].shape) for spec in self.specs}))
        parts = []
        for spec in self.specs:
            values = as_float32(features[spec.name])
            if spec.rotary_base is not None:
                values = without_positions(values, spec.rotary_base, self.first_position)
            parts.append(values.transpose(_order(spec)).reshape(count, _column_count(spec)))
        return np.concatenate(parts, axis=1)

    def scatter(self, matrix: Rows, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """The tensors of one sample's rows: what `gather` undoes."""
        tensors = {}
        for spec in self.specs:
            shape, order = shapes[spec.name], _order(spec)
            permuted = matrix[:, self.columns[spec.name]].reshape([shape[d] for d in order])
            values = permuted.transpose(np.argsort(order).tolist())
            if spec.rotary_base is not None:
                values = with_positions(values, spec.rotary_base, self.first_position)
            tensors[spec.name] = torch.from_numpy(np.array(values, np.float32, order="C"))
        return tensors


def row_groups(specs: FeatureSpecs, ingredients: Ingredients = EVERYTHING) -> list[RowGroup]:
    """The groups of a scenario's tensors, by the order of their first tensors."""
    groups: dict[tuple[str, tuple[int | Axis, ...]], list[TensorSpec]] = {}
    for spec in (specs if ingredients.unrotated else specs.as_stored()).tensors:
        sizes = tuple(spec.shape[d] for d in row_dims(spec))
        family = _family(spec) if ingredients.joined else spec.name
        groups.setdefault((family, sizes), []).append(spec)
    return [RowGroup(tuple(members), sizes) for (_, sizes), members in groups.items()]


def row_dims(spec: TensorSpec) -> tuple[int, ...]:
    """The positions of the axes over which a tensor's rows run, outermost first."""
    columns = _column_dims(spec)
    return tuple(d for d in range(len(spec.shape)) if d not in columns)


def _column_dims(spec: TensorSpec) -> tuple[int, ...]:
    rank = len(spec.shape)
    dims: tuple[int, ...] = {
        "key": (rank - 3, rank - 1),
        "value": (rank - 3, rank - 1),
        "conv_state": (rank - 2,),
        "latent": (rank - 3,),
    }.get(spec.role, (rank - 1,))
    ragged = ragged_dims(spec)
    return tuple(d for d in dims if d >= 0 and d not in ragged)


def _order(spec: TensorSpec) -> tuple[int, ...]:
    return (*row_dims(spec), *_column_dims(spec))


def _column_count(spec: TensorSpec) -> int:
    return math.prod(n for d in _column_dims(spec) if isinstance(n := spec.shape[d], int))


def _family(spec: TensorSpec) -> str:
    if spec.role in ("ssm_state", "conv_state"):
        return f"state {spec.name}"
    return spec.role if spec.role in ("latent", "pooled") else "token"
