"""`load_dataset`: a scenario's features as objects of the `datasets` library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamofcbench.errors import DataError, LaMoFCBenchError, UnknownNameError, first_line, shown
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage import patch

if TYPE_CHECKING:
    import datasets


def load_dataset(
    scenario: str | Scenario,
    split: str | None = None,
    *,
    data_dir: str | Path | None = None,
    repo: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    cache_dir: str | Path | None = None,
) -> datasets.Dataset | datasets.DatasetDict | datasets.IterableDataset | datasets.IterableDatasetDict:
    """A scenario's features; rows hold sample_id, content_sha256, reference, ``side.*`` and the tensors by name.

    Tensors are memory-mapped views in their stored dtype, to be read only; `feature_set` makes a FeatureSet of a row.
    A mini scenario is built once into the cache if neither ``data_dir`` nor ``repo`` is given.

    Args:
        scenario: registered id, ``file.py:NAME`` or the scenario itself.
        split: ``test``, ``calibration``, or part of one such as ``test[:8]``; None for all.
        data_dir: a dataset folder, as `lamofcbench build` makes it.
        repo: a dataset repository on the Hub, ``org/name``.
        revision: its branch, tag or commit; resolved to a commit once.
        streaming: True for an iterable that prepares nothing on disk.
        num_proc: processes that prepare the rows.
        cache_dir: where `datasets` keeps prepared rows (references, not tensors).

    Raises:
        DataError: if the data are missing, damaged or of another scenario.
        UnknownNameError: for a scenario or split that does not exist.
    """
    from datasets.exceptions import DatasetBuildError
    from pyarrow import ArrowException

    from lamofcbench.storage.builder import LaMoFCBench

    builder = LaMoFCBench(
        config_name=scenario,
        data_dir=data_dir,
        repo=repo,
        revision=revision,
        cache_dir=str(cache_dir) if cache_dir is not None else None,
        dataset_name=patch.NAME,
        hash=patch.builder_hash(),
    )
    for part in (split or "").split("+") if isinstance(split, str) else ():
        name = part.partition("[")[0].strip()
        if name not in (*builder.manifest.splits, "all"):
            raise UnknownNameError(f"split of {builder.scenario.id}", name, builder.manifest.splits)
    try:
        if streaming:
            return builder.as_streaming_dataset(split=split)
        builder.download_and_prepare(num_proc=num_proc)
        return builder.as_dataset(split=split)
    except LaMoFCBenchError:
        raise
    except Exception as error:
        _raise_own_cause(error)
        if isinstance(error, ValueError | AssertionError) and split is not None:
            raise DataError(f"split {shown(split)} cannot be read: {first_line(error)}") from error
        if isinstance(error, OSError | ValueError | RuntimeError | DatasetBuildError | ArrowException):
            raise DataError(f"the rows of {builder.scenario.id} cannot be prepared: {first_line(error)}") from error
        raise


def _raise_own_cause(error: BaseException) -> None:
    """Raises the error of ours that `datasets` wrapped into its own, if any."""
    cause: Any = error
    seen = {id(error)}
    while (cause := cause.__cause__ or cause.__context__) is not None and id(cause) not in seen:
        if isinstance(cause, LaMoFCBenchError):
            raise cause from None
        seen.add(id(cause))
