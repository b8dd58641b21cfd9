"""The card of a dataset repository: front matter for `datasets`, what the scenarios are, and how to get at tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from lamofcbench.markdown import markdown_table
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.scenarios.kinds import kind_of
from lamofcbench.statistics import Spread, TensorStatistics
from lamofcbench.storage.layout import Manifest, card_configs

Figures = Mapping[str, Mapping[str, Any]]
"""Of each tensor, in the order of the specs, some figures of its `Spread`; null where there is none."""

_FIGURES = ("minimum", "median", "maximum", "kurtosis", "channel_spread", "token_correlation")
_HUB_LICENCES = {"Apache-2.0": "apache-2.0", "CC BY 4.0": "cc-by-4.0"}
_HEADS = ("tensor", "min", "median", "max", "kurtosis", "channel spread", "token correlation")
WHAT_IT_IS = """Intermediate features of large models at their split points, for codecs to be measured on: a
configuration a scenario, splits `test` and `calibration`. A row of an index refers to the tensors of one sample, which
lie in safetensors shards beside it. Columns `given.*` are what a scenario hands its tail besides: no codec sees it, and
no rate counts it."""
SNIPPET = """from datasets import load_dataset
from huggingface_hub import hf_hub_download
from safetensors import safe_open

repo, commit = {repo!r}, "main"  # better: the commit that you mean
row = load_dataset(repo, {scenario!r}, split="test", revision=commit)[0]
tensor = row[{tensor!r}]  # where it lies: file, key, dtype and shape
path = hf_hub_download(repo, tensor["file"], repo_type="dataset", revision=commit)
with safe_open(path, "pt") as shard:
    print(row["sample_id"], row["reference"], shard.get_tensor(tensor["key"]))
"""


def figures_of(tensors: list[TensorStatistics]) -> dict[str, dict[str, float | None]]:
    """What the card shows of a scenario's tensors, as JSON holds it."""
    return {tensor.name: {name: _finite(getattr(tensor.all, name)) for name in _FIGURES} for tensor in tensors}


def card(repo: str, manifests: Mapping[str, Manifest], figures: Mapping[str, Figures]) -> str:
    """The text of ``README.md``.

    Args:
        repo: ``org/name``.
        manifests: by scenario; at least one.
        figures: by scenario, for those whose tensors were looked at.
    """
    head = {
        "pretty_name": "LaMoFCBench features",
        **_licence(manifests),
        "tags": ["lamofcbench", "feature-coding", "benchmark", "safetensors"],
        "configs": card_configs(manifests),
    }
    example = next(iter(sorted(manifests)))
    tensor = manifests[example].features.tensors[0].name
    parts = [
        "---\n" + yaml.safe_dump(head, sort_keys=False, width=120) + "---",
        "# Features for LaMoFCBench",
        WHAT_IT_IS,
        _scenario_table(manifests),
        "## With lamofcbench",
        "```sh\nlamofcbench run --scenarios "
        f"{example} --codecs uniform --data hf://datasets/{repo} --results results\n```\n\n"
        f'In Python: `lamofcbench.load_dataset("{example}", split="test", repo="{repo}", revision="COMMIT")`.',
        "## Without it",
        "```python\n" + SNIPPET.format(repo=repo, scenario=example, tensor=tensor) + "```",
    ]
    spreads = [_spread_table(name, figures[name]) for name in sorted(manifests) if figures.get(name)]
    if spreads:
        parts += ["## Spread of the tensors", "Over calibration samples, in the units of the features.", *spreads]
    return "\n\n".join(parts) + "\n"


def _licence(manifests: Mapping[str, Manifest]) -> dict[str, str]:
    """The licence as the Hub names it where the scenarios have one that it knows; the table says what each has."""
    stated = {SCENARIOS.get(name).licence if name in SCENARIOS.names() else "" for name in manifests}
    found = {_HUB_LICENCES.get(re.sub(r" \([^()]*\)$", "", licence)) for licence in stated}  # without what it is of
    one = found.pop() if len(found) == 1 else None
    return {"license": one} if one else {"license": "other", "license_name": "see-each-scenario"}


def _scenario_table(manifests: Mapping[str, Manifest]) -> str:
    head = ("scenario", "what it is", "features", "test", "calibration", "MB", "licence")
    rows: list[tuple[str, ...]] = []
    for name, manifest in sorted(manifests.items()):
        declared = SCENARIOS.get(name) if name in SCENARIOS.names() else None
        counts = [str(manifest.splits[split].samples) if split in manifest.splits else "-" for split in _SPLITS]
        size_bytes = sum(
            sum(file.size_bytes for file in (split.index, *split.shards)) for split in manifest.splits.values()
        )
        rows.append(
            (
                f"`{name}`",
                declared.title if declared else "-",
                kind_of(manifest.features).replace("-", " "),
                *counts,
                f"{size_bytes / 1e6:.1f}",
                declared.licence if declared else "-",
            )
        )
    return markdown_table(head, rows)


_SPLITS = ("test", "calibration")


def _spread_table(scenario: str, figures: Figures) -> str:
    rows = ((f"`{tensor}`", *(_shown(found.get(name)) for name in _FIGURES)) for tensor, found in figures.items())
    return f"### `{scenario}`\n\n{markdown_table(_HEADS, rows)}"


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.3g}"


def _finite(figure: float) -> float | None:
    return float(figure) if math.isfinite(figure) else None


assert set(_FIGURES) <= set(Spread.__dataclass_fields__)
