"""``--metric-option``: what users give a metric beside what its scenario declares, such as a list in a file."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lamofcbench.errors import LaMoFCBenchError, UnknownNameError

if TYPE_CHECKING:
    from harness.metrics.base import Metric
    from lamofcbench.scenarios.base import Scenario


def add_argument(parser: argparse.ArgumentParser) -> None:
    """``--metric-option``."""
    parser.add_argument(
        "--metric-option", action="append", default=[], metavar="NAME=VALUE", dest="metric_options",
        help="an option of the metrics that have it, instead of the scenarios' own, such as phrases=FILE "
        "(refusal-rate), templates=FILE (exact-match-letter) or spellings=FILE (word-error-rate); repeatable. Such "
        "results stand apart from others",
    )  # fmt: skip


def with_options(scenarios: Iterable[Scenario], texts: Sequence[str]) -> list[Scenario]:
    """The scenarios, each with the options among those named that its metric has.

    What stands in a file becomes part of the declaration, so that results know what they were scored by, whatever the
    file is called.

    Args:
        scenarios: as declared.
        texts: each ``NAME=VALUE``; a value is JSON or else text.

    Raises:
        UnknownNameError: for an option that none of the metrics has.
        LaMoFCBenchError: for what is no ``NAME=VALUE``, and a file that cannot be read.
    """
    from harness.metrics.base import METRICS

    scenarios = list(scenarios)
    given = dict(_parsed(text) for text in texts)
    metrics = {scenario.id: METRICS.get(scenario.metric, relative_to=scenario.origin) for scenario in scenarios}
    known = {name for metric in metrics.values() for name in _options_of(metric)}
    for name in given:
        if name not in known:
            raise UnknownNameError("metric option", name, known)
    return [_changed(scenario, metrics[scenario.id], given) for scenario in scenarios]


def _parsed(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise LaMoFCBenchError(f"--metric-option {text!r} is no NAME=VALUE, such as phrases=FILE")
    return name, value


def _options_of(metric: type[Metric]) -> set[str]:
    parameters = inspect.signature(metric.__init__).parameters.values()
    return {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)} - {"self"}


def _changed(scenario: Scenario, metric: type[Metric], given: dict[str, str]) -> Scenario:
    options: dict[str, Any] = {
        name: _value(metric, name, text) for name, text in given.items() if name in _options_of(metric)
    }
    if not options:
        return scenario
    return scenario.model_copy(update={"metric_options": {**scenario.metric_options, **options}})


def _value(metric: type[Metric], name: str, text: str) -> Any:
    if name in metric.file_options:
        value = metric.file_options[name](text)
        return list(value) if isinstance(value, tuple) else value
    try:
        return json.loads(text)
    except ValueError:
        return text
