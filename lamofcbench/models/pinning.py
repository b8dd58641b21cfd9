"""Which Hub repositories a scenario's model is read from, and at which commits."""

from __future__ import annotations

from lamofcbench.models.base import MODELS
from lamofcbench.pins import read_pins
from lamofcbench.scenarios.base import Scenario

BUILDER_PREFIX = "builder:"
LOCAL_PREFIXES = ("./", "../", "/", "~/")
_SOURCE = "source"


def on_hub(source: str) -> bool:
    """Whether a source of weights is a repository of the Hub.

    Example:
        >>> [on_hub(source) for source in ("org/name", "./weights", ".", "builder:mini-cvu-digits")]
        [True, False, False, False]
    """
    return source != "." and not source.startswith((BUILDER_PREFIX, *LOCAL_PREFIXES))


def repositories(scenario: Scenario) -> dict[str, tuple[str, str | None]]:
    """Each Hub repository and the commit that the declaration pins it to, by what names it: ``source`` or an option."""
    backbone = scenario.backbone
    found = {_SOURCE: (backbone.source, backbone.revision)} if on_hub(backbone.source) else {}
    adapter = MODELS.get(backbone.adapter, relative_to=scenario.origin)
    for option, revision in adapter.hub_options.items():
        repo = str(backbone.options.get(option) or "")
        if "/" in repo and on_hub(repo):  # a name without a slash is a folder's
            found[option] = (repo, backbone.options.get(revision))
    return found


def pins_of(scenario: Scenario) -> dict[str, str]:
    """The repositories that only the user's pins tie to a commit, and that commit.

    Raises:
        DataError: if the pins cannot be read.
    """
    open_ = [repo for repo, commit in repositories(scenario).values() if commit is None]
    pins = read_pins() if open_ else {}
    return {repo: pins[repo] for repo in dict.fromkeys(open_) if repo in pins}


def pinned(scenario: Scenario) -> Scenario:
    """The scenario with the user's pins where it has none itself.

    Raises:
        DataError: if the pins cannot be read.
    """
    pins = pins_of(scenario)
    if not pins:
        return scenario
    backbone = scenario.backbone
    adapter = MODELS.get(backbone.adapter, relative_to=scenario.origin)
    options = dict(backbone.options)
    for name, (repo, commit) in repositories(scenario).items():
        if commit is None and repo in pins:
            if name == _SOURCE:
                backbone = backbone.model_copy(update={"revision": pins[repo]})
            else:
                options[adapter.hub_options[name]] = pins[repo]
    return scenario.model_copy(update={"backbone": backbone.model_copy(update={"options": options})})
