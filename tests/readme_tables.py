"""The tables of README.md, made from what they describe; ``make readme`` writes them, a test compares them."""

import json
import re
from pathlib import Path

from lamofcbench.builders import BUILDERS
from lamofcbench.codecs.registry import CODECS
from lamofcbench.scenarios.base import SCENARIOS

README = Path(__file__).parent.parent / "README.md"


def mini_table() -> str:
    """A row a mini scenario, with the trained model's score as its training record states it."""
    rows = ["| scenario | mirrors | model | test | calibration | held-out score |", "|---|---|---|---|---|---|"]
    for scenario in SCENARIOS:
        if scenario.edition == "mini":
            directory = BUILDERS.get(scenario.builder)().model_directory()
            record = json.loads((directory / "training.json").read_text())
            rows.append(
                f"| `{scenario.id}` | `{scenario.mirrors}` | {directory.name} | {scenario.test_samples} "
                f"| {scenario.calibration_samples} | {scenario.metric} {record_score(record):.3f} |"
            )
    return "\n".join(rows)


def record_score(record: dict) -> float:
    """The held-out score of a training record."""
    return record["held_out_accuracy"]


def codec_table() -> str:
    """A row a codec: its ladder and what its docstring says first."""
    rows = ["| codec | rate points | what it does |", "|---|---|---|"]
    for codec in CODECS:
        summary = re.sub(r"\s+", " ", codec.__doc__.split("\n\n")[0]).strip()
        ladder = "; ".join(",".join(f"{k}={v}" for k, v in point.items()) for point in codec.rate_points if point)
        rows.append(f"| `{codec.name}` | {ladder or '-'} | {summary} |")
    return "\n".join(rows)


TABLES = {"mini": mini_table, "codecs": codec_table}


def with_tables(text: str) -> str:
    """README text with every table made anew."""
    for name, make in TABLES.items():
        pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text, count = re.subn(pattern, lambda m, make=make: f"{m[1]}{make()}\n{m[2]}", text, flags=re.DOTALL)
        assert count == 1, f"README has {count} tables {name!r}"
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
