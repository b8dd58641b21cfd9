"""The codec contract: features in, bytes out, and back from the bytes and the saved codec alone.

An author subclasses `Codec` and writes one pair of methods, either for one tensor at a time::

    encode_tensor(spec, tensor) -> bytes          decode_tensor(spec, payload, shape) -> Tensor

or for the whole set, for codecs that join tensors::

    encode_features(features) -> bytes            decode_features(payload, shapes) -> {name: Tensor}

and, where something is learned from calibration samples, ``learn(calibration) -> {name: Tensor}``. Everything else,
shapes, side information, the container, checks, saving and loading, is done here and in the modules beside this one:
`params` (parameters), `returned` (what these methods may return) and `saving` (what a folder holds).
"""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib.util
import re
from abc import ABC
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from torch import Tensor

from lamofcbench.bitstream import BitstreamWriter
from lamofcbench.codecs import params as codec_params
from lamofcbench.codecs import returned, saving
from lamofcbench.codecs.card import REPLACED_FILES, codec_card
from lamofcbench.codecs.container import MAX_ELEMENTS, Container, open_container, raw_sizes
from lamofcbench.codecs.knowledge import Knowledge
from lamofcbench.codecs.params import NoParams
from lamofcbench.codecs.sensitivity import Sensitivity
from lamofcbench.errors import BitstreamError, CodecError, NonFiniteError, PluginError, shown
from lamofcbench.features import FeatureSet, all_finite, check_features
from lamofcbench.registry import Registry
from lamofcbench.scenarios.base import FeatureSpecs, TensorSpec

MAX_NAME_BYTES = 64
_NAME = re.compile(r"\w[\w.+-]*")

C = TypeVar("C", bound="Codec")


