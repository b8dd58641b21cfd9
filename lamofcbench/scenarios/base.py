"""What a scenario declares: frozen, validated data that both sides of the split know.

A `Scenario` names the backbone, where it is split, the tensors that travel, the task and its metric. Codecs see only
the `FeatureSpecs` part. Shapes may hold an `Axis` in place of a size where the size varies from sample to sample;
axes of the same name have the same size within a sample.
"""

from __future__ import annotations

import hashlib
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from lamofcbench.errors import UnknownNameError, shown
from lamofcbench.prediction_kinds import PREDICTION_KINDS, PredictionKind
from lamofcbench.registry import Registry, read_file
from lamofcbench.user_files.modules import run_tree

DTYPE_BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "int64": 64, "int32": 32, "uint8": 8}
MAX_SIZE = 2**31 - 1
MAX_RANK = 32
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"

DTypeName = Literal["float32", "float16", "bfloat16"]
GivenDTypeName = Literal["float32", "float16", "bfloat16", "int64", "int32", "uint8"]
Category = Literal["CVU", "CLU", "CAU", "CTTI", "other"]
Edition = Literal["full", "small", "mini", "user"]
PredictionType = Literal["text", "label", "scores", "logprobs", "mask", "map", "image"]
OwnPredictionType = Annotated[str, Field(pattern=r":[^\W\d]\w*$", max_length=4096)]


Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


LONGEST_AXIS = 2**24
"""The largest size that an axis may claim."""


class Axis(_Frozen):
    """A ragged axis: its name, and the largest size that a decoder will believe.

    The limit bounds what a hostile bitstream can make a decoder allocate.
    """

    name: Name
    limit: int = Field(gt=0, le=LONGEST_AXIS)


Shape = Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_SIZE)] | Axis, ...], Field(max_length=MAX_RANK)]


class TensorSpec(_Frozen):
    """One named tensor of a feature set.

    Attributes:
        name: such as ``block.9`` or ``key.0``.
        role: decides the packing into planes: hidden, embedding, key, value, ssm_state, conv_state, pooled, latent.
        shape: sizes, at most 32 of them and none negative, with an `Axis` where the size varies.
        dtype: the stored dtype.
        dead: why perturbing this tensor does not change the prediction; None where it does.
        rotary_base: for keys that were rotated by their position before they were cached: the base of the angles, theta
            of Su et al., arXiv 2104.09864. The row of position t, counted from 0, was rotated in all its planes
            (i, i + D/2), as Llama and Qwen do, by t * base**(-2i/D). None for all else, keys that were rotated in
            another way included. It is a fact about the backbone, which its adapter checks, that only codecs use; so it
            is part of a codec's fingerprint and not of the scenario's digest.
    """

    name: Name
    role: Name
    shape: Shape
    dtype: DTypeName
    dead: str | None = None
    rotary_base: float | None = Field(default=None, gt=1, allow_inf_nan=False)

    @model_validator(mode="after")
    def _rotated_keys(self) -> TensorSpec:
        if self.rotary_base is None:
            return self
        width = self.shape[-1] if len(self.shape) > 1 else None
        if self.role != "key" or not isinstance(width, int) or width % 2:
            raise ValueError(f"tensor {self.name!r}: only keys [..., T, D] with an even D have a rotary_base")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Codecs saved before there was a rotary base keep their fingerprints.
        fields: dict[str, Any] = handler(self)
        if fields.get("rotary_base") is None:
            fields.pop("rotary_base", None)
        return fields

    @property
    def bits(self) -> int:
        """Bits of one stored element."""
        return DTYPE_BITS[self.dtype]

    def sized(self, sizes: dict[str, int]) -> tuple[int, ...]:
        """The shape with each ragged axis replaced by its size in one sample."""
        return tuple(sizes[n.name] if isinstance(n, Axis) else n for n in self.shape)


