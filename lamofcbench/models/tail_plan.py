"""Which modules a tail can do without, found by experiment on any `nn.Module`.

With the outputs of some modules given, everything that fed only into them is dead weight. A module is replaced by a
stub, which returns a constant of the same shape, if the model's output stays the same to the last bit while the stub
returns NaN, and again while it returns noise: then nothing that the module computes reaches the output. (NaN spreads
through arithmetic; noise also shows in comparisons, which swallow NaN.)
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lamofcbench.errors import PluginError
from lamofcbench.models.injection import StandIn, first_tensor, replaced

Fill = Callable[[Tensor], Tensor]
"""Makes a tensor of the shape and dtype of a meta tensor."""


def map_tensors(function: Callable[[Tensor], Any], value: Any) -> Any:
    """A structure of tuples, lists and mappings with a function applied to its tensors, all else as it was."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(function, item) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(function, item) for item in value)
    if isinstance(value, Mapping):
        items = {key: map_tensors(function, item) for key, item in value.items()}
        return type(value)(**items) if hasattr(value, "__dataclass_fields__") else type(value)(items)  # type: ignore[call-arg]
    return value


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors of a structure, in order."""
    found: list[Tensor] = []
    map_tensors(found.append, value)
    return found


def zeros(like: Tensor) -> Tensor:
    """Zeros of a meta tensor's shape and dtype."""
    return torch.zeros(like.shape, dtype=like.dtype)


def poison(like: Tensor) -> Tensor:
    """NaN of a meta tensor's shape and dtype; ones where there is no NaN."""
    return torch.full(like.shape, torch.nan if like.is_floating_point() else 1, dtype=like.dtype)


def noise(like: Tensor) -> Tensor:
    """Wide noise of a meta tensor's shape and dtype, always the same; ones where it is not of floating point."""
    if not like.is_floating_point():
        return torch.ones(like.shape, dtype=like.dtype)
    return (1e3 * torch.randn(like.shape, generator=torch.Generator().manual_seed(0))).to(like.dtype)


def without(output: Any, places: Collection[int], stand_in: Any) -> Any:
    """A structure with something else in place of some of its tensors, named by their places among `tensors_of` it."""
    counter = itertools.count()
    return map_tensors(lambda tensor: stand_in if next(counter) in places else tensor, output)


def differing(first: Any, second: Any) -> set[int]:
    """The places of tensors, among `tensors_of` two structures, that are not equal; all if their numbers differ."""
    ones, others = tensors_of(first), tensors_of(second)
    if len(ones) != len(others):
        return set(range(len(ones)))
    return {place for place, (one, other) in enumerate(zip(ones, others, strict=True)) if not torch.equal(one, other)}


def same_bits(first: Any, second: Any) -> bool:
    """True where two structures hold tensors that are equal, NaN being equal to nothing."""
    return len(tensors_of(first)) == len(tensors_of(second)) > 0 and not differing(first, second)


class Constant(StandIn):
    """Returns the same output whatever it is given; hooks that watch the original see it.

    transformers collects ``output_hidden_states`` by such hooks.

    Args:
        original: the module whose place is taken.
        output: what it returns.
    """

    def __init__(self, original: nn.Module, output: Any) -> None:
        super().__init__(original)
        self.output = output
        self._forward_hooks = original._forward_hooks
        self._forward_hooks_with_kwargs = original._forward_hooks_with_kwargs

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """The constant."""
        return self.output


@dataclass
class Call:
    """What one module did in a forward pass: how often it was called, when first, when last, and its output."""

    count: int = 0
    start: int = 0
    end: int = 0
    output: Any = None  # tensors on the meta device: shapes and dtypes, no memory


@dataclass
class Recording:
    """One forward pass in which the outputs of some modules were given.

    Attributes:
        output: of the model.
        calls: path of a module to what it did.
    """

    output: Any = None
    calls: dict[str, Call] = field(default_factory=dict)


