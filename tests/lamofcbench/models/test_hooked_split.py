"""The generic fallback splits any module, runs no more of it than it must, and refuses splits that are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from conftest_models import fill_with_nan, randomised
from torch import Tensor, nn

from lamofcbench.errors import PluginError
from lamofcbench.features import FeatureSet
from lamofcbench.models import HookedSplitModel


class Chain(nn.Module):
    """Convolutions one after the other, with activations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.middle = nn.Conv2d(4, 6, 3, stride=2)
        self.activation = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 5)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.activation(self.middle(self.stem(pixels))).mean(dim=(2, 3)))


class Skip(nn.Module):
    """A small U-Net: the way around the middle starts at the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.encoder = nn.Conv2d(4, 4, 3, padding=1)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.middle = nn.Conv2d(4, 4, 3, padding=1)
        self.decoder = nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        encoded = self.encoder(self.stem(pixels).tanh()).tanh()
        middle = self.middle(self.inner(encoded).tanh())
        return self.decoder(torch.cat([encoded, middle], dim=1))


class Out(NamedTuple):
    states: Tensor
    note: str


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, states: Tensor, gain: float = 1.0) -> Out:
        return Out(self.linear(states).tanh() * gain, "layer")


class Structured(nn.Module):
    """Integer inputs by keyword, tuples between layers, a dict out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 6)
        self.layers = nn.ModuleList(Layer() for _ in range(4))

    def forward(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        states = self.embedding(tokens) * mask[..., None]
        for layer in self.layers:
            states = layer(states, gain=1.5).states
        return {"states": states, "pooled": states.mean(dim=1)}


class StructuredSplit(HookedSplitModel):
    points: Mapping[str, str] = {"first": "layers.0", "second": "layers.1"}

    def preprocess(self, inputs: list[int]) -> dict[str, Tensor]:
        return {"tokens": torch.tensor(inputs), "mask": torch.ones(len(inputs))}

    def blank_input(self, features: FeatureSet) -> dict[str, Tensor]:
        length = len(features["second"])
        return {"tokens": torch.zeros(length, dtype=torch.int64), "mask": torch.zeros(length)}

    def postprocess(self, output: dict[str, Tensor]) -> Tensor:
        return output["pooled"]


def images(count: int = 3, side: int = 9) -> list[Tensor]:
    return list(torch.randn(count, 1, side, side, generator=torch.Generator().manual_seed(1)))


def chain(**settings: Any) -> HookedSplitModel:
    return HookedSplitModel(randomised(Chain()), {"features": "middle"}, **{"input_shape": (1, 9, 9), **settings})


def skip(**points: str) -> HookedSplitModel:
    return HookedSplitModel(randomised(Skip()), points, input_shape=(1, 9, 9))


def calls_of(module: nn.Module, run: Callable[[], Any]) -> list[str]:
    """Names of the leaf modules that run."""
    called: list[str] = []
    handles = [
        part.register_forward_pre_hook(lambda *_, name=name: called.append(name))
        for name, part in module.named_modules()
        if not list(part.children())
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return called


MODELS: dict[str, tuple[Callable[[], HookedSplitModel], list[Any]]] = {
    "chain": (chain, images()),
    "inner layer": (lambda: HookedSplitModel(randomised(Chain()), {"f": "stem.0"}, input_shape=(1, 9, 9)), images()),
    "two paths": (lambda: skip(around="encoder", middle="middle"), images()),
    "structures": (lambda: StructuredSplit(randomised(Structured())), [[1, 2, 3], [4, 5], [8, 1, 0]]),
}


@pytest.fixture(params=MODELS, ids=lambda name: name.replace(" ", "-"))
def case(request: Any) -> tuple[HookedSplitModel, list[Any]]:
    make, samples = MODELS[request.param]
    return make(), samples


def test_reinjected_features_change_nothing(case: tuple[HookedSplitModel, list[Any]]) -> None:
    split_model, samples = case
    for sample in samples * 2:  # the first run of a shape makes the plan, the second follows it
        assert torch.equal(split_model.tail([split_model.front(sample)])[0], split_model.full(sample))


def test_sets_of_different_shapes_are_batched_by_shape(case: tuple[HookedSplitModel, list[Any]]) -> None:
    split_model, samples = case
    features = [split_model.front(sample) for sample in samples]
    for _ in range(2):
        torch.testing.assert_close(split_model.tail(features), [split_model.full(sample) for sample in samples])


def test_the_tail_needs_no_weight_of_the_front(case: tuple[HookedSplitModel, list[Any]]) -> None:
    split_model, samples = case
    features = [split_model.front(sample) for sample in samples]
    split_model.tail(features)
    before = split_model.tail(features)
    fill_with_nan(split_model.front_modules())
    assert all(torch.equal(one, other) for one, other in zip(split_model.tail(features), before, strict=True))
    assert split_model.full(samples[0]).isnan().any()


def test_every_feature_is_alive_but_one_that_another_one_hides(case: tuple[HookedSplitModel, list[Any]]) -> None:
    split_model, samples = case
    features = split_model.front(samples[0])
    before = split_model.tail([features])[0]
    for name in features:
        changed = FeatureSet({key: t + (key == name) for key, t in features.tensors.items()})
        assert torch.equal(split_model.tail([changed])[0], before) == (name == "first")


def test_the_front_stops_at_the_last_point_and_the_tail_starts_there() -> None:
    split_model = chain()
    features = split_model.front(images()[0])
    split_model.tail([features])
    assert calls_of(split_model.module, lambda: split_model.front(images()[0])) == [
        "stem.0",
        "stem.1",
        "stem.2",
        "middle",
    ]
    assert calls_of(split_model.module, lambda: split_model.tail([features])) == ["activation", "head"]


def test_the_fallback_finds_what_a_skip_connection_still_needs() -> None:
    split_model = skip(around="encoder", middle="middle")
    features = split_model.front(images()[0])
    split_model.tail([features])
    assert calls_of(split_model.module, lambda: split_model.tail([features])) == ["decoder"]
    names = {module: name for name, module in split_model.module.named_modules()}
    assert sorted(names[module] for module in split_model.front_modules()) == ["encoder", "inner", "middle", "stem"]


def test_the_front_modules_are_known_before_the_first_tail() -> None:
    split_model = chain()
    names = {module: name for name, module in split_model.module.named_modules()}
    assert [names[module] for module in split_model.front_modules()] == ["stem", "middle"]


def test_front_modules_of_a_blank_input_that_reads_shapes_are_known_after_the_first_front() -> None:
    split_model = StructuredSplit(randomised(Structured()))
    with pytest.raises(PluginError, match=r"StructuredSplit.blank_input reads 'second'.*call front\(sample\) before"):
        split_model.front_modules()
    features = split_model.front([1, 2, 3])
    before = split_model.front_modules()
    split_model.tail([features])
    assert split_model.front_modules() == before


def test_points_with_a_way_past_them_are_refused() -> None:
    split_model = skip(middle="middle")
    with pytest.raises(PluginError, match="depends on more than 'middle'; add a point on every path"):
        split_model.tail([split_model.front(images()[0])])


def test_a_module_that_cannot_be_swapped_runs_whole() -> None:
    class Checking(Chain):
        """Looks at what goes into the middle, and at a weight behind the swapped module's back."""

        def forward(self, pixels: Tensor) -> Tensor:
            states = self.stem(pixels)
            if states.isnan().any() or states.abs().max() == 0:
                raise TypeError("these are no activations")
            return self.head(self.activation(self.middle(states)).mean(dim=(2, 3)))

    class Checked(HookedSplitModel):
        def blank_input(self, features: FeatureSet) -> Tensor:
            return images()[0]

    split_model = Checked(randomised(Checking()), {"features": "middle"})
    features = [split_model.front(sample) for sample in images()]
    for _ in range(2):
        torch.testing.assert_close(split_model.tail(features), [split_model.full(sample) for sample in images()])
    assert "stem.0" in calls_of(split_model.module, lambda: split_model.tail(features))


def test_given_outputs_survive_modules_that_work_in_place() -> None:
    class Shifted(Chain):
        def forward(self, pixels: Tensor) -> Tensor:
            states = self.middle(self.stem(pixels))
            states += 1  # not idempotent: a second run on the same memory would differ
            return self.head(states.mean(dim=(2, 3)))

    split_model = HookedSplitModel(randomised(Shifted()), {"features": "middle"}, input_shape=(1, 9, 9))
    for sample in images() * 2:
        features = split_model.front(sample)
        copy = features["features"].clone()
        assert torch.equal(split_model.tail([features])[0], split_model.full(sample))
        assert torch.equal(features["features"], copy)


def test_a_point_that_runs_twice_is_refused() -> None:
    class Twice(Chain):
        def forward(self, pixels: Tensor) -> Tensor:
            self.middle(self.stem(pixels))
            return super().forward(pixels)

    split_model = HookedSplitModel(Twice(), {"features": "middle"}, input_shape=(1, 9, 9))
    with pytest.raises(PluginError, match="'middle' runs 2 times"):
        split_model.tail([split_model.front(images()[0])])


def test_mistakes_of_an_author_are_named() -> None:
    with pytest.raises(PluginError, match="has no points"):
        HookedSplitModel(Chain())
    with pytest.raises(PluginError, match="did you mean 'middle'"):
        HookedSplitModel(Chain(), {"features": "midle"})
    with pytest.raises(PluginError, match="needs input_shape"):
        split_model = HookedSplitModel(Chain(), {"features": "middle"})
        split_model.tail([split_model.front(images()[0])])
    with pytest.raises(PluginError, match="given shape"):
        split_model = chain()
        split_model.tail([FeatureSet({"features": torch.zeros(6, 2, 2)})])
    with pytest.raises(PluginError, match="never called"):
        unused = Chain()
        unused.extra = nn.Linear(1, 1)
        HookedSplitModel(unused, {"features": "extra"}).front(images()[0])


def test_the_module_is_as_before_after_use_and_after_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    split_model = chain()
    parts, before = dict(split_model.module.named_modules()), split_model.full(images()[0])
    features = split_model.front(images()[0])
    split_model.tail([features])
    monkeypatch.setattr(split_model.module.head, "forward", lambda states: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        split_model.tail([features])
    monkeypatch.undo()
    assert dict(split_model.module.named_modules()) == parts
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in parts.values())
    assert torch.equal(split_model.full(images()[0]), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_stored_in_half_precision_are_computed_on_in_full(dtype: Any) -> None:
    split_model = chain(postprocess=lambda output: output)
    stored = split_model.front(images()[0])["features"].to(dtype)
    narrow, wide = FeatureSet({"features": stored}), FeatureSet({"features": stored.float()})
    assert torch.equal(split_model.tail([narrow])[0], split_model.tail([wide])[0])


def test_functions_may_take_the_place_of_methods() -> None:
    split_model = chain(preprocess=lambda sample: torch.tensor(sample), postprocess=lambda output: int(output.argmax()))
    sample = images()[0].tolist()
    assert split_model.tail([split_model.front(sample)]) == [split_model.full(sample)]
    assert type(split_model.full(sample)) is int


# ------------------------------------------------------------------------------------ models of transformers


@pytest.fixture(scope="module")
def decoder() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4, "vocab_size": 20}
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2))


