"""FeatureSet: the features of one sample, and their packing into 2-D planes and back.

A feature set holds named tensors with no batch axis and no padding, plus the few integers that a tail needs beside
them. Codecs see nothing else of a sample: what else a scenario hands its tail (`GivenSpec`) travels beside the
features, and is taken off before encoding and put back after decoding.

Packing turns a tensor into the planes that an image-like codec wants, and back, exactly:

==========================  ======================  =====================================
role                        tensor                  planes
==========================  ======================  =====================================
hidden, embedding           ``[..., T, C]``         ``[T, C]`` for each leading index
key, value                  ``[..., H, T, D]``      ``[T, H*D]`` for each leading index
ssm_state, conv_state       ``[..., D, S]``         ``[D, S]`` for each leading index
pooled                      ``[C]``                 one ``[1, C]``
latent                      ``[..., N, h, w]``      mosaic of N tiles, 32 as 4x8, 16 as 4x4
==========================  ======================  =====================================

Any other role is packed by its last two axes, and so are keys, values and latents of fewer than three. (BENCHMARK
layouts of arXiv 2605.24025, "individual" packing.)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

import torch
from torch import Tensor

from lamofcbench.errors import ScenarioError, shown
from lamofcbench.scenarios.base import Axis, DTypeName, FeatureSpecs, GivenSpec, TensorSpec

TORCH_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "uint8": torch.uint8,
}
_NAMES: dict[torch.dtype, DTypeName] = {TORCH_DTYPES[name]: name for name in get_args(DTypeName)}
_INTEGERS_OF_WIDTH = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class FeatureSet:
    """The features of one sample: ordered named tensors, and side information.

    Tensors may be views of a memory-mapped file shared with other readers, so they are to be read only; clone a tensor
    before writing to it.

    Args:
        tensors: name to tensor, with no batch axis and no padding.
        side: lossless integers that the tail needs (image size, seed), of 64 bits with sign; numpy's are integers too.
        given: name to tensor of what the tail is handed uncoded; no part of the features and of none of their figures.

    Raises:
        ScenarioError: naming the side information that is no such integer.

    Example:
        >>> features = FeatureSet({"hidden": torch.zeros(3, 4), "pooled": torch.zeros(4, dtype=torch.bfloat16)})
        >>> features.elements, features.raw_bits
        (16, 448)
    """

    __slots__ = ("given", "side", "tensors")

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        side: Mapping[str, int] | None = None,
        given: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.tensors: Mapping[str, Tensor] = MappingProxyType(dict(tensors))
        self.side: Mapping[str, int] = MappingProxyType({n: _side_integer(n, v) for n, v in (side or {}).items()})
        self.given: Mapping[str, Tensor] = MappingProxyType(dict(given or {}))

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __repr__(self) -> str:
        parts = [f"{name}: {str(t.dtype).removeprefix('torch.')}{list(t.shape)}" for name, t in self.tensors.items()]
        return f"FeatureSet({', '.join(parts)}{f', side={dict(self.side)}' if self.side else ''})"

    @property
    def elements(self) -> int:
        """The number of feature points over all tensors."""
        return sum(t.numel() for t in self.tensors.values())

    @property
    def raw_bits(self) -> int:
        """Bits of the uncoded tensors in their stored dtypes."""
        return sum(t.numel() * t.element_size() * 8 for t in self.tensors.values())

    def cast(self, specs: FeatureSpecs) -> FeatureSet:
        """These features in the stored dtypes of the specs, in their order, contiguous and detached."""
        tensors = {s.name: self[s.name].detach().to(TORCH_DTYPES[s.dtype]).contiguous() for s in specs.tensors}
        return FeatureSet(tensors, self.side, self.given)

    def clone(self) -> FeatureSet:
        """A copy in memory of its own, which may be written to."""
        tensors, given = ({n: t.clone() for n, t in part.items()} for part in (self.tensors, self.given))
        return FeatureSet(tensors, self.side, given)

    def select(self, names: Sequence[str]) -> FeatureSet:
        """The named tensors only, with all else as it is."""
        return FeatureSet({name: self[name] for name in names}, self.side, self.given)

    def with_given(self, given: Mapping[str, Tensor] | None) -> FeatureSet:
        """The same features beside other given tensors; None for nothing beside them, which is what codecs get."""
        return FeatureSet(self.tensors, self.side, given)

    @property
    def given_bytes(self) -> int:
        """Bytes of the given tensors, which no rate counts."""
        return sum(t.numel() * t.element_size() for t in self.given.values())


def _side_integer(name: str, value: Any) -> int:
    """A value of side information, which must be an integer: 1.5 would be stored as 1, and True as 1 too."""
    try:
        integer = operator.index(value)
    except TypeError:
        integer = None
    if integer is None or isinstance(value, bool):
        raise ScenarioError(f"side information {shown(name)} is {shown(value)}; it must be an integer")
    if not -(2**63) <= integer < 2**63:
        raise ScenarioError(f"side information {shown(name)} is {shown(value)}; it must fit 64 bits with sign")
    return integer


def dtype_name(dtype: torch.dtype, of: str = "the tensor") -> DTypeName:
    """How specs name a dtype of features.

    Args:
        dtype: of torch.
        of: what messages say has it.

    Raises:
        ScenarioError: if features have no such dtype.

    Example:
        >>> dtype_name(torch.bfloat16)
        'bfloat16'
    """
    if dtype not in _NAMES:
        raise ScenarioError(f"{of} is {shown(dtype)}; features are {', '.join(_NAMES.values())}")
    return _NAMES[dtype]


def tensor_bytes(tensor: Tensor) -> bytes:
    """The bytes of a tensor of any dtype, row-major and little endian, however it lies in memory.

    Example:
        >>> tensor_bytes(torch.tensor([1.0, -0.0]).bfloat16()).hex()
        '803f0080'
    """
    # A view of the same width works for every stride, where one as bytes fails even on "contiguous" one-element views.
    integers = tensor.detach().cpu().view(_INTEGERS_OF_WIDTH[tensor.element_size()])
    return integers.numpy().tobytes()


def equal_bits(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors have one shape, one dtype and equal bits, those of NaN included.

    Example:
        >>> equal_bits(torch.tensor([math.nan]), torch.tensor([math.nan])), equal_bits(torch.zeros(1), -torch.zeros(1))
        (True, False)
    """
    if first.shape != second.shape or first.dtype is not second.dtype:
        return False
    integers = _INTEGERS_OF_WIDTH[first.element_size()]
    return torch.equal(first.view(integers), second.view(integers))


