"""README and pages are true: tables match what they describe, links lead somewhere, examples run as they stand."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import readme_tables
from readme_tables import PAGES, README, TABLES, Rates, board_table, on_earlier_data, pages_of, with_tables

BLOCK = re.compile(r"<!-- (file: (?P<file>[\w.]+)|run|test) -->\n```(?P<language>\w+)\n(?P<body>.*?)```", re.DOTALL)
EXAMPLES = [page for page in PAGES if BLOCK.search(page.read_text())]
LINKS = [(page, link) for page in PAGES for link in re.findall(r"\]\(((?!http)[^)#]+)[^)]*\)", page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_match_what_they_describe(page):
    assert with_tables(page.read_text()) == page.read_text(), "tables are out of date; `make readme` writes them"


@pytest.mark.parametrize("table", TABLES)
def test_each_table_stands_on_one_page(table):
    assert len(pages_of(table)) == 1


ONE_AFTER_THE_OTHER = "import sys\nfor body in sys.argv[1:]: exec(body, {'__name__': '__main__'})"
"""Python that runs pieces of Python, each with names of its own: a process for each would import torch anew."""


def save_files(page, folder):
    for block in BLOCK.finditer(page.read_text()):
        if block["file"]:
            (folder / block["file"]).write_text(block["body"])


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_the_examples_run_one_after_the_other(page, tmp_path):
    """In an empty folder, as a newcomer would: files are saved, commands run, Python executed.

    A page beside the README goes on with the files that the README told to save.
    """
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    save_files(README, tmp_path)
    save_files(page, tmp_path)
    examples = [block for block in BLOCK.finditer(page.read_text()) if not block["file"]]
    for language, blocks in itertools.groupby(examples, lambda block: block["language"]):
        bodies = [block["body"] for block in blocks]
        if language == "sh":
            command = ["bash", "-eu", "-c", "\n".join(bodies)]
        else:
            command = [sys.executable, "-c", ONE_AFTER_THE_OTHER, *bodies]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{bodies}\n{done.stdout}\n{done.stderr}"


def test_the_readme_shows_commands_and_python_that_run():
    languages = [block["language"] for block in BLOCK.finditer(README.read_text())]
    assert set(languages) == {"python", "sh"} and len(languages) >= 6


@pytest.mark.parametrize(("page", "target"), LINKS, ids=lambda part: getattr(part, "name", part))
def test_links_lead_somewhere(page, target):
    assert (page.parent / target).exists()


def test_the_small_edition_is_a_group_of_columns_of_its_own():
    def row(codec, rate):
        absent = {"percent": {"value": None}}
        return {"codec": codec, "ebpfp": {"95": {"value": rate}}, "bd_rate_score": absent, "bound_gap": {"value": None}}

    def kept(scenario, rate, bound=None):
        return {scenario: {"ebpfp": {"value": rate}, "bound": bound}}

    def found(rate, bound):
        part = kept("small-clu-prose", rate, bound)["small-clu-prose"]
        return {"small-clu-prose": {"retained": part, "faithful": part}}

    mini = {
        "codecs": [row("a", 2.0), row("b", 3.0), row("c", 4.0)],
        "retained": {name: kept("mini-cvu-digits", 2.0) for name in "abc"},
    }
    small = {
        "scenarios": {"small-clu-prose": {}},
        "protocols": {"a": 3, "b": 2},
        "codecs": {"a": found(5.0, "at most"), "b": found(6.0, "exact")},
    }
    alone, both = board_table(mini, None).split("\n"), board_table(mini, Rates(small, mini)).split("\n")
    assert both[0] == f"{alone[0]} small: prose | small: all |"
    assert both[2] == f"{alone[2]} ≤ **5.00** | ≤ **5.00** |"
    assert both[3] == f"{alone[3]} 6.00 | 6.00 † |"  # measured by an earlier protocol
    assert both[4] == f"{alone[4]} - | - |"


def test_rows_on_earlier_data_are_marked_and_the_scenarios_named():
    measured = {"mini-cvu-digits": {"version": 1}, "mini-cvu-depth": {"version": 1}}
    today = measured | {"mini-cvu-digits": {"version": 2}}
    absent = {"percent": {"value": None}}
    rest = {"ebpfp": {"95": {"value": 2.0}}, "bd_rate_score": absent, "bound_gap": {"value": None}}
    board = {
        "codecs": [{"codec": "a", **rest}, {"codec": "b", **rest}],
        "retained": {"a": {}, "b": {}},
        "scenarios": today,
        "earlier_data": {"b": {"mini-cvu-digits": {"version": 1}}},
    }
    assert on_earlier_data(board, today) == {"b": ["mini-cvu-digits"]}
    lines = board_table(board, None, on_earlier_data(board, today)).split("\n")
    assert lines[2].startswith("| `a` |") and lines[3].startswith("| `b` † |")
    assert lines[4:] == ["", "† Measured on earlier data of `mini-cvu-digits`; not made anew yet."]
    older = board | {"scenarios": measured, "earlier_data": {}}
    assert on_earlier_data(older, today) == {"a": ["mini-cvu-digits"], "b": ["mini-cvu-digits"]}


def test_means_on_the_board_are_bounds_where_one_of_their_rates_is():
    absent = {"percent": {"value": None}}
    row = {"codec": "a", "ebpfp": {"95": {"value": 2.0}}, "bd_rate_score": absent, "bound_gap": {"value": None}}
    retained = {
        "mini-cvu-digits": {"ebpfp": {"value": 1.0}, "bound": "at most"},
        "mini-cvu-depth": {"ebpfp": {"value": 1.0}, "bound": "exact"},
        "mini-clu-facts": {"ebpfp": {"value": 8.0}, "bound": "exact"},
    }
    made = board_table({"codecs": [row], "retained": {"a": retained}}, None).split("\n")
    cells = dict(
        zip(*([cell.strip() for cell in line.strip("|").split("|")] for line in (made[0], made[2])), strict=True)
    )
    assert (cells["ViT features"], cells["language KV caches"], cells["all"]) == (
        "≤ **1.00**",
        "**8.00**",
        "≤ **2.00**",
    )


def test_the_mean_over_variants_is_a_bound_where_one_of_its_rates_is(tmp_path, monkeypatch):
    found = {"x": {"codecs": {"a": {"ebpfp": {"value": 2.0}, "bound": "at most"}}},
             "y": {"codecs": {"a": {"ebpfp": {"value": 8.0}, "bound": "exact"}}}}  # fmt: skip
    (tmp_path / "variants.json").write_text(json.dumps(found))
    monkeypatch.setattr(readme_tables, "VARIANTS", tmp_path / "variants.json")
    assert readme_tables.variants_table().split("\n")[2] == "| `a` | ≤ **2.00** | **8.00** | ≤ **4.00** |"
