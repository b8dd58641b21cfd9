"""Turns the Hub's client of this process towards a loopback Hub."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from loopback_hub.server import LoopbackHub


@contextlib.contextmanager
def connected(hub: LoopbackHub, cache: Path, token: str | None = "hf_owner") -> Iterator[LoopbackHub]:
    """Turns the huggingface_hub of this process towards a hub for a while, with a cache of its own.

    The constants are read at the client's first import, so they are changed and put back.
    """
    import datasets
    from huggingface_hub import constants

    endpoint = hub.endpoint or hub.start()
    changes = {
        (constants, "ENDPOINT"): endpoint,
        (constants, "HUGGINGFACE_CO_URL_TEMPLATE"): f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        (constants, "HF_HUB_OFFLINE"): False,
        (constants, "HF_HUB_DISABLE_XET"): True,
        (constants, "HF_HUB_CACHE"): str(cache),
        (datasets.config, "HF_HUB_OFFLINE"): False,
        (datasets.config, "HF_ENDPOINT"): endpoint,
    }
    before = {(module, name): getattr(module, name) for module, name in changes}
    settings = {"HF_TOKEN": token, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    environment = {name: os.environ.get(name) for name in settings}
    try:
        for (module, name), value in changes.items():
            setattr(module, name, value)
        _set_environment(settings)
        yield hub
    finally:
        for (module, name), value in before.items():
            setattr(module, name, value)
        _set_environment(environment)


def _set_environment(settings: Mapping[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