def all_finite(tensor: Tensor) -> bool:
    """True where a floating tensor of at least 16 bits an element holds neither NaN nor infinity.

    Example:
        >>> all_finite(torch.tensor([1.0, 2.0])), all_finite(torch.tensor([1.0, float("nan")]))
        (True, False)
    """
    return math.isfinite(largest_magnitude(tensor))


def largest_magnitude(tensor: Tensor) -> float:
    """The largest magnitude in a floating tensor of at least 16 bits an element; NaN where any is, 0 where nothing is.

    Example:
        >>> largest_magnitude(torch.tensor([1.0, -2.0]))
        2.0
    """
    if not tensor.numel():
        return 0.0
    lowest, highest = torch.aminmax(tensor)  # NaN if any is; takes an eighth of the time of isfinite on every element
    least, most = lowest.item(), highest.item()
    return math.nan if math.isnan(least + most) else max(-least, most)


def check_features(features: FeatureSet, specs: FeatureSpecs) -> dict[str, int]:
    """The sizes of the ragged axes of a feature set that matches its specs.

    Raises:
        ScenarioError: naming the first tensor whose presence, dtype or shape differs.
    """
    if not isinstance(features, FeatureSet):
        raise ScenarioError(f"features are a FeatureSet, not {shown(features)}")
    expected = [spec.name for spec in specs.tensors]
    if list(features) != expected:
        raise ScenarioError(f"features hold {list(features)}; the scenario declares {expected}, in this order")
    if set(features.side) != set(specs.side):
        raise ScenarioError(f"side information is {sorted(features.side)}; the scenario declares {sorted(specs.side)}")
    sizes: dict[str, int] = {}
    for spec in specs.tensors:
        _check_tensor(spec, features[spec.name], sizes)
    return sizes


def check_given(given: Mapping[str, Tensor], specs: Sequence[GivenSpec], sizes: Mapping[str, int]) -> None:
    """Refuses given tensors that are not those of a scenario.

    Args:
        given: what stands beside the features.
        specs: the scenario's declarations.
        sizes: of the features' ragged axes, as `check_features` returns them.

    Raises:
        ScenarioError: naming the first one whose presence, dtype or shape differs.
    """
    expected = [spec.name for spec in specs]
    if list(given) != expected:
        raise ScenarioError(f"given tensors are {list(given)}; the scenario declares {expected}, in this order")
    known = dict(sizes)
    for spec in specs:
        _check_tensor(spec, given[spec.name], known)


