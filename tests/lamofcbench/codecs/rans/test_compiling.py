"""Machine code and plain Python give the same bytes, and read them alike."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lamofcbench.codecs.rans.compiling import SWITCH, compiled, kernel

PROGRAM = Path(__file__).with_name("coded_and_decoded.py")


def outcome(switch):
    environment = {**os.environ, SWITCH: switch}
    done = subprocess.run([sys.executable, str(PROGRAM)], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(not compiled(), reason="nothing is compiled here")
def test_machine_code_and_plain_python_give_the_same_bytes():
    machine, plain = outcome("1"), outcome("0")
    assert (machine.pop("compiled"), plain.pop("compiled")) == (True, False)
    assert machine == plain


def test_without_numba_kernels_are_plain_python(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not compiled.__wrapped__()
    monkeypatch.delitem(sys.modules, "numba")
    monkeypatch.setenv(SWITCH, "0")
    assert not compiled.__wrapped__()


@pytest.mark.skipif(not compiled(), reason="nothing is compiled here")
def test_where_no_cache_can_be_written_kernels_are_compiled_for_the_process_alone(monkeypatch):
    import numba

    def njit(signature, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(signature, **options)

    real = numba.njit
    monkeypatch.setattr(numba, "njit", njit)
    assert kernel("int64(int64)")(lambda n: n + 1)(2) == 3
