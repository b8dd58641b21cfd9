"""The published JSON schema of ``result.json``; ``python -m harness.results.schema`` writes it anew after a change."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from harness.results.result import Result
from lamofcbench.atomic import write_text

SCHEMA_PATH = Path(__file__).with_name("result.schema.json")


def result_schema() -> str:
    """The schema of a result as JSON text, made from the model that checks results."""
    return schema_text(Result)


def schema_text(model: type[BaseModel]) -> str:
    """The JSON schema of a model as it is published."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    write_text(SCHEMA_PATH, result_schema())
