"""Where mini data go, and the building of what is not there yet."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from lamofcbench.builders import BUILDERS
from lamofcbench.errors import DataError
from lamofcbench.provenance import features_identity
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.building import building
from lamofcbench.storage.layout import MANIFEST_FILE

CACHE_VARIABLE = "LAMOFCBENCH_CACHE"
SOURCES_VARIABLE = "LAMOFCBENCH_SOURCES"


def cache_folder() -> Path:
    """The folder named by ``LAMOFCBENCH_CACHE``, by default ``~/.cache/lamofcbench``; not necessarily there yet."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/lamofcbench").expanduser().absolute()


def built_in_cache(scenario: Scenario) -> Path:
    """The dataset folder of a scenario that brings its builder, built now unless it was built before.

    The folder's name carries id, version, data revision, the declaration's digest and a hash of the identities of
    builder and split model: new weights, raw data, options or code never meet old features. Processes that ask at once
    wait for the one that builds.
    """
    assert scenario.builder is not None
    builder = BUILDERS.get(scenario.builder, relative_to=scenario.origin)()
    code = hashlib.sha256(features_identity(scenario, builder).encode()).hexdigest()[:8]
    folder = cache_folder() / "data" / f"{scenario.ref}-{builder.revision()[:16]}-{scenario.digest[:8]}-{code}"
    manifest = folder / scenario.id / MANIFEST_FILE
    if not manifest.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"cannot write to {cache_folder()} ({error}); set {CACHE_VARIABLE} to your own folder"
            ) from error
        with building(folder, scenario.id):
            if not manifest.is_file():
                builder.build(scenario, folder)
    return folder


def sources_folder() -> Path:
    """The folder of archives that builders read raw data from, and never fetch by themselves.

    Named by ``LAMOFCBENCH_SOURCES``, by default ``sources`` in the cache folder; not necessarily there yet.
    """
    named = os.environ.get(SOURCES_VARIABLE)
    return Path(named).expanduser().absolute() if named else cache_folder() / "sources"