@contextlib.contextmanager
def overwritten(root: nn.Module, values: Mapping[str, Tensor]) -> Iterator[None]:
    """A model in which some modules run, but return given tensors.

    Args:
        root: the model.
        values: path of a module to what it returns in place of its own output (or of its output's first element).
    """

    def overwrite(path: str, value: Tensor) -> Callable[[nn.Module, Any, Any], Any]:
        # A copy, because the next module may work in place.
        return lambda module, arguments, output: with_first_tensor(output, value.clone(), path)

    # Before other hooks, which may collect outputs, as those of transformers do.
    handles = [
        root.get_submodule(path).register_forward_hook(overwrite(path, value), prepend=True)
        for path, value in values.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def with_first_tensor(output: Any, value: Tensor, name: str) -> Any:
    """A module's output with its tensor, or a tuple's first element, exchanged.

    Raises:
        PluginError: if the shapes differ.
    """
    original = first_tensor(output, name)
    if original.shape != value.shape:
        raise PluginError(f"{name!r} is given shape {list(value.shape)} where the model makes {list(original.shape)}")
    if isinstance(output, Tensor):
        return value
    rest = (value, *output[1:])
    return type(output)(*rest) if hasattr(output, "_fields") else type(output)(rest)


def record(root: nn.Module, run: Callable[[], Any], values: Mapping[str, Tensor]) -> Recording:
    """Runs a model with some outputs overwritten, and notes what each module does."""
    recording, clock = Recording(), iter(range(2**62))

    def watch(path: str) -> tuple[Callable[..., None], Callable[..., None]]:
        call = recording.calls.setdefault(path, Call())

        def before(module: nn.Module, arguments: Any) -> None:
            call.count += 1
            call.start = next(clock)

        def after(module: nn.Module, arguments: Any, output: Any) -> None:
            call.end = next(clock)
            call.output = map_tensors(lambda tensor: torch.empty_like(tensor, device="meta"), output)

        return before, after

    handles = []
    for path, module in root.named_modules():
        if path:
            before, after = watch(path)
            handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        with overwritten(root, values):
            recording.output = run()
    finally:
        for handle in handles:
            handle.remove()
    for path in values:
        if recording.calls[path].count != 1:
            raise PluginError(
                f"module {path!r} runs {recording.calls[path].count} times in a forward pass; a point runs once"
            )
    return recording


def run_swapped(
    root: nn.Module,
    run: Callable[[], Any],
    recording: Recording,
    values: Mapping[str, Tensor],
    stubs: list[str],
    fill: Fill,
) -> Any:
    """Runs a model in which points return given values, and stubs return filled constants, without running either."""
    device = next(iter(values.values())).device
    constants: dict[str, nn.Module] = {}
    for path, value in values.items():
        shapes = recording.calls[path].output
        whole = with_first_tensor(map_tensors(lambda like: fill(like).to(device), shapes), value.clone(), path)
        constants[path] = Constant(root.get_submodule(path), whole)
    for path in stubs:
        filled = map_tensors(lambda like: fill(like).to(device), recording.calls[path].output)
        constants[path] = Constant(root.get_submodule(path), filled)
    with replaced(root, constants):
        return run()


def is_proven(
    root: nn.Module,
    run: Callable[[], Any],
    recording: Recording,
    values: Mapping[str, Tensor],
    stubs: list[str],
    fills: tuple[Fill, ...] = (poison, noise, zeros),
) -> bool:
    """True if the output keeps its bits whatever the stubs return."""
    try:
        return all(
            same_bits(recording.output, run_swapped(root, run, recording, values, stubs, fill)) for fill in fills
        )
    except Exception:  # a module that is used in another way than by calling it, for example
        return False


def find_stubs(
    root: nn.Module, run: Callable[[], Any], recording: Recording, values: Mapping[str, Tensor]
) -> list[str]:
    """Paths of modules that the output does not depend on, outermost first.

    All candidates are tried at once, and only if that fails one by one.
    """
    candidates = _candidates(recording, values)
    outermost = [path for path in candidates if not any(_is_inside(path, other) for other in candidates)]
    if is_proven(root, run, recording, values, outermost):
        return outermost
    stubs: list[str] = []
    for path in candidates:  # an outer module stands before the modules in it
        if any(_is_inside(path, other) for other in stubs):
            continue
        if is_proven(root, run, recording, values, [*stubs, path]):
            stubs.append(path)
    return stubs


def _candidates(recording: Recording, points: Mapping[str, Tensor]) -> list[str]:
    """Modules that ran once before the last point was done, and returned tensors of floating point only."""
    last = max(recording.calls[path].end for path in points)
    found = []
    for path, call in recording.calls.items():
        related = any(path == point or _is_inside(path, point) or _is_inside(point, path) for point in points)
        tensors = tensors_of(call.output)
        floating = bool(tensors) and all(tensor.is_floating_point() for tensor in tensors)
        if not related and call.count == 1 and call.start < last and floating:
            found.append(path)
    return found


def _is_inside(path: str, other: str) -> bool:
    return path.startswith(f"{other}.")
