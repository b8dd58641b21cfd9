"""Every metric of the registry as an `evaluate` module, which loads offline from this file.

    import evaluate
    metric = evaluate.load("harness/evaluate_metric.py", "word-error-rate")
    metric.compute(predictions=["a b"], references=["a c"])  # {"word-error-rate": 0.5}

The configuration's name is the metric's; options such as ``num_classes`` are named in `compute`.
"""

import datasets
import evaluate
import numpy as np

from harness.metrics.base import METRICS
from harness.results.record import as_statistics, stack_statistics

_FEATURES = {
    "text": datasets.Value("string"),
    "label": datasets.Value("int64"),
    "scores": datasets.Sequence(datasets.Value("float64")),
    "logprobs": datasets.Sequence(datasets.Value("float64")),
    "mask": datasets.Sequence(datasets.Sequence(datasets.Value("int64"))),
    "map": datasets.Sequence(datasets.Sequence(datasets.Value("float64"))),
    "image": datasets.Sequence(datasets.Sequence(datasets.Sequence(datasets.Value("uint8")))),
}
_REFERENCES = {"scores": "label", "logprobs": "text"}


class LaMoFCBenchMetric(evaluate.Metric):
    """A registered metric, by its configuration name."""

    def _info(self) -> evaluate.MetricInfo:
        metric = METRICS.get(self.config_name or "")
        features = [
            datasets.Features(predictions=_FEATURES[kind], references=_FEATURES[_REFERENCES.get(kind, kind)])
            for kind in metric.accepts
            if kind in _FEATURES
        ]
        return evaluate.MetricInfo(
            description=metric.__doc__ or "",
            citation="",
            inputs_description="predictions and references, one each a sample; the metric's options by name",
            features=features if len(features) > 1 else features[0],
        )

    def _compute(self, predictions, references, **options):
        metric = METRICS.get(self.config_name or "")(**options)
        rows = [
            as_statistics(metric.statistics(_as_array(prediction), _as_array(reference)))
            for prediction, reference in zip(predictions, references, strict=True)
        ]
        return {self.config_name: metric.score(stack_statistics(rows))}


def _as_array(value):
    return np.asarray(value) if isinstance(value, list) else value
