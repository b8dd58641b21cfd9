"""What to do about a folder without a result: run it again, or remove it where no run will ever complete it.

A run completes an unfinished folder only if everything that its hash is made of is still the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.metrics.base import metric_identity
from harness.report.declared import declaration
from harness.results.result import PROTOCOL_VERSION
from harness.results.scoring import make_metric
from harness.results.store import ResultFolder
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.scenarios.base import Scenario

REMOVE = "; no run completes it any more, so the folder can be removed"


def advice(folder: Path, declared: Mapping[str, Scenario]) -> str:
    """In one line, why there is no result and what completes it.

    Args:
        folder: of one configuration, without ``result.json``.
        declared: scenarios from users' own files, by id; registered ones need not be given.
    """
    config = ResultFolder(folder).begun_as()
    if config is None:
        return f"it is no result, or an older version began it{REMOVE}"
    changed = _changed(config, declared)
    if changed:
        return f"the run is unfinished, and {changed} since it began{REMOVE}"
    return "the run is unfinished; run it again to complete it, or remove the folder where code or data have changed"


def _changed(config: Mapping[str, Any], declared: Mapping[str, Scenario]) -> str:
    """What is known to have changed; empty where nothing is."""
    if config.get("protocol_version") != PROTOCOL_VERSION:
        return "the protocol has changed"
    name = str(config.get("scenario"))
    scenario = declaration(name, declared)
    if scenario is None:
        return ""
    if (config.get("scenario_version"), config.get("scenario_digest")) != (scenario.version, scenario.digest):
        return f"{name} has been declared otherwise"
    try:
        metric = metric_identity(make_metric(scenario))
    except LaMoFCBenchError:
        return ""
    return "" if config.get("metric_identity") == metric else "its metric has changed"