class Decoder(HookedSplitModel):
    """Tokens in, with no blank input of its own."""

    points: Mapping[str, str] = {"hidden": "model.layers.1"}
    keywords: Mapping[str, Any] = {"output_hidden_states": True}

    def postprocess(self, output: Any) -> tuple[Tensor, Tensor]:
        return output.logits, output.hidden_states[3]


def test_hidden_states_behind_the_point_come_with_the_output(decoder: Any) -> None:
    split_model = Decoder(decoder)
    for ids in (torch.arange(5), torch.arange(9), torch.arange(5)):  # a length that is known follows the plan
        features = split_model.front(ids)
        for one, other in zip(split_model.tail([features])[0], split_model.full(ids), strict=True):
            assert torch.equal(one, other)
    assert "model.layers.0" in split_model._stubs


@pytest.mark.parametrize(
    "read",
    [
        lambda output: output.hidden_states[1].sum(),
        lambda output: output.hidden_states[1] + 1,
        lambda output: 1 - output.hidden_states[1],
        lambda output: torch.stack([output.logits, output.hidden_states[0]]),
        lambda output: torch.softmax(output.hidden_states[0], -1),
        lambda output: list(output.hidden_states[0]),
        lambda output: float(output.hidden_states[0]),
        lambda output: np.asarray(output.hidden_states[0]),
        lambda output: output.logits @ output.hidden_states[0],
        lambda output: output.logits if output.hidden_states[0] else None,
    ],
)
def test_hidden_states_before_the_point_are_no_output_of_a_tail(decoder: Any, read: Any) -> None:
    split_model = Decoder(decoder, postprocess=read)
    features = split_model.front(torch.arange(5))
    for _ in range(2):
        with pytest.raises(PluginError, match=r"Decoder reads a part of the output that depends on more than 'hidden'"):
            split_model.tail([features])


