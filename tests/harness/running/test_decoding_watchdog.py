"""A worker that nobody is left to end ends itself, and never while it waits for a request."""

import subprocess
import sys
import time

import pytest

from harness.running import decoding_worker

SCRIPT = """
import sys, time
from harness.running import decoding_worker
decoding_worker.GRACE_SECONDS = 0.1
watchdog = decoding_worker._Watchdog(open("/dev/null", "w"))
watchdog.allow(0.1)
{then}
print("alive")
"""


@pytest.mark.parametrize(
    ("then", "survives"),
    [
        ("time.sleep(30)", False),
        ("10 ** 10 ** 8", False),  # in C, which lets no other thread of Python run
        ("watchdog.rest(); time.sleep(1)", True),
        ("watchdog.allow(60); time.sleep(1)", True),
    ],
)
def test_it_ends_what_takes_too_long(then, survives):
    script = SCRIPT.format(then=then)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=25)
    assert (done.stdout == "alive\n") == survives and (done.returncode == 0) == survives


def test_one_timer_serves_requests_that_come_one_upon_the_other(monkeypatch, tmp_path):
    started, clock = [], [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(
        decoding_worker.faulthandler, "dump_traceback_later", lambda seconds, **_: started.append(seconds)
    )
    monkeypatch.setattr(decoding_worker.faulthandler, "cancel_dump_traceback_later", lambda: started.append(None))
    grace = decoding_worker.GRACE_SECONDS
    with (tmp_path / "report").open("w") as report:
        watchdog = decoding_worker._Watchdog(report)
        for later in (0.0, 1.0, grace - 2, 2.0):
            clock[0] += later
            watchdog.allow(300)
        assert started == [300 + 2 * grace, 300 + 2 * grace]  # the last one would have ended too soon
        watchdog.allow(5)
        assert started[2:] == [5 + 2 * grace]  # and this one too late
        watchdog.rest()
        watchdog.allow(5)
        assert started[3:] == [None, 5 + 2 * grace]
