"""What is written: self-contained, escaped, complete."""

import html
import io
import os
import re
import struct
from html.parser import HTMLParser

import pytest

from harness import console
from harness.cli import main
from harness.report import ReportPaths, terminal_table, write_report
from harness.report.summary import Summary

COLUMNS = {4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16}
"""How many borders a row of each table in markdown has."""

HOSTILE = "<img src=x onerror=alert(1)>\"'&|`$\\frac{${{ 7*7 }}_*\x1b[2J\n"


@pytest.fixture(scope="module")
def report(realistic_results, tmp_path_factory) -> ReportPaths:
    return write_report(realistic_results, tmp_path_factory.mktemp("report"), resamples=50)


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory) -> ReportPaths:
    from synthetic_results import Writer

    root = tmp_path_factory.mktemp("hostile")
    writer = Writer(root / "results", samples=30, test_samples=30)
    writer.anchor_and_floor()
    for name in (HOSTILE, "_hidden", "</script><script>alert(2)</script>", "$x"):
        (root / "results" / "mini-cvu-digits@1").mkdir(exist_ok=True)
        folder = writer.write("placeholder", ebpfp=2.0, score=0.9, params={"key": HOSTILE}, run={"commit": HOSTILE})
        _rename(folder, name)
    return write_report(root / "results", root / "out", resamples=20)


def _rename(folder, name):
    import hashlib
    import json

    result = json.loads((folder / "result.json").read_text())
    result["codec"]["name"] = name
    result["config_hash"] = hashlib.sha256(name.encode()).hexdigest()[:16]
    (folder / "result.json").write_text(json.dumps(result))
    folder.rename(folder.with_name(result["config_hash"]))