def test_an_error_of_an_authors_own_stays_what_it_is(decoder: Any) -> None:
    split_model = Decoder(decoder, postprocess=lambda output: {}[output.logits.shape])
    features = split_model.front(torch.arange(5))
    with pytest.raises(KeyError, match="5, 20"):
        split_model.tail([features])


def test_what_is_withheld_keeps_its_place_among_outputs(decoder: Any) -> None:
    class Outer(nn.Module):
        """Puts out what it was given before what it makes of it."""

        main_input_name = "input_ids"

        def __init__(self) -> None:
            super().__init__()
            self.decoder = decoder.model

        def forward(self, ids: Tensor) -> Any:
            from transformers.modeling_outputs import BaseModelOutput

            states = self.decoder(input_ids=ids, output_hidden_states=True).hidden_states
            return BaseModelOutput(last_hidden_state=states[0], hidden_states=states, attentions=states[3:])

    split_model = HookedSplitModel(
        Outer(), {"hidden": "decoder.layers.1"}, postprocess=lambda output: (output[1][3], output[2][0])
    )
    features = split_model.front(torch.arange(5))
    for one, other in zip(split_model.tail([features])[0], split_model.full(torch.arange(5)), strict=True):
        assert torch.equal(one, other)


def test_only_a_module_that_reads_tokens_needs_no_input_shape() -> None:
    class Positioned(Chain):
        """Embeds positions, not its input, as vision models do."""

        def __init__(self) -> None:
            super().__init__()
            self.positions = nn.Embedding(9, 1)

        def forward(self, pixels: Tensor) -> Tensor:
            return super().forward(pixels + self.positions.weight)

    split_model = HookedSplitModel(Positioned(), {"features": "middle"})
    with pytest.raises(PluginError, match=r"needs input_shape, .* or input_dtype = torch\.int64 where it reads tokens"):
        split_model.tail([split_model.front(images()[0])])