def _check_tensor(spec: TensorSpec | GivenSpec, tensor: Tensor, sizes: dict[str, int]) -> None:
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
        kind = f"a {tensor.layout}" if isinstance(tensor, Tensor) else type(tensor).__name__
        raise ScenarioError(f"tensor {spec.name!r} is {kind}; features are dense torch tensors")
    if tensor.dtype is not TORCH_DTYPES[spec.dtype]:
        raise ScenarioError(f"tensor {spec.name!r} has dtype {tensor.dtype}; the scenario declares {spec.dtype}")
    known = dict(sizes)
    if tensor.dim() == len(spec.shape):
        for axis, size in zip(spec.shape, tensor.shape, strict=True):
            if not isinstance(axis, Axis):
                if size != axis:
                    break
            elif size > axis.limit or sizes.setdefault(axis.name, size) != size:
                break
        else:
            return
    declared = [f"{n.name}<={n.limit}" if isinstance(n, Axis) else str(n) for n in spec.shape]
    raise ScenarioError(
        f"tensor {spec.name!r} has shape {list(tensor.shape)}; the scenario declares [{', '.join(declared)}]"
        + (f" where {known}" if known else "")
    )


def mosaic_grid(tiles: int) -> tuple[int, int]:
    """Rows and columns of the mosaic for a number of tiles: the most nearly square grid, wider than high.

    Example:
        >>> mosaic_grid(32), mosaic_grid(16), mosaic_grid(3)
        ((4, 8), (4, 4), (1, 3))
    """
    rows = max((r for r in range(1, math.isqrt(max(tiles, 1)) + 1) if tiles % r == 0), default=1)
    return rows, tiles // rows


def plane_shape(role: str, shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of each plane that a tensor of this role and shape packs into."""
    role = _packed_as(role, len(shape))
    if role == "pooled" or len(shape) < 2:
        return 1, math.prod(shape)
    if role in ("key", "value"):
        heads, tokens, dim = shape[-3:]
        return tokens, heads * dim
    if role == "latent":
        tiles, height, width = shape[-3:]
        rows, columns = mosaic_grid(tiles)
        return rows * height, columns * width
    return shape[-2], shape[-1]


def pack(tensor: Tensor, role: str) -> list[Tensor]:
    """A tensor as 2-D planes of its own dtype; see the module's table.

    Example:
        >>> [p.shape for p in pack(torch.zeros(2, 5, 3), "key")]
        [torch.Size([5, 6])]
        >>> [p.shape for p in pack(torch.zeros(2, 5, 3), "hidden")]
        [torch.Size([5, 3]), torch.Size([5, 3])]
    """
    height, width = plane_shape(role, tensor.shape)
    role = _packed_as(role, tensor.dim())
    if role in ("key", "value"):
        tensor = tensor.transpose(-3, -2)
    elif role == "latent":
        rows, columns = mosaic_grid(tensor.shape[-3])
        tensor = tensor.unflatten(-3, (rows, columns)).transpose(-3, -2)
    return list(tensor.reshape(_items(role, tensor.shape), height, width))


def unpack(planes: Sequence[Tensor], role: str, shape: Sequence[int]) -> Tensor:
    """The tensor of this role and shape that packed into these planes; the inverse of `pack`."""
    shape = tuple(shape)
    if not planes:
        raise ValueError("no planes; a tensor with an empty leading axis has none, make it from its shape instead")
    role = _packed_as(role, len(shape))
    stacked = planes[0].unsqueeze(0) if len(planes) == 1 else torch.stack(list(planes))
    if role in ("key", "value"):
        heads, tokens, dim = shape[-3:]
        return stacked.reshape(*shape[:-3], tokens, heads, dim).transpose(-3, -2)
    if role == "latent":
        tiles, height, width = shape[-3:]
        rows, columns = mosaic_grid(tiles)
        return stacked.reshape(*shape[:-3], rows, height, columns, width).transpose(-3, -2).reshape(shape)
    return stacked.reshape(shape)


def _packed_as(role: str, rank: int) -> str:
    return "other" if role in ("key", "value", "latent") and rank < 3 else role


def _items(role: str, shape: Sequence[int]) -> int:
    """How many planes a tensor of this (possibly rearranged) shape packs into."""
    inner = {"pooled": len(shape), "key": 3, "value": 3, "latent": 4}.get(role, min(2, len(shape)))
    return math.prod(shape[: len(shape) - inner])