class GivenSpec(_Frozen):
    """One tensor that the tail is handed beside the decoded features: exact, never coded, and not part of the rate.

    It holds what a task needs at the other end anyway, such as the text that a model is asked to score, or the
    picture that a published head looks at once more. No codec sees it.

    Attributes:
        name: such as ``continuation``.
        shape: sizes, with an `Axis` where the size varies; an axis that tensors have too has the same size here.
        dtype: the stored dtype.
    """

    name: Name
    shape: Shape
    dtype: GivenDTypeName

    @property
    def bits(self) -> int:
        """Bits of one stored element."""
        return DTYPE_BITS[self.dtype]


class FeatureSpecs(_Frozen):
    """The tensors of a feature set, in order, and the names of its side information (lossless integers)."""

    tensors: tuple[TensorSpec, ...] = Field(min_length=1)
    side: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> FeatureSpecs:
        names = [spec.name for spec in self.tensors]
        if len(set(names)) != len(names):
            raise ValueError(f"tensor names repeat: {shown(names)}")
        if len(set(self.side)) != len(self.side):
            raise ValueError(f"side names repeat: {shown(self.side)}")
        limits: dict[str, int] = {}
        for axis in (n for spec in self.tensors for n in spec.shape if isinstance(n, Axis)):
            if limits.setdefault(axis.name, axis.limit) != axis.limit:
                raise ValueError(f"axis {axis.name!r} has two limits")
        return self

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The ragged axes in the order of their first use."""
        return tuple(dict.fromkeys(n for spec in self.tensors for n in spec.shape if isinstance(n, Axis)))

    def as_stored(self) -> FeatureSpecs:
        """These specs without the rotary bases of keys, which decide nothing about what is stored."""
        return FeatureSpecs(
            tensors=tuple(spec.model_copy(update={"rotary_base": None}) for spec in self.tensors), side=self.side
        )

    def __getitem__(self, name: str) -> TensorSpec:
        """The spec of a tensor by its name."""
        for spec in self.tensors:
            if spec.name == name:
                return spec
        raise UnknownNameError("tensor", name, [spec.name for spec in self.tensors])


# Cached apart from the scenario, because copying a model copies its cached properties too.
@lru_cache(maxsize=256)
def _feature_specs(tensors: tuple[TensorSpec, ...], side: tuple[str, ...]) -> FeatureSpecs:
    return FeatureSpecs(tensors=tensors, side=side)


class Backbone(_Frozen):
    """The model of a scenario.

    Attributes:
        adapter: registered split model, or ``file.py:NAME``, or ``:NAME`` in the scenario's own file.
        source: Hub id of the weights, or ``builder:NAME`` where the scenario's builder brings them.
        revision: the 40-digit commit of the source. None means not pinned yet: building then asks for it.
        options: what the adapter needs beyond its weights, such as image size or generation length.
    """

    adapter: str
    source: str
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    options: dict[str, Any] = Field(default_factory=dict)


class Scenario(_Frozen):
    """One track of the benchmark: a frozen declaration, valid by construction.

    Attributes:
        id: the name users type; also the dataset's configuration name.
        version: raised whenever scores stop being comparable.
        edition: ``full``, ``small``, ``mini``, or ``user`` for a scenario of one's own.
        mirrors: the full scenario that a mini one stands for.
        variant_of: the scenario of the same edition whose raw samples, model and metric this one shares, with another
            split. A variant has results of its own, but it is no track: an edition's name does not select it.
        splits: the block indices after which features are taken.
        prediction: the type of what the tail returns and the results store; one of a user's own is ``file.py:NAME``, or
            ``:NAME`` in the scenario's own file (`lamofcbench.prediction_kinds`).
        metric: registered metric, ``file.py:NAME`` or ``:NAME``.
        direction: ``up`` where a higher score is better.
        batch_size: part of the protocol, because batch composition changes generated tokens.
        given: what the tail is handed beside the decoded features, unseen by codecs and uncounted.
        needs_raw_input: True where the tail also needs the raw input beside the features, which ``given`` then holds.
        builder: what makes the data; None where they are imported or downloaded or, in the full edition, made of raw
            data by the builder that has the track's id.
    """

    id: Name
    version: int = Field(ge=1)
    edition: Edition
    category: Category
    title: str = Field(min_length=1)
    mirrors: str | None = None
    variant_of: str | None = None
    backbone: Backbone
    splits: tuple[int, ...]
    tensors: tuple[TensorSpec, ...]
    side: tuple[str, ...] = ()
    given: tuple[GivenSpec, ...] = ()
    prediction: PredictionType | OwnPredictionType
    metric: str
    metric_options: dict[str, Any] = Field(default_factory=dict)
    direction: Literal["up", "down"]
    batch_size: int = Field(gt=0)
    test_samples: int = Field(gt=0)
    calibration_samples: int = Field(ge=0)
    licence: str = Field(min_length=1)
    needs_raw_input: bool = False
    builder: str | None = None
    description: str = ""

    _origin: Path | None = PrivateAttr(default=None)
    _source_digest: str = PrivateAttr(default="")

    @field_validator("splits")
    @classmethod
    def _ascending(cls, splits: tuple[int, ...]) -> tuple[int, ...]:
        if list(splits) != sorted(set(splits)):
            raise ValueError(f"split points must ascend: {splits}")
        return splits

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        if (self.edition == "mini") != (self.mirrors is not None):
            raise ValueError("a mini scenario, and only a mini one, names the full scenario that it mirrors")
        if self.variant_of == self.id:
            raise ValueError(f"{self.id} cannot be a variant of itself")
        _ = self.specs  # validates names, axes and side
        names = [spec.name for spec in self.given]
        if len(set(names)) != len(names):
            raise ValueError(f"names of given tensors repeat: {shown(names)}")
        limits = {axis.name: axis.limit for axis in self.specs.axes}
        for axis in (n for spec in self.given for n in spec.shape if isinstance(n, Axis)):
            if limits.setdefault(axis.name, axis.limit) != axis.limit:
                raise ValueError(f"axis {axis.name!r} has two limits")
        return self

    @property
    def specs(self) -> FeatureSpecs:
        """What codecs see: the tensors and the names of the side information."""
        return _feature_specs(self.tensors, self.side)

    @property
    def prediction_kind(self) -> PredictionType | PredictionKind:
        """The type of predictions: the name of a built-in one, or a user's own, whose file is then read and hashed.

        Raises:
            PluginError: if the user's file does not hold it.
        """
        if self.prediction in get_args(PredictionType):
            return cast(PredictionType, self.prediction)
        return PREDICTION_KINDS.get(self.prediction, relative_to=self.origin)()

    @property
    def origin(self) -> Path | None:
        """The user's file in which the scenario stands; None for built-in and installed ones."""
        return self._origin

    @property
    def ref(self) -> str:
        """``id@version``, the folder name under which results are kept."""
        return f"{self.id}@{self.version}"

    def with_origin(self, path: Path, source_digest: str | None = None) -> Scenario:
        """This scenario, remembering the file in which it stands.

        Args:
            path: of the file, against which ``:NAME`` references are resolved.
            source_digest: of that file and the modules that it imports; None for what they are now.
        """
        copy = self.model_copy()
        copy._origin = path
        copy._source_digest = read_file(path)[0].digest if source_digest is None else source_digest
        return copy

    @property
    def digest(self) -> str:
        """Hex sha256 of the declaration and, for one from a file, of that file and the modules that it imports."""
        unsaid: dict[str, Any] = {"tensors": {"__all__": {"rotary_base"}}}
        if not self.given:  # scenarios from before there was any keep their digest
            unsaid["given"] = True
        return hashlib.sha256(self.model_dump_json(exclude=unsaid).encode() + self._source_digest.encode()).hexdigest()


class ScenarioRegistry(Registry[Scenario]):
    """The scenario registry; a scenario from a file remembers that file."""

    def _from_file(self, path: Path, attribute: str) -> Scenario:
        tree, origin = read_file(path)
        return self._held_by(run_tree(tree, origin), path, attribute).with_origin(origin, tree.digest)


SCENARIOS = ScenarioRegistry(
    "scenario",
    Scenario,
    package="lamofcbench.scenarios",
    group="lamofcbench.scenarios",
    key="id",
    classes=False,
    listing="lamofcbench scenarios",
)
