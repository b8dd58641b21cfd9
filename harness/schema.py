"""The published JSON schemas; ``python -m harness.schema`` writes them anew after a change.

``result.schema.json`` is of ``result.json``, ``report/summary.schema.json`` of a report's ``summary.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from harness.report.summary import Summary
from harness.results import Result

SCHEMA_PATH = Path(__file__).with_name("result.schema.json")
SUMMARY_SCHEMA_PATH = Path(__file__).parent / "report" / "summary.schema.json"


def result_schema() -> str:
    """The schema of a result as JSON text, made from the model that checks results."""
    return _schema(Result)


def summary_schema() -> str:
    """The schema of a report's summary as JSON text."""
    return _schema(Summary)


def _schema(model: type[BaseModel]) -> str:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA_PATH.write_text(result_schema())
    SUMMARY_SCHEMA_PATH.write_text(summary_schema())