class Codec(ModelHubMixin, ABC, library_name="lamofcbench", tags=["lamofcbench", "feature-coding"]):
    """Codes the feature sets of one scenario.

    Args:
        specs: the tensors and side information of the scenario, which both sides know.
        params: an instance of the class's ``Params``, or a mapping of its fields; None for the defaults. Both ways give
            the same codec: parameters are held as a saved codec gives them back, so 1 for a float is 1.0.
        state: what was learned, as named tensors; None for a codec that is yet to be fitted.

    Raises:
        CodecError: naming a parameter that does not fit.
        PluginError: when a subclass is defined whose name or ``Params`` breaks the rules below.

    Class attributes that an author sets:
        name: what users type; made from the class name where absent. It names folders too: letters and digits, with any
            of ``_ . + -`` behind the first, at most 64 bytes.
        Params: a frozen dataclass of parameters; `lamofcbench.codecs.params` says what its fields may be.
        rate_points: the ladder of parameters that a curve runs when the user names none, from the highest rate to the
            lowest.
        rate_step: of a rate parameter that is a logarithm already, such as QP, decibels or bits: by how much it moves
            from one point of a ladder to the next; None for one that moves by factors.
        lossless: True where decoding returns every bit, NaN and infinities included.
        needs_calibration: True where `learn` must run before coding.
        needs_sensitivity: True where `learn` reads ``calibration.sensitivity``: how the tail's response depends on the
            features. It needs calibration too; see `lamofcbench.codecs.sensitivity`.
        paper: a link to the publication.
        revision: raised when the same features would get other bytes, or the same bytes other features.
        requires: import names of optional packages that coding needs; import them inside functions, not in the module.
        extra: the extra of this distribution that installs those packages.
    """

    name: ClassVar[str]
    Params: ClassVar[type] = NoParams
    rate_points: ClassVar[Sequence[Mapping[str, Any]]] = ({},)
    rate_step: ClassVar[float | None] = None
    lossless: ClassVar[bool] = False
    needs_calibration: ClassVar[bool] = False
    needs_sensitivity: ClassVar[bool] = False
    paper: ClassVar[str] = ""
    revision: ClassVar[int] = 1
    requires: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    first_position: int = 0
    """Where the first of the tokens to code stands in its sequence; more than 0 in a codec that is `continuing`."""
    open_ended: bool = False
    """Whether tokens may follow those to code, and their coding depends on it: so in chunks of some codecs."""

    # Not None, so that the mixin neither records the constructor's arguments nor writes a config of its own.
    _hub_mixin_config: Any = {}  # noqa: RUF012

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__.removesuffix("Codec") or cls.__name__)
            cls.name = words.lower()
        if not isinstance(cls.name, str) or not _NAME.fullmatch(cls.name) or len(cls.name.encode()) > MAX_NAME_BYTES:
            raise PluginError(
                f"{cls.__name__}.name is {shown(cls.name)}; it names folders too, so it is letters and digits with any "
                f"of _ . + - behind the first, at most {MAX_NAME_BYTES} bytes"
            )
        if "Params" in cls.__dict__:
            codec_params.check_definition(cls.Params, cls.name)

    def __init__(
        self,
        specs: FeatureSpecs,
        params: Any | Mapping[str, Any] | None = None,
        state: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.specs = specs
        self.params: Any = codec_params.make(self.Params, params, self.name)
        self.state: Mapping[str, Tensor] = dict(state or {})

    # ------------------------------------------------------------------------------------- what an author writes

    def learn(self, calibration: CalibrationSamples) -> Mapping[str, Tensor]:
        """What `fit` stores as state: named tensors learned from calibration samples (may be iterated repeatedly).

        A codec that declares ``needs_sensitivity`` finds `Sensitivity` in ``calibration.sensitivity``.

        Tensors, numpy arrays and numbers, however they lie in memory and whatever they share: `fit` makes dense tensors
        of their own on the CPU. They must be real and finite.
        """
        raise NotImplementedError("a codec that needs calibration writes learn")

    def encode_tensor(self, spec: TensorSpec, tensor: Tensor) -> bytes:
        """The payload of one tensor, which must not be modified: bytes, or anything bytes-like."""
        raise NotImplementedError("a codec writes encode_tensor or encode_features")

    def decode_tensor(self, spec: TensorSpec, payload: bytes, shape: tuple[int, ...]) -> Tensor:
        """One tensor of the given shape, of any floating dtype, or a numpy array.

        The result is cast to the stored dtype; what lies beyond its range becomes its largest value. NaN and infinity
        are an error where the codec is lossy, and integers are: they are likely to be levels of a quantiser.
        """
        raise NotImplementedError("a codec writes decode_tensor or decode_features")

    def encode_features(self, features: FeatureSet) -> bytes:
        """One payload for the whole set, whose tensors must not be modified: bytes, or anything bytes-like."""
        raise NotImplementedError("a codec writes encode_tensor or encode_features")

    def decode_features(self, payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        """All tensors by name, each as `decode_tensor` returns it."""
        raise NotImplementedError("a codec writes decode_tensor or decode_features")

    def quantise_features(self, features: FeatureSet) -> Mapping[str, Tensor] | None:
        """The tensors after a first quantiser alone, for a codec that loses more behind it; None where it cannot tell.

        Only reports ask: the error against these is the quantiser's share, the rest is what coding its output lost.
        """
        return None

    def continuing(self: C, first_position: int) -> C:
        """This codec for a chunk of a `lamofcbench.streaming` stream, whose tokens go on from others.

        Its bitstreams are read by codecs that continue at the same position only. One whose coding of a row depends on
        where it stands overrides it, and reads `first_position`; here nothing else changes.

        Args:
            first_position: how many tokens of the sequence there are already; 0 for the first chunk of a stream, which
                this very codec codes, unless a whole sample would be coded otherwise (`_of_chunks`).

        Raises:
            CodecError: if the codec has not been fitted, or a package that it needs is not installed.
        """
        return self if first_position == self.first_position else self._of_chunks(first_position)

    def _of_chunks(self: C, first_position: int, *, open_ended: bool = False) -> C:
        """A copy of this codec for chunks that start at this position."""
        self._require_ready()
        self._prepare()
        codec = copy.copy(self)
        codec.first_position, codec.open_ended = first_position, open_ended
        return codec

    def check_state(self) -> None:
        """Raises `CodecError` where the state of a loaded folder does not fit the specs; by default none does."""

    # ------------------------------------------------------------------------------------------- what users call

    @classmethod
    def unavailable(cls) -> str | None:
        """Why this machine cannot run the codec, and what to do about it, in one line; None where it can."""
        missing = [package for package in cls.requires if not _installed(package)]
        if not missing:
            return None
        target = f"'lamofcbench[{cls.extra}]'" if cls.extra else " ".join(missing)
        return f"codec {cls.name!r} needs the package {' and '.join(missing)}; install it with: pip install {target}"

    @classmethod
    def require_available(cls) -> None:
        """Raises `CodecError` where this machine lacks what the codec needs."""
        reason = cls.unavailable()
        if reason is not None:
            raise CodecError(reason)

    @classmethod
    def make_params(cls, values: Mapping[str, Any]) -> Any:
        """Parameters from a mapping, strings as the command line gives them included.

        Raises:
            CodecError: for an unknown key or a value that does not fit, which it names.
        """
        return codec_params.make(cls.Params, values, cls.name)

    def fit(self: C, calibration: Iterable[FeatureSet], sensitivity: Sensitivity | None = None) -> C:
        """A new codec that has learned from calibration samples; this one where nothing is learned.

        Args:
            calibration: feature sets of the calibration split; iterated as often as learning needs.
            sensitivity: of the scenario's tail, computed from the same split; None where the codec needs none.

        Raises:
            CodecError: if there are none, if a sensitivity is missing or of other tensors, if learning fails, or if
                what was learned is not finite, dense and real.
        """
        self.require_available()
        if not self.needs_calibration:
            return self
        if iter(calibration) is calibration:
            calibration = list(calibration)  # a one-shot iterator would be empty at the second pass
        if next(iter(calibration), None) is None:
            raise CodecError(f"codec {self.name!r} learns from calibration samples, and there are none")
        if self.needs_sensitivity:
            if sensitivity is None:
                raise CodecError(
                    f"codec {self.name!r} learns from the sensitivity of the tail too: `lamofcbench run` computes it, "
                    "`fit` takes it as `sensitivity`"
                )
            sensitivity.require_specs(self.specs)
        with returned.calling(self.name, "learn from calibration samples"):
            known = sensitivity if self.needs_sensitivity else None
            learned = self.learn(CalibrationSamples(calibration, self, known))
        return type(self)(self.specs, self.params, returned.state(self.name, learned))

    @torch.no_grad()
    def encode(self, features: FeatureSet) -> bytes:
        """One complete bitstream.

        Raises:
            ScenarioError: if the features do not match the specs.
            NonFiniteError: if the codec is lossy and a tensor holds NaN or infinity.
            CodecError: if the codec has not been fitted, a package that it needs is not installed, or it fails or
                returns no bytes, naming the tensor.
        """
        self._require_ready()
        features = features.with_given(None)  # what the tail is handed besides is none of a codec's business
        sizes = self._checked_sizes(features)
        writer = BitstreamWriter(self._signature)
        for axis in self.specs.axes:
            writer.unsigned(sizes[axis.name])
        for side in self.specs.side:
            writer.signed(features.side[side])
        shapes = {spec.name: spec.sized(sizes) for spec in self.specs.tensors}
        return writer.finish(self._encode_sections(features), self._raw_sizes(shapes))

    @torch.no_grad()
    def decode(self, data: bytes) -> FeatureSet:
        """The features of one bitstream.

        Raises:
            BitstreamError: if the bytes are truncated, damaged, foreign or hostile, or if the codec decodes them to
                something else than finite tensors of their shapes, naming the tensor.
        """
        self._require_ready()
        sections, shapes, side = self._open(data)
        tensors = self._decode_sections(sections, shapes)
        return FeatureSet(returned.tensors(self, tensors, shapes, "decoded", BitstreamError), side)

    @torch.no_grad()
    def quantised(self, features: FeatureSet) -> FeatureSet | None:
        """What decoding would give if all behind the codec's quantiser were lossless; None where it cannot tell.

        Raises:
            CodecError: if the codec has not been fitted, or returns other tensors than it was given.
        """
        self._require_ready()
        self._checked_sizes(features)
        features = features.with_given(None)  # as for `encode`
        with returned.calling(self.name, "quantise the set"):
            tensors = self.quantise_features(features)
        if tensors is None:
            return None
        shapes = {name: tuple(tensor.shape) for name, tensor in features.tensors.items()}
        return FeatureSet(returned.tensors(self, tensors, shapes, "quantised", CodecError), features.side)

    def payload_bytes(self, data: bytes) -> dict[str, int] | None:
        """The size of each tensor's section of a bitstream; None for a codec that joins tensors.

        Raises:
            BitstreamError: if the container is truncated, damaged, foreign or hostile.
        """
        if self._joins_tensors():
            return None
        sections = self._open(data)[0]
        return {spec.name: len(section) for spec, section in zip(self.specs.tensors, sections, strict=True)}

    def _open(self, data: bytes) -> Container:
        """The parts of a bitstream, checked but not decoded."""
        return open_container(data, self._signature, self.specs, joined=self._joins_tensors())

    @functools.cached_property
    def fingerprint(self) -> bytes:
        """Sha256 of everything that decides the meaning of the bytes: identity, params, specs, state, own source."""
        return saving.fingerprint_of(saving.config_of(self), self.state)

    @property
    def _signature(self) -> bytes:
        """What bitstreams are checked against: the fingerprint, and the position that they continue at."""
        if not self.first_position and not self.open_ended:
            return self.fingerprint
        return hashlib.sha256(self.fingerprint + self.first_position.to_bytes(8, "little")).digest()

    @property
    def state_bytes(self) -> int:
        """Size of the learned parameters, which are not counted as rate but reported."""
        return sum(t.numel() * t.element_size() for t in self.state.values())

    @property
    def trained_on(self) -> Knowledge:
        """What a fitted codec has learned from; overridden by one that brings what was learned from other data."""
        if self.needs_sensitivity:
            return "tail"
        return "calibration" if self.needs_calibration else "nothing"

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v}' for k, v in codec_params.to_plain(self.params).items())})"

    # ---------------------------------------------------------------------------------------- saving and loading

    def save(self, directory: str | Path) -> Path:
        """Writes config.json, model.safetensors and, for a codec from a file, its source; returns the folder."""
        directory = Path(directory)
        saving.write_folder(self, directory)
        return directory

    def _save_pretrained(self, save_directory: Path) -> None:
        saving.write_folder(self, save_directory)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Pushes the saved codec and its card to a model repository, made where it is not there.

        ``lamofcbench push`` adds curves and results.

        Args:
            repo_id: ``org/name``.
            options: ``private``, ``commit_message`` and whatever else the mixin's own takes.
        """
        options.setdefault("delete_patterns", list(REPLACED_FILES))
        options["model_card_kwargs"] = {"repo": repo_id, **(options.get("model_card_kwargs") or {})}
        return super().push_to_hub(repo_id, **options)

    def generate_model_card(self, *args: Any, repo: str = "ORG/NAME", **kwargs: Any) -> ModelCard:
        """The card that the mixin's ``push_to_hub`` writes; see `lamofcbench.codecs.card.codec_card`."""
        return ModelCard(codec_card(self, repo, **kwargs))

    @classmethod
    def from_pretrained(  # not by way of the mixin's own, which reads a config before anything is checked
        cls, pretrained_model_name_or_path: str | Path, *, trust_code: bool = False, **download: Any
    ) -> Codec:
        """The codec of a saved folder or a Hub repository.

        Args:
            pretrained_model_name_or_path: the folder, ``org/name``, or ``org/name@revision``.
            trust_code: allow the folder's own source to run, for a codec that came from a user's file; of a repository
                at a commit that is named.
            download: ``revision``, ``token``, ``cache_dir``, ``local_files_only`` and whatever else
                `huggingface_hub.snapshot_download` takes.

        Raises:
            CodecError: if there is no saved codec, it is damaged, or it needs ``trust_code``.
        """
        found = saving.find_folder(str(pretrained_model_name_or_path), **download)
        return saving.load_found(found, CODECS, trust_code=trust_code)

    @classmethod
    def from_config(cls: type[C], config: Mapping[str, Any], directory: Path) -> C:
        """The codec of a saved folder whose config names this class.

        Raises:
            CodecError: if the folder is incomplete or does not add up to the fingerprint it states.
        """
        return saving.restore(cls, config, directory)

    # ------------------------------------------------------------------------------------------------- internals

    def _checked_sizes(self, features: FeatureSet) -> dict[str, int]:
        """The sizes of the ragged axes of features that this codec can code."""
        sizes = check_features(features, self.specs)
        if features.elements > MAX_ELEMENTS:
            raise CodecError(f"features hold {features.elements} elements; at most {MAX_ELEMENTS} are coded")
        if not self.lossless:
            for name, tensor in features.tensors.items():
                if not all_finite(tensor):
                    raise NonFiniteError(
                        f"tensor {name!r} holds NaN or infinity, which the lossy codec {self.name!r} cannot code"
                    )
        return sizes

    def _prepare(self) -> None:
        """Works out what coding needs wherever tokens stand, so that it is worked out once and not for each chunk."""
        _ = self.fingerprint

    def _joins_tensors(self) -> bool:
        return type(self).encode_features is not Codec.encode_features

    def _raw_sizes(self, shapes: Mapping[str, tuple[int, ...]]) -> list[int]:
        return raw_sizes(self.specs, shapes, joined=self._joins_tensors())

    def _encode_sections(self, features: FeatureSet) -> list[bytes]:
        if self._joins_tensors():
            with returned.calling(self.name, "encode the set"):
                payload = self.encode_features(features)
            return [returned.payload(self.name, "the set", payload)]
        sections = []
        for spec in self.specs.tensors:
            with returned.calling(self.name, f"encode tensor {spec.name!r}"):
                payload = self.encode_tensor(spec, features[spec.name])
            sections.append(returned.payload(self.name, f"tensor {spec.name!r}", payload))
        return sections

    def _decode_sections(self, sections: list[bytes], shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Any]:
        # The checksum held, so a failure here means crafted bytes or a broken codec; either way the bytes are refused.
        if self._joins_tensors():
            with returned.calling(self.name, "decode the set", BitstreamError):
                return self.decode_features(sections[0], dict(shapes))
        tensors = {}
        for spec, section in zip(self.specs.tensors, sections, strict=True):
            with returned.calling(self.name, f"decode tensor {spec.name!r}", BitstreamError):
                tensors[spec.name] = self.decode_tensor(spec, section, shapes[spec.name])
        return tensors

    def _require_ready(self) -> None:
        self.require_available()
        if self.needs_calibration and not self.state:
            raise CodecError(f"codec {self.name!r} has learned nothing yet; call fit(calibration samples) first")


@functools.cache
def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


class CalibrationSamples:
    """What `Codec.learn` is handed: calibration samples, each checked as it passes; can be iterated repeatedly.

    Attributes:
        sensitivity: how the tail's response depends on the features; None for codecs that do not ask for it.
    """

    def __init__(self, samples: Iterable[FeatureSet], codec: Codec, sensitivity: Sensitivity | None = None) -> None:
        self._samples, self._codec, self.sensitivity = samples, codec, sensitivity

    def __iter__(self) -> Iterator[FeatureSet]:
        for features in self._samples:
            self._codec._checked_sizes(features)
            yield features.with_given(None)


CODECS: Registry[type[Codec]] = Registry(
    "codec", Codec, package="lamofcbench.codecs", group="lamofcbench.codecs", listing="lamofcbench codecs"
)
