"""`lamofcbench verify`: reads every byte of a dataset or results folder and says what is damaged."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from harness.console import MAX_LINE
from lamofcbench.errors import one_line

HELP = "read every byte of a dataset or results folder and say what is damaged"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a dataset folder or a results folder")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Runs the command; prints a line for each damage and note, then the counts. Status 1 says that there is damage."""
    from tqdm import tqdm

    from harness.results.verification import is_results, verify_results
    from lamofcbench.audit import Audit
    from lamofcbench.errors import LaMoFCBenchError, shown
    from lamofcbench.storage.verification import is_dataset, verify_dataset

    kinds = ((is_dataset, verify_dataset), (is_results, verify_results))
    checks = [verify for is_kind, verify in kinds if is_kind(args.folder)]
    if not checks:
        raise LaMoFCBenchError(f"{shown(str(args.folder), 300)} is neither a dataset folder nor a results folder")
    with tqdm(unit="B", unit_scale=True, disable=True if args.quiet else None) as bar:
        audit = Audit(advance=bar.update)
        for verify in checks:
            verify(args.folder, audit)
    counts = {"files": audit.files, "bytes_read": audit.bytes_read, "damaged": audit.damaged_files}
    if args.json:
        findings = {"damage": audit.damage, "notes": audit.notes}
        listed = {
            kind: [{"file": str(finding.path), "what": finding.what} for finding in found]
            for kind, found in findings.items()
        }
        print(json.dumps({**counts, **listed}, indent=2))
    else:
        for finding in audit.damage:
            print(one_line(f"damaged: {finding}", MAX_LINE))
        for finding in audit.notes:
            print(one_line(f"note: {finding}", MAX_LINE))
        print(f"{audit.files} files, {audit.bytes_read} bytes read, {audit.damaged_files} damaged")
    return 1 if audit.damage else 0
