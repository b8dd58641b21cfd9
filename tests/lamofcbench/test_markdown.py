"""Tables in Markdown keep their columns, whatever the cells hold."""

import pytest

from lamofcbench.markdown import markdown_table


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("a|b", r"a\|b"),
        (r"a\|b", r"a\|b"),  # escaped already
        (r"a\\|b", r"a\\\|b"),  # an escaped backslash before a bar
        ("||", r"\|\|"),
        ("two\r\nlines", "two lines"),
        (3, "3"),
        ("", ""),
    ],
)
def test_no_cell_ends_a_cell_or_a_row(cell, written):
    assert markdown_table(("head",), [(cell,)]).splitlines() == ["| head |", "| --- |", f"| {written} |"]


def test_a_table_without_rows_has_a_head():
    assert markdown_table(("a", "b"), [], right={1}) == "| a | b |\n| --- | ---: |"
