"""Whether a split can be scored, found out before a model is loaded."""

from __future__ import annotations

from harness.metrics.base import Metric
from harness.metrics.predictions import decode_reference
from harness.running.pipeline import Split
from lamofcbench.errors import DataError, PluginError
from lamofcbench.references import check_id
from lamofcbench.scenarios.base import Scenario


def check_references(split: Split, scenario: Scenario, metric: Metric) -> None:
    """Reads the ids and references of all test samples, no tensors.

    Raises:
        DataError: naming the first sample whose id or reference cannot be stored, whose id repeats, or whose reference
            the metric cannot compare anything with.
        PluginError: if the metric fails to tell.
    """
    owners: dict[str, int] = {}
    kind = scenario.prediction_kind
    for index in range(len(split)):
        where = f"{scenario.id} sample {index}"
        sample_id = check_id(split.sample_id(index), where)
        if owners.setdefault(sample_id, index) != index:
            raise DataError(f"{where} has the id {sample_id!r} of sample {owners[sample_id]}; build the dataset again")
        try:
            metric.check_reference(decode_reference(kind, split.reference(index)))
        except DataError as error:
            raise DataError(f"{where} ({sample_id}): {error}") from error
        except Exception as error:
            raise PluginError(
                f"{where} ({sample_id}): metric {metric.name!r} fails to check the reference: "
                f"{type(error).__name__}: {error}"
            ) from error