class _Tags(HTMLParser):
    """Collects tags, and the attributes that could make a request or run a script."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
                self.links.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


def _parse(page: str) -> _Tags:
    parser = _Tags()
    parser.feed(page)
    return parser


def test_every_file_is_there(report):
    for path in (report.markdown, report.summary_json, report.overview, report.page, *report.figures.values()):
        assert path.is_file(), path
    assert set(report.figures) == {"mini-cvu-digits", "mini-cau-commands-clean"}
    hidden = {path.name for path in report.page.parent.iterdir() if path.name.startswith(".")}
    assert hidden <= {".locks"}  # no temporary file is left


def test_figures_are_png_of_a_readable_size(report):
    for path in (report.overview, *report.figures.values()):
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", data[16:24])
        assert 800 <= width <= 4000
        assert 500 <= height <= 4000


def test_the_page_refers_to_nothing_outside_itself(report):
    page = report.page.read_text()
    assert not re.search(r"https?:|@import|//[a-z]", page.partition("<body>")[2].partition("<script>")[0])
    parsed = _parse(page)
    assert all(link.startswith("#") for link in parsed.links)
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(parsed.tags)
    assert "default-src 'none'" in html.unescape(page)
    assert not re.search(r"url\((?!#|&#)", page)


def test_links_within_the_page_lead_somewhere_and_ids_are_unique(report):
    page = report.page.read_text()
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    targets = {link[1:] for link in _parse(page).links} | set(re.findall(r"url\(#([^)]+)\)", page))
    assert targets <= set(ids)


def test_the_page_says_what_it_shows(report):
    page = report.page.read_text()
    heads = ("How to read", "Who wins where", "Pareto front", "bits above bound", "Where the error comes from")
    for text in ("EBPFP@95", "EBPFP@99", "BD-rate", "Mbit/s", "retention", "step=0.5", "0123abcd", "block.7", *heads):
        assert text in page, text
    # Two over all scenarios; score, both errors and speed of two scenarios.
    assert page.count('<svg viewBox="0 0 440') == 2 + 2 * 4
    assert "prefers-color-scheme: dark" in page
    assert page.lstrip().startswith("<!DOCTYPE html>")


def test_hostile_names_stay_text_on_the_page(hostile_report):
    page = hostile_report.page.read_text()
    parsed = _parse(page)
    assert "img" not in parsed.tags
    assert parsed.handlers == []
    assert parsed.tags.count("script") == 1
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "{{ 7*7 }}" in page
    assert "\x1b" not in page


def test_hostile_names_stay_text_in_markdown_and_terminal(hostile_report):
    markdown = hostile_report.markdown.read_text()
    assert "<img" not in markdown
    assert "<script" not in markdown
    for line in markdown.splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) in COLUMNS, line
    buffer = io.StringIO()
    terminal_table(hostile_report.summary, buffer)
    assert "\x1b[2J" not in buffer.getvalue()
    assert "_hidden" in buffer.getvalue()


def test_summary_json_is_the_summary(report):
    assert Summary.model_validate_json(report.summary_json.read_text()) == report.summary


def test_the_terminal_shows_headline_and_rate_points(report):
    buffer = io.StringIO()
    terminal_table(report.summary, buffer)
    shown = buffer.getvalue()
    for text in ("EBPFP@95", "channel", "uniform", "zstd", "identity (anchor)", "mean (floor)", "step=0.5", "≤ 24.5"):
        assert text in shown, text


def test_the_command_prints_tables_then_bare_paths(realistic_results, tmp_path, capsys):
    output = tmp_path / "out"
    arguments = ["report", "--results", str(realistic_results), "--output", str(output), "--bootstrap", "10"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [str(output / name) for name in ("report.md", "curves.png", "index.html")]
    assert any("EBPFP@95" in line for line in lines[:-3])


def test_quiet_prints_the_paths_alone_and_the_default_place_is_within_the_results(writer, capsys):
    writer.anchor_and_floor()
    assert main(["report", "--results", str(writer.root), "--bootstrap", "0", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [str(writer.root / "report" / name) for name in ("report.md", "curves.png", "index.html")]
    # Its own output is no result, so the second report is like the first.
    assert main(["report", "--results", str(writer.root), "--bootstrap", "0", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--results", "absent"], "no results folder"),
        (["--results", "RESULTS", "--reference", "unifrom"], "did you mean 'uniform'"),
        (["--results", "RESULTS", "--bootstrap", "-1"], "--bootstrap is -1"),
    ],
)
def test_mistakes_get_one_line(realistic_results, arguments, message, capsys):
    arguments = [str(realistic_results) if argument == "RESULTS" else argument for argument in arguments]
    assert main(["report", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_a_report_shows_its_warnings(writer):
    writer.anchor_and_floor()
    (writer.write("uniform", ebpfp=2.0, score=0.9) / "result.json").write_text("{}")
    paths = write_report(writer.root, resamples=0)
    assert "breaks the schema" in paths.markdown.read_text()
    assert "breaks the schema" in paths.page.read_text()


def test_the_published_schema_of_the_summary_is_the_models_own(report):
    import json

    import jsonschema

    from harness.report.schema import SUMMARY_SCHEMA_PATH, summary_schema

    assert SUMMARY_SCHEMA_PATH.read_text() == summary_schema(), "run `python -m harness.report.schema`"
    jsonschema.validate(json.loads(report.summary_json.read_text()), json.loads(summary_schema()))


def test_marks_tell_what_they_are_and_heads_are_explained(report):
    page = report.page.read_text()
    assert re.search(r"<title>channel step=0.5: EBPFP 2.60, score [^<]*NMSE 0.01", page)
    assert re.search(r'<th scope="col"[^>]*title="lowest rate that keeps 95 %', page)
    assert page.count('<th scope="row"') > 20


def test_tables_are_readable_on_an_ascii_terminal(report):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=console.ERRORS)
    terminal_table(report.summary, stream)
    stream.flush()
    lines = stream.buffer.getvalue().decode("ascii").splitlines()
    assert any("<= 24.5" in line for line in lines)
    borders = [[at for at, letter in enumerate(line) if letter == "|"] for line in lines]
    for at in range(1, len(lines)):
        if lines[at].startswith("|") and lines[at - 1].startswith("|") and "+" not in lines[at] + lines[at - 1]:
            assert borders[at] == borders[at - 1], lines[at]


def test_names_that_are_no_text_are_no_obstacle(writer):
    """Folders may have any bytes in their names, and run.json any escapes."""
    writer.anchor_and_floor()
    folder = writer.write("uniform", ebpfp=2.0, score=0.9)
    (next(writer.root.glob("*/identity/*")) / "run.json").write_text('{"commit": "\\udce9"}')
    odd = folder.parent.with_name(os.fsdecode(b"\xff\n"))
    folder.parent.rename(odd)
    (writer.write("zstd", ebpfp=20.0, score=0.9) / "result.json").unlink()
    paths = write_report(writer.root, resamples=0)
    assert [codec.codec for codec in paths.summary.scenarios[0].codecs] == ["identity", "mean"]
    warnings = "".join(Summary.model_validate_json(paths.summary_json.read_text()).warnings)
    assert "can be removed" in warnings
    assert "\\udcff" in warnings
