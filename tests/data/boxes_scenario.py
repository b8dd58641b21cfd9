"""A user's own scenario with a prediction type of its own: where the vectors of a sequence lie, as a box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toy_scenario import TOY, ToyBuilder, ToyModel

from harness.metrics.base import Metric
from lamofcbench.builders import Sample, Split
from lamofcbench.features import FeatureSet
from lamofcbench.prediction_kinds import PredictionKind


class Boxes(PredictionKind):
    """Boxes by name: ``{"all": [left, right]}``."""

    name = "boxes"

    def check(self, value: Any) -> dict[str, list[float]]:
        """Two ascending numbers a name."""
        for name, (left, right) in value.items():
            if left > right:
                raise ValueError(f"box {name!r} ends before it begins")
        return value


class Overlap(Metric):
    """How much of a box is found."""

    name = "overlap"
    direction = "up"
    range = (0.0, 1.0)

    def statistics(self, prediction: Any, reference: Any) -> dict[str, float]:
        """Intersection over union."""
        (a, b), (c, d) = prediction["all"], reference["all"]
        return {"overlap": max(min(b, d) - max(a, c), 0.0) / max(max(b, d) - min(a, c), 1e-9)}

    def score(self, statistics: Any) -> float:
        """The mean."""
        return float(statistics["overlap"].mean())


class BoxBuilder(ToyBuilder):
    """The toy's vectors, and the box of each."""

    name = "box-builder"

    def samples(self, split: Split) -> Sequence[Sample]:
        """References are dicts of tuples."""
        return [
            Sample(one.id, one.inputs, {"all": (one.inputs.min(), one.inputs.max())}) for one in super().samples(split)
        ]


class BrokenBuilder(BoxBuilder):
    """One reference is a label."""

    name = "broken-builder"

    def samples(self, split: Split) -> Sequence[Sample]:
        """The last one is wrong."""
        *good, last = super().samples(split)
        return [*good, Sample(last.id, last.inputs, {"all": (2.0, 1.0)})]


class BoxModel(ToyModel):
    """The tail finds the box."""

    name = "box-model"

    def tail(self, batch: Sequence[FeatureSet]) -> list[Any]:
        """Tensors within a dict."""
        return [{"all": tuple((features["hidden"] / 2).aminmax())} for features in batch]


class UnloadableModel(BoxModel):
    """Fails to load."""

    name = "unloadable-model"

    @classmethod
    def load(cls, *_: Any) -> BoxModel:
        """Comes too late for a wrong reference."""
        raise AssertionError("the model is loaded")


_OWN = {
    "backbone": TOY.backbone.model_copy(update={"adapter": ":BoxModel"}),
    "prediction": ":Boxes",
    "metric": ":Overlap",
}
BOXES = TOY.model_copy(update={**_OWN, "id": "boxes", "builder": ":BoxBuilder"})
_UNLOADABLE = TOY.backbone.model_copy(update={"adapter": ":UnloadableModel"})
BROKEN = TOY.model_copy(update={**_OWN, "id": "broken-boxes", "builder": ":BrokenBuilder", "backbone": _UNLOADABLE})
SHIPPED = TOY.model_copy(update={**_OWN, "id": "shipped", "builder": ":BoxBuilder", "metric": "accuracy"})
