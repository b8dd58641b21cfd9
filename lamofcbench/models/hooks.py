"""The generic split model: any `nn.Module`, split at the outputs of named submodules."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lamofcbench.errors import PluginError, UnknownNameError, shown
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import ResponseKind, SplitModel
from lamofcbench.models.injection import capture
from lamofcbench.models.tail_plan import (
    Fill,
    Recording,
    differing,
    find_stubs,
    is_proven,
    map_tensors,
    noise,
    overwritten,
    poison,
    record,
    run_swapped,
    tensors_of,
    without,
    zeros,
)
from lamofcbench.models.withheld import Withheld
from lamofcbench.scenarios.base import Scenario


class HookedSplitModel(SplitModel):
    """Any module that takes batches, split at the outputs of its submodules.

    Subclass it in a file of your own, say what to split and how to load it, and name it as a scenario's adapter
    (``":MyModel"`` for a class in the scenario's file)::

        class MyModel(HookedSplitModel):
            points = {"features": "conv"}          # tensor name: path of the submodule that makes it
            input_shape = (1, 28, 28)              # what preprocess returns, no batch axis

            @classmethod
            def load(cls, scenario, directory, device):
                network = MyNetwork()
                network.load_state_dict(load_file(directory / "model.safetensors"))
                return cls(network, device=device)

            def preprocess(self, inputs):          # a raw sample to the module's input
                return torch.from_numpy(inputs)[None] / 255

            def postprocess(self, output):         # the module's output for one sample to a prediction
                return int(output.argmax())

            response_kind = "logits"               # if that output is logits, or "values"; see `respond`; codecs
                                                   # that need responses are run where the class says so

    The front runs the module until the last point. The tail runs it with the points' outputs given; modules that no
    longer matter are found by experiment (see `tail_plan`) and not run, and where that fails the whole module runs.
    Either way the tail proves first that its output does not depend on the raw input, which a receiver does not have.
    Of an output of several tensors, as transformers makes them with ``output_hidden_states``, those that do depend on
    it are withheld: what `postprocess` and `respond` find in their place raises when it is used.

    Instances are not reentrant: one front or tail at a time.

    Args:
        module: the network; the first axis of its inputs, features and outputs is the batch.
        points: tensor name to path of the submodule whose output it is; None to take the class attribute.
        input_shape: shape of one preprocessed input without the batch axis; None to take the class attribute.
        preprocess: takes the place of the method.
        postprocess: takes the place of the method.
        response_kind: what the module's output is, ``logits`` or ``values``; None to take the class attribute.
        respond: takes the place of the method.
        device: a torch device.

    Raises:
        PluginError: if there are no points, or a path does not exist.
    """

    name = "hooks"
    points: Mapping[str, str] = {}
    input_shape: tuple[int, ...] | None = None
    input_dtype: torch.dtype | None = None
    """What `preprocess` returns; None for the module's own dtype, or for tokens where `input_shape` is not said."""
    keywords: Mapping[str, Any] = {}
    """What the module is called with besides its input, such as ``{"output_hidden_states": True}``."""

    def __init__(
        self,
        module: nn.Module,
        points: Mapping[str, str] | None = None,
        *,
        input_shape: tuple[int, ...] | None = None,
        preprocess: Callable[[Any], Any] | None = None,
        postprocess: Callable[[Any], Any] | None = None,
        response_kind: ResponseKind | None = None,
        respond: Callable[[Any], Tensor] | None = None,
        device: str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.module = module.to(self.device).eval()
        self.points = dict(points if points is not None else self.points)
        if input_shape is not None:
            self.input_shape = input_shape
        if preprocess is not None:
            self.preprocess = preprocess  # type: ignore[method-assign, assignment]
        if postprocess is not None:
            self.postprocess = postprocess  # type: ignore[method-assign, assignment]
        if response_kind is not None:
            self.response_kind = response_kind
        if respond is not None:
            self.respond = respond  # type: ignore[method-assign, assignment]
        self._check_points()
        self.dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
        self._seen: FeatureSet | None = None  # shapes and side information of the last set, whose values are all zero
        self._stubs: list[str] | None = None
        self._recordings: dict[Any, Recording | None] = {}
        self._lengths: dict[Any, int] = {}  # positions of the responses to features of known shapes
        self._withheld: set[int] = set()  # places of the output's tensors that depend on the raw input

    @classmethod
    def load(cls, scenario: Scenario, directory: Path | None, device: str) -> SplitModel:
        """The model of a scenario; a subclass says how."""
        raise PluginError(
            f"{cls.__name__} does not say how to load its module; subclass HookedSplitModel in a file of your own, "
            "write its load, and name the adapter my_file.py:MyModel"
        )

    # ----------------------------------------------------------------------------------- what an author may write

    def preprocess(self, inputs: Any) -> Any:
        """The module's input for one raw sample: a tensor, a tuple of them, or a dict of keywords; no batch axis."""
        return torch.as_tensor(inputs)

    def postprocess(self, output: Any) -> Any:
        """The prediction from the module's output for one sample; no batch axis."""
        return output

    def respond(self, output: Any) -> Tensor:
        """The response ``[N, K]`` from the module's output for one sample; no batch axis.

        Here the output itself, which has to be a tensor: its last axis holds the K values of a position. Override it
        where classes lie on another axis, or where the output is more than a tensor; without losing gradients.
        """
        if not isinstance(output, Tensor):
            raise PluginError(
                f"{type(self).__name__} puts out a {type(output).__name__}; write respond, which makes a tensor of it"
            )
        return output.reshape(-1, output.shape[-1]) if output.dim() else output.reshape(1, 1)

    def side(self, inputs: Any) -> dict[str, int]:
        """The side information of a raw sample, such as its size; none here."""
        return {}

    def blank_input(self, features: FeatureSet) -> Any:
        """Stands in for the preprocessed input of a sample, which the tail does not have: zeros of `input_shape`.

        Where no `input_shape` is said, a module whose ``main_input_name`` is ``input_ids``, or whose `input_dtype` is
        one of integers, is taken to read tokens, as many as the first feature has rows. Override it where the shape
        varies otherwise and features or side information tell it, or where the module needs a tuple or a dict. Its
        values never matter, or the tail raises.
        """
        shape, dtype = self.input_shape, self.input_dtype or self.dtype
        if shape is None and (
            getattr(self.module, "main_input_name", "") == "input_ids" or not dtype.is_floating_point
        ):
            rows = features[next(iter(self.points))].shape[:-1]
            shape, dtype = rows[-1:] or None, self.input_dtype or torch.int64
        if shape is None:
            raise PluginError(
                f"{type(self).__name__} needs input_shape, the shape of a preprocessed input, or input_dtype = "
                "torch.int64 where it reads tokens"
            )
        return torch.zeros(shape, dtype=dtype)

    # ------------------------------------------------------------------------------------------------ the contract

    @torch.no_grad()
    def front(self, inputs: Any) -> FeatureSet:
        """The outputs of the points for one raw sample; what comes after the last point does not run."""
        tensors = self._captured(self._batch([self.preprocess(inputs)]))
        features = FeatureSet({name: tensor[0].cpu() for name, tensor in tensors.items()}, self.side(inputs))
        self._seen = _without_values(features)
        return features

    @torch.no_grad()
    def tail(self, batch: Sequence[FeatureSet]) -> list[Any]:
        """A prediction for each feature set; sets of the same shapes run together.

        Raises:
            PluginError: if the output also depends on the raw input, so that the points do not split the module.
        """
        predictions: list[Any] = [None] * len(batch)
        for position, output in self._outputs(batch):
            predictions[position] = self.postprocess(output)
        return predictions

    @torch.no_grad()
    def full(self, inputs: Any) -> Any:
        """The unsplit module's prediction for one raw sample."""
        return self.postprocess(_row(self._call(self._batch([self.preprocess(inputs)])), 0))

    def response(self, batch: Sequence[FeatureSet]) -> Tensor:
        """What `respond` makes of the module's outputs, where `response_kind` says what they are."""
        if self.response_kind is None:
            return super().response(batch)
        responses: list[Tensor] = [torch.empty(0, 0)] * len(batch)
        for position, output in self._outputs(batch):
            responses[position] = self._response_of(batch[position], output)
        return pad_sequence(responses, batch_first=True)

    def response_lengths(self, batch: Sequence[FeatureSet]) -> list[int]:
        """The positions of each response; features of shapes that were not met yet are run for it."""
        unknown = [features for features in batch if _shapes(features) not in self._lengths]
        if unknown:
            with torch.no_grad():
                self.response(unknown)
        return [self._lengths[_shapes(features)] for features in batch]

    @torch.no_grad()
    def tail_and_response(self, batch: Sequence[FeatureSet]) -> tuple[list[Any], Tensor]:
        """Both from the same outputs."""
        if self.response_kind is None or not self.tail_and_response_are_of(HookedSplitModel):
            return super().tail_and_response(batch)
        predictions: list[Any] = [None] * len(batch)
        responses: list[Tensor] = [torch.empty(0, 0)] * len(batch)
        for position, output in self._outputs(batch):
            responses[position] = self._response_of(batch[position], output)
            predictions[position] = self.postprocess(output)
        return predictions, pad_sequence(responses, batch_first=True)

    def front_modules(self) -> list[nn.Module]:
        """The points' modules and those found not to matter behind them.

        Before the first tail they are found on a blank input, of the shapes of the last front where there was one.

        Raises:
            PluginError: if the blank input takes features to know, and no front has run yet.
        """
        if self._stubs is None:
            with torch.no_grad():
                blank = self._batch([self._blank_input_of_any()])
                captured = self._captured(blank)
                self._continued({path: captured[name] for name, path in self.points.items()}, blank)
        return [self.module.get_submodule(path) for path in (*(self._stubs or ()), *self.points.values())]

    # --------------------------------------------------------------------------------------------------- internals

    def _check_points(self) -> None:
        if not self.points:
            raise PluginError(f"{type(self).__name__} has no points; set points = {{tensor name: submodule path}}")
        known = [path for path, _ in self.module.named_modules() if path]
        for path in self.points.values():
            if path not in known:
                raise PluginError(str(UnknownNameError(f"submodule of {type(self.module).__name__}", path, known)))

    def _blank_input_of_any(self) -> Any:
        if self._seen is not None:
            return self.blank_input(self._seen)
        try:
            return self.blank_input(FeatureSet({}))
        except KeyError as error:
            raise PluginError(
                f"{type(self).__name__}.blank_input reads {error}, which is known once a sample has been seen; call "
                "front(sample) before front_modules()"
            ) from error

    def _captured(self, inputs: Any) -> dict[str, Tensor]:
        modules = {name: self.module.get_submodule(path) for name, path in self.points.items()}
        captured = capture(lambda: self._call(inputs), modules)
        for name, tensor in captured.items():
            if tensor.dim() < 1 or len(tensor) != 1:
                raise PluginError(f"feature {name!r} has shape {list(tensor.shape)}; its first axis is not the batch")
        return captured

    def _batch(self, inputs: Sequence[Any]) -> Any:
        """Inputs of single samples as one batch on the device, floating point ones in compute precision."""
        first = inputs[0]
        if isinstance(first, Mapping):
            return {key: self._batch([item[key] for item in inputs]) for key in first}
        if isinstance(first, tuple):
            return tuple(self._batch([item[position] for item in inputs]) for position in range(len(first)))
        if not isinstance(first, Tensor):
            if any(isinstance(item, Tensor) or item != first for item in inputs):
                raise PluginError(
                    f"{type(self).__name__}.preprocess returns {shown(first)} beside tensors for one sample only"
                )
            return first
        stacked = torch.stack(list(inputs)).to(self.device)
        return stacked.to(self.dtype) if stacked.is_floating_point() else stacked

    def _call(self, inputs: Any) -> Any:
        if isinstance(inputs, Mapping):
            return self.module(**{**self.keywords, **inputs})
        return self.module(*(inputs if isinstance(inputs, tuple) else (inputs,)), **self.keywords)

    def _continue(self, inputs: Any) -> Any:
        """The same without what depends on the raw input."""
        return self._without_withheld(self._call(inputs))

    def _without_withheld(self, output: Any) -> Any:
        reason = (
            f"{type(self).__name__} reads a part of the output that depends on more than {self._named_points}, which a "
            "tail does not have; add a point on every path that leads past them"
        )
        return without(output, self._withheld, Withheld(reason))

    @property
    def _named_points(self) -> str:
        return ", ".join(map(repr, self.points))

    def _outputs(self, batch: Sequence[FeatureSet]) -> Iterator[tuple[int, Any]]:
        """Positions in a batch and the module's outputs for them; sets of the same shapes run together."""
        for positions in _by_shape(batch):
            group = [batch[position] for position in positions]
            values = {
                path: torch.stack([features[name] for features in group]).to(self.device, self.dtype)
                for name, path in self.points.items()
            }
            output = self._continued(values, self._batch([self.blank_input(features) for features in group]))
            yield from ((position, _row(output, row)) for row, position in enumerate(positions))

    def _response_of(self, features: FeatureSet, output: Any) -> Tensor:
        response = self.respond(output).clone()  # postprocess may write to the output
        self._lengths[_shapes(features)] = len(response)
        return response

    def _continued(self, values: Mapping[str, Tensor], inputs: Any) -> Any:
        """The module's output with the points' outputs given."""
        key = tuple(tuple(tensor.shape) for tensor in (*values.values(), *tensors_of(inputs)))
        if key not in self._recordings:
            with torch.no_grad():  # plans compare bits
                output = self._planned(key, values, inputs)
            if not torch.is_grad_enabled():
                return output
        recording = self._recordings[key]
        if recording is None:
            with overwritten(self.module, values):
                return self._continue(inputs)
        run = functools.partial(self._continue, inputs)
        return run_swapped(self.module, run, recording, values, self._stubs or [], zeros)

    def _planned(self, key: Any, values: Mapping[str, Tensor], inputs: Any) -> Any:
        """The same at the first time for these shapes: the whole module runs, and the plan is made and proven."""
        run = functools.partial(self._continue, inputs)
        recording = record(self.module, run, values)
        if self._stubs is None:
            self._withheld = self._dependent(recording.output, values, inputs)
            recording.output = self._without_withheld(recording.output)
            self._stubs = find_stubs(self.module, run, recording, values)
        # One kind of filling is enough where only the shapes are new.
        proven = is_proven(self.module, run, recording, values, self._stubs, fills=(poison,))
        output, recording.output = recording.output, None
        self._recordings[key] = recording if proven else None
        return output

    def _dependent(self, output: Any, values: Mapping[str, Tensor], inputs: Any) -> set[int]:
        """The places of the output's tensors that depend on the raw input.

        Raises:
            PluginError: if all do, or predictions are all of the output, or nothing can be shown.
        """
        tried, dependent = 0, set[int]()
        for fill in (poison, noise):
            other = map_tensors(functools.partial(_filled, fill), inputs)
            try:
                with overwritten(self.module, values):
                    dependent |= differing(output, self._call(other))
            except Exception:  # an input that the module refuses, in whatever way, proves nothing
                continue
            tried += 1
        if not tried:
            raise PluginError(
                f"{type(self).__name__}: the module refuses every other input, so nothing shows that its output "
                "depends on the points alone"
            )
        whole = getattr(self.postprocess, "__func__", None) is HookedSplitModel.postprocess
        if len(dependent) == len(tensors_of(output)) or (dependent and whole):
            raise PluginError(
                f"{type(self).__name__}: the output depends on more than {self._named_points}; "
                "add a point on every path that leads past them"
                + (", or write postprocess, which reads the other parts of the output" if whole else "")
                + " (or the module is not deterministic)"
            )
        return dependent


def _without_values(features: FeatureSet) -> FeatureSet:
    """A set of the same shapes, dtypes and side information that holds no memory."""
    zeros_of = {name: torch.zeros((), dtype=t.dtype).expand(t.shape) for name, t in features.tensors.items()}
    return FeatureSet(zeros_of, features.side)


def _filled(fill: Fill, tensor: Tensor) -> Tensor:
    return fill(tensor).to(tensor.device)


def _row(output: Any, row: int) -> Any:
    """One sample's part of an output."""
    return map_tensors(lambda tensor: tensor[row], output)


def _by_shape(batch: Sequence[FeatureSet]) -> Iterable[list[int]]:
    """Positions in a batch, grouped by the shapes and side information of the sets."""
    groups: dict[Any, list[int]] = {}
    for position, features in enumerate(batch):
        groups.setdefault(_shapes(features), []).append(position)
    return groups.values()


def _shapes(features: FeatureSet) -> Any:
    """The shapes and side information of a set."""
    shapes = tuple((name, tuple(tensor.shape)) for name, tensor in features.tensors.items())
    return shapes, tuple(sorted(features.side.items()))
