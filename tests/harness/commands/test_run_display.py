"""What a run shows as it goes on: lines that a pipe can search, bars on a terminal, never both on one line."""

import io
import logging
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.commands._run_display import RunDisplay, Shown
from harness.report.text import NOTHING
from harness.running.progress import Finished
from lamofcbench.codecs.base import CODECS
from lamofcbench.scenarios.base import SCENARIOS

SCENARIO = SCENARIOS.get("mini-cvu-digits")
FILE = "./somewhere/my_codecs.py:ACodecOfMine"
PLAN = [("uniform:step=2", {"step": 2.0}), (f"{FILE}:step=4", {"step": 4.0})]


class Terminal(io.StringIO):
    """A stream that takes itself for a terminal."""

    def isatty(self):
        return True


def _finished(name, rate, score, *, samples=64, **options):
    codec = SimpleNamespace(name=name, lossless=False)
    result = SimpleNamespace(
        codec=codec, rate=SimpleNamespace(ebpfp=rate), score=score, samples=samples, direction="up", metric="accuracy"
    )
    return Finished(Path(name, f"{rate}"), result, 1.25, batches=4, **options)


def _run(display):
    """Anchor, floor, and two points, the first of which an earlier run had finished, the other one begun."""
    uniform = CODECS.get("uniform")
    ends = [
        (CODECS.get(name)(SCENARIO.specs), rate, score)
        for name, rate, score in [("identity", 32.0, 1.0), ("mean", 0.01, 0.0)]
    ]
    points = [(uniform(SCENARIO.specs, params), rate, 0.97) for (_, params), rate in zip(PLAN, (2.0, 1.0), strict=True)]
    for (codec, rate, score), resumed in zip(ends + points, (0, 0, 4, 1), strict=True):
        display.begin(SCENARIO, codec)
        for _ in display.batches(range(4 - resumed)):
            logging.getLogger("lamofcbench").warning("something of %s", codec.name)
        display.finish(SCENARIO, _finished(codec.name, rate, score, resumed=resumed))


@pytest.fixture
def plans():
    uniform = CODECS.get("uniform")
    return [(SCENARIO, [(spec, uniform(SCENARIO.specs, params)) for spec, params in PLAN])]


def test_in_a_pipe_each_point_is_one_line_with_its_spec_in_full(plans, capsys):
    with RunDisplay(plans, lines=True, bars=True) as display:
        _run(display)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["codec", "identity", "mean", *(spec for spec, _ in PLAN)]
    assert lines[1].split() == ["mini-cvu-digits", "identity", "32.0", "1.00", "100.0", "1.2"]
    assert lines[3].split()[2:] == ["2.00", "0.970", "97.0", "resumed"]
    assert lines[4].endswith("97.0      1.2  resumed at batch 2 of 4")
    assert [point["retention"] for point in display.as_plain()] == [1.0, 0.0, 0.97, 0.97]


@pytest.mark.parametrize("lines", [True, False])
def test_what_keeps_a_run_waiting_is_told_beside_its_lines(plans, capsys, lines):
    with RunDisplay(plans, lines=lines, bars=False) as display:
        display.consult_tail(SCENARIO)
    said = capsys.readouterr()
    assert said.out == "" and ("mini-cvu-digits: computing how its tail responds" in said.err) == lines


def test_without_lines_the_table_stands_alone(plans, capsys):
    with RunDisplay(plans, lines=False, bars=False) as display:
        _run(display)
    display.print_summary(thinned=False)
    out = capsys.readouterr().out
    assert out.startswith("EBPFP@95") and FILE in out


def test_on_a_terminal_lines_and_log_messages_begin_where_no_bar_stands(plans, monkeypatch):
    screen = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, screen)
    handler = logging.StreamHandler(screen)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    with RunDisplay(plans, lines=True, bars=True) as display:
        _run(display)
    assert logging.getLogger().handlers == [handler] and screen.getvalue().endswith("\r")
    written = screen.getvalue()
    assert "point 1 of 4" in written and "point 4 of 4" in written
    told = re.findall(r"(.{6})((?:mini-cvu-digits|something of|scenario  )[^\r\n]*)", written, re.DOTALL)
    assert len(told) == 5 + 11
    for before, line in told:
        assert before.endswith(("\r", "\r\x1b[A", "\n")), (before, line)
        assert len(line) <= 80
    assert "…OfMine:step=4  " in told[-1][1] and f"{told[-1][1]}\n  resumed at batch 2 of 4\n" in written


def test_points_of_a_saved_codec_are_told_apart_by_parameters_and_are_one_curve(capsys):
    uniform = CODECS.get("uniform")
    codecs = [uniform(SCENARIO.specs, {"step": step}) for step in (2.0, 4.0)]
    with RunDisplay([(SCENARIO, [("org/name", codec) for codec in codecs])], lines=True, bars=False) as display:
        for codec, rate in zip(codecs, (2.0, 1.0), strict=True):
            display.begin(SCENARIO, codec)
            display.finish(SCENARIO, _finished("uniform", rate, 0.9))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1] for line in lines[1:]] == ["org/name (step=2)", "org/name (step=4)"]
    assert {shown.point.codec for shown in display.points} == {"org/name"}


@pytest.mark.parametrize("lines", [True, False])
def test_a_score_of_other_samples_than_anchor_and_floor_cover_has_no_share_and_the_reason_is_told_once(
    plans, capsys, lines
):
    (_, codecs), ends = plans[0], [(CODECS.get(name)(SCENARIO.specs), 200) for name in ("identity", "mean")]
    with RunDisplay(plans, lines=lines, bars=False) as display:
        for codec, samples in (*ends, *((codec, 4) for _, codec in codecs)):
            display.begin(SCENARIO, codec)
            score = 0.0 if codec.name == "mean" else 1.0
            rate = codec.params.step if codec.name == "uniform" else 32.0
            display.finish(SCENARIO, _finished(codec.name, rate, score, samples=samples))
    assert [point["retention"] for point in display.as_plain()] == [1.0, 0.0, None, None]
    counts = "(identity 200, mean 200, uniform:step=2 4)"
    said = [line for line in capsys.readouterr().err.splitlines() if "no share of the score" in line]
    assert len(said) == 1 and counts in said[0]
    display.print_summary(thinned=False)
    assert f"mini-cvu-digits  {NOTHING.rjust(len('uniform'))}" in capsys.readouterr().out


def test_a_share_just_below_none_has_no_sign(plans):
    display = RunDisplay(plans, lines=True, bars=False)
    shown = Shown(SCENARIO, "mean", "mean", _finished("mean", 0.01, 0.0), -1e-9)
    assert display._line(shown).split()[-2] == "0.0"
