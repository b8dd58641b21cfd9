"""Specs of one's own tensors, told from samples: no scenario is needed to fit a codec on them and to code them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from pydantic import ValidationError

from lamofcbench.errors import ScenarioError, UnknownNameError, broken_field, shown
from lamofcbench.features import FeatureSet, dtype_name
from lamofcbench.scenarios.base import LONGEST_AXIS, Axis, FeatureSpecs, TensorSpec

HEADROOM = 4
"""How many times as long as the longest sample a decoder believes an axis to be, as far as an axis may reach."""


@contextlib.contextmanager
def declaring(what: str) -> Iterator[None]:
    """Turns what a declaration refuses into one line.

    Args:
        what: is declared.

    Raises:
        ScenarioError: naming it, and why it cannot be declared.
    """
    try:
        yield
    except ValidationError as error:
        raise ScenarioError(f"{what} cannot be declared: {broken_field(error, whole='')}") from error


def infer_specs(
    samples: Sequence[FeatureSet],
    *,
    roles: Mapping[str, str] | None = None,
    limits: Mapping[str, int] | None = None,
    rotary_base: float | None = None,
) -> FeatureSpecs:
    """The specs that samples have in common.

    A size that differs between samples becomes a ragged axis, and sizes that are equal in each sample one axis: the
    only one is called ``tokens``, several ``axis0``, ``axis1`` and so on. Give samples that differ where others may.

    Args:
        samples: of the same tensors, dtypes and side information.
        roles: name of a tensor to its role (`TensorSpec.role`). Others are guessed: ``key`` and ``value`` where the
            name begins so, ``pooled`` where there is one axis, and ``hidden`` (``[..., tokens, channels]``).
        limits: name of a ragged axis to its longest size; `HEADROOM` times the longest sample's where absent.
        rotary_base: by which all tensors of role ``key`` were rotated (`TensorSpec.rotary_base`), so that codecs turn
            them back; `lamofcbench.models.rotary.rotary_base_of` a config tells it. None for keys that were not, or in
            another way: they are coded as they are.

    Raises:
        ScenarioError: naming what differs between samples, a dtype that has no spec, a name, role or size that cannot
            be declared, or a limit that a sample exceeds; or if there are no keys that a rotary base may be of.
        UnknownNameError: if a role is of no tensor, or a limit of no axis.

    Example:
        >>> import torch
        >>> specs = infer_specs([FeatureSet({"hidden": torch.zeros(tokens, 16)}) for tokens in (3, 5)])
        >>> specs["hidden"].shape
        (Axis(name='tokens', limit=20), 16)
    """
    sizes = _sizes(samples)
    first = samples[0]
    ragged = list(dict.fromkeys(size for of in sizes.values() for size in of if len(set(size)) > 1))
    names = ["tokens"] if len(ragged) == 1 else [f"axis{index}" for index in range(len(ragged))]
    for kind, given, known in (("tensor", roles, list(first)), ("ragged axis", limits, names)):
        for name in given or ():
            if name not in known:
                raise UnknownNameError(kind, name, known)
    axes = {size: _axis(name, max(size), (limits or {}).get(name)) for size, name in zip(ragged, names, strict=True)}
    tensors = []
    for name in first:
        dtype = dtype_name(first[name].dtype, f"tensor {name!r}")
        role = (roles or {}).get(name) or _role(name, first[name].dim())
        shape = tuple(axes.get(size, size[0]) for size in sizes[name])
        with declaring(f"tensor {shown(name)}"):
            tensors.append(TensorSpec(name=name, role=role, shape=shape, dtype=dtype))
    if rotary_base is not None:
        tensors = _rotated(tensors, rotary_base)
    with declaring("a set of these tensors"):
        return FeatureSpecs(tensors=tuple(tensors), side=tuple(first.side))


def _axis(name: str, longest: int, limit: int | None) -> Axis:
    """A ragged axis of samples the longest of which has this size."""
    if limit is not None and limit < longest:
        raise ScenarioError(f"axis {name!r} is limited to {limit}, and a sample has {longest}")
    with declaring(f"axis {name!r}"):
        return Axis(name=name, limit=max(longest, min(HEADROOM * longest, LONGEST_AXIS)) if limit is None else limit)


def _sizes(samples: Sequence[FeatureSet]) -> dict[str, list[tuple[int, ...]]]:
    """Of each axis of each tensor, its size in each of some samples, which are alike but for these."""
    if not samples:
        raise ScenarioError("specs are told from one sample at least")
    first = samples[0]
    for sample in samples:
        if list(sample) != list(first) or set(sample.side) != set(first.side):
            raise ScenarioError(f"samples hold the same tensors and side information; {first} and {sample} do not")
    for name in first:
        if len({(sample[name].dim(), sample[name].dtype) for sample in samples}) != 1:
            raise ScenarioError(f"tensor {name!r} has another dtype or number of axes in other samples")
    return {name: list(zip(*(tuple(sample[name].shape) for sample in samples), strict=True)) for name in first}


def _rotated(tensors: Sequence[TensorSpec], base: float) -> list[TensorSpec]:
    """The same with keys rotated by this base."""
    if not any(spec.role == "key" for spec in tensors):
        raise ScenarioError("a rotary base is of keys, and no tensor has that role; give it by roles")
    with declaring(f"a rotary base of {shown(base)}"):
        return [TensorSpec(**{**dict(spec), "rotary_base": base}) if spec.role == "key" else spec for spec in tensors]


def _role(name: str, rank: int) -> str:
    for role in ("key", "value"):
        if rank == 3 and name.split(".")[0] == role:
            return role
    return "pooled" if rank == 1 else "hidden"
