"""A hooked module's output is its response where the author says what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from conftest_models import fill_with_nan, randomised
from torch import Tensor, nn

from lamofcbench.errors import PluginError
from lamofcbench.features import FeatureSet
from lamofcbench.models import HookedSplitModel


class Pooled(nn.Module):
    """Classes of an image of any size, after activations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True))
        self.head = nn.Linear(4, 5)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.stem(pixels).mean(dim=(2, 3)))


class Mapped(nn.Module):
    """A class at each pixel, channels first, beside something that is no tensor of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.activation = nn.Tanh()
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"map": self.head(self.activation(self.stem(pixels)))}


class Classifier(HookedSplitModel):
    points: Mapping[str, str] = {"features": "stem.0"}
    input_shape = (1, 9, 9)
    response_kind = "logits"

    def postprocess(self, output: Tensor) -> int:
        return int(output.argmax())


def classifier() -> Classifier:
    return Classifier(randomised(Pooled()))


def segmenter() -> HookedSplitModel:
    class Sized(HookedSplitModel):
        def blank_input(self, features: FeatureSet) -> Tensor:
            height, width = features["features"].shape[1:]
            return torch.zeros(1, height + 2, width + 2)

    return Sized(
        randomised(Mapped()),
        {"features": "stem"},
        postprocess=lambda output: output["map"].argmax(0),
        response_kind="logits",
        respond=lambda output: output["map"].flatten(1).T,
    )


def images(*sides: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, side, side + 1, generator=generator) for side in sides]


def test_the_output_chooses_what_the_tail_says() -> None:
    model = classifier()
    features = [model.front(image) for image in torch.randn(4, 1, 9, 9, generator=torch.Generator().manual_seed(3))]
    response = model.response(features)
    assert response.shape == (4, 1, 5) and model.response_lengths(features) == [1] * 4
    assert response[:, 0].argmax(-1).tolist() == model.tail(features)
    predictions, together = model.tail_and_response(features)
    assert predictions == model.tail(features) and torch.equal(together, response)


def test_outputs_of_other_forms_say_how_they_respond() -> None:
    model = segmenter()
    features = [model.front(image) for image in images(9, 7, 9)]
    assert model.response_lengths(features) == [7 * 8, 5 * 6, 7 * 8]  # before any response
    response = model.response(features)
    assert response.shape == (3, 56, 3) and not response[1, 30:].any()
    for row, prediction in zip(response, model.tail(features), strict=True):
        assert torch.equal(row[: prediction.numel()].argmax(-1).reshape(prediction.shape), prediction)
    assert all(map(torch.equal, model.tail_and_response(features)[0], model.tail(features)))


@pytest.mark.parametrize("make", [classifier, segmenter])
def test_gradients_reach_the_features_of_their_own_sample_whatever_the_front_weighs(make: Any) -> None:
    model = make()
    sides = [(9, 9), (9, 9)] if make is classifier else [(9, 10), (7, 8)]
    features = [model.front(torch.randn(1, *side, generator=torch.Generator().manual_seed(4))) for side in sides]
    before = model.response(features)
    fill_with_nan(model.front_modules())
    assert torch.equal(model.response(features), before)
    leaves = [{name: tensor.clone().requires_grad_() for name, tensor in one.tensors.items()} for one in features]
    response = model.response([FeatureSet(tensors) for tensors in leaves])
    found = torch.autograd.grad(
        response[0].square().sum(), [tensors["features"] for tensors in leaves], allow_unused=True
    )
    assert torch.isfinite(found[0]).all() and found[0].any()
    assert found[1] is None or not found[1].any()
    with torch.no_grad():
        moved = FeatureSet({"features": features[0]["features"] + 1e-2})
        change = model.response([moved])[0].square().sum() - model.response([features[0]])[0].square().sum()
    assert float(change) == pytest.approx(1e-2 * float(found[0].sum()), rel=0.1, abs=1e-3)


def test_values_of_any_number_of_axes_are_positions_of_the_last_one() -> None:
    network = nn.Sequential(nn.Identity(), nn.Identity())
    model = HookedSplitModel(network, {"x": "0"}, input_shape=(2, 3, 4), response_kind="values")
    values = torch.randn(2, 3, 4)
    assert torch.equal(model.response([model.front(values)])[0], values.reshape(6, 4))
    assert model.respond(torch.tensor(3.0)).shape == (1, 1)


def test_a_model_whose_author_says_nothing_shows_nothing() -> None:
    silent = HookedSplitModel(randomised(Pooled()), {"features": "stem.0"}, input_shape=(1, 9, 9))
    features = [silent.front(torch.zeros(1, 9, 9))]
    assert silent.response_kind is None
    with pytest.raises(PluginError, match="shows no responses"):
        silent.response(features)


def test_an_output_that_is_no_tensor_asks_for_respond() -> None:
    model = HookedSplitModel(randomised(Mapped()), {"features": "stem"}, input_shape=(1, 9, 9), response_kind="logits")
    features = [model.front(torch.zeros(1, 9, 9))]
    with pytest.raises(PluginError, match="puts out a dict; write respond"):
        model.response(features)


def test_a_subclass_with_a_tail_of_its_own_predicts_by_that() -> None:
    class Shifted(Classifier):
        def tail(self, batch: Any) -> list[Any]:
            return [label + 10 for label in super().tail(batch)]

    model = Shifted(randomised(Pooled()))
    features = [model.front(torch.ones(1, 9, 9))]
    assert model.tail_and_response(features)[0] == model.tail(features) and model.tail(features)[0] >= 10


def test_a_postprocess_that_writes_to_the_output_does_not_change_the_response() -> None:
    network = nn.Sequential(nn.Identity(), nn.Identity())
    model = HookedSplitModel(
        network, {"x": "0"}, input_shape=(3,), response_kind="values", postprocess=lambda output: output.zero_()
    )
    features = [model.front(torch.ones(3))]
    assert model.tail_and_response(features)[1].tolist() == [[[1.0, 1.0, 1.0]]]


def test_a_class_says_before_it_is_loaded_whether_it_shows_responses() -> None:
    """So that `--codecs all` leaves out what the tail cannot serve, and everything else runs."""
    scenario: Any = None
    assert Classifier.shows_responses(scenario)
    assert not type("Silent", (Classifier,), {"response_kind": None}).shows_responses(scenario)
