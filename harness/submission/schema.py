"""The published JSON schemas of submissions and verdicts; ``python -m harness.submission.schema`` writes them anew."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from harness.results.schema import schema_text
from harness.submission.manifest import Submission
from harness.submission.verdict import Verdict
from lamofcbench.atomic import write_text

SCHEMAS: dict[Path, type[BaseModel]] = {
    Path(__file__).with_name("submission.schema.json"): Submission,
    Path(__file__).with_name("verdict.schema.json"): Verdict,
}

if __name__ == "__main__":
    for path, model in SCHEMAS.items():
        write_text(path, schema_text(model))
