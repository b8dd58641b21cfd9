"""The published JSON schema of ``summary.json``; ``python -m harness.report.schema`` writes it anew after a change."""

from __future__ import annotations

from pathlib import Path

from harness.report.summary import Summary
from harness.results.schema import schema_text
from lamofcbench.atomic import write_text

SUMMARY_SCHEMA_PATH = Path(__file__).with_name("summary.schema.json")


def summary_schema() -> str:
    """The schema of a report's summary as JSON text, made from the model that reports write."""
    return schema_text(Summary)


if __name__ == "__main__":
    write_text(SUMMARY_SCHEMA_PATH, summary_schema())
