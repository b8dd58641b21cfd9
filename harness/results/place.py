"""The results folder as a user names it, looked at before anything heavy is imported."""

from __future__ import annotations

from pathlib import Path

from lamofcbench.errors import ResultsError


def require_no_file(results: Path) -> None:
    """Refuses a file where the results folder is named.

    Raises:
        ResultsError: if something that is no folder lies there.
    """
    if results.exists() and not results.is_dir():
        raise ResultsError(f"{results} is a file; results are kept in a folder, so name one, such as results")


def require_folder(results: Path) -> None:
    """Refuses what is no folder.

    Raises:
        ResultsError: saying what makes one.
    """
    require_no_file(results)
    if not results.is_dir():
        raise ResultsError(f"no results folder {results}; `lamofcbench run --results {results}` makes one")