def test_an_output_that_is_the_prediction_as_a_whole_may_not_have_such_parts(decoder: Any) -> None:
    split_model = HookedSplitModel(
        decoder, Decoder.points, preprocess=lambda ids: {"input_ids": ids, **Decoder.keywords}
    )
    with pytest.raises(PluginError, match="or write postprocess, which reads the other parts"):
        split_model.blank_input = lambda features: {"input_ids": torch.zeros(5, dtype=torch.int64), **Decoder.keywords}  # type: ignore[method-assign]
        split_model.tail([split_model.front(torch.arange(5))])


class Levels(nn.Module):
    """A head on two levels, which transformers collects."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder, self.head = decoder, nn.Linear(32, 5)

    def forward(self, ids: Tensor) -> Tensor:
        states = self.decoder(input_ids=ids, output_hidden_states=True).hidden_states
        return self.head(torch.cat([states[1], states[3]], dim=-1))


def test_two_levels_that_both_feed_the_output_are_two_points(decoder: Any) -> None:
    class Split(HookedSplitModel):
        points: Mapping[str, str] = {"first": "decoder.layers.0", "second": "decoder.layers.2"}
        input_dtype = torch.int64

    split_model = Split(Levels(decoder.model))
    ids = torch.arange(6)
    features = split_model.front(ids)
    for _ in range(2):
        assert torch.equal(split_model.tail([features])[0], split_model.full(ids))
    for name in Split.points:
        changed = FeatureSet({key: tensor + (key == name) for key, tensor in features.tensors.items()})
        assert not torch.equal(split_model.tail([changed])[0], split_model.full(ids))
    with pytest.raises(PluginError, match="depends on more than 'second'"):
        Split(Levels(decoder.model), {"second": "decoder.layers.2"}).tail([features])


def test_two_outputs_may_come_from_two_points() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
            first = self.first(values)
            return self.head(first), self.head(self.second(first.tanh()))

    split_model = HookedSplitModel(Both(), {"a": "first", "b": "second"}, input_shape=(4,))
    values = torch.randn(4)
    for _ in range(2):
        out = split_model.tail([split_model.front(values)])[0]
        assert all(torch.equal(one, other) for one, other in zip(out, split_model.full(values), strict=True))


def test_what_is_no_tensor_is_the_same_for_all_samples_of_a_batch() -> None:
    split_model = chain()
    with pytest.raises(PluginError, match="for one sample only"):
        split_model._batch([{"flag": True}, {"flag": False}])
    assert split_model._batch([{"flag": None}, {"flag": None}]) == {"flag": None}
