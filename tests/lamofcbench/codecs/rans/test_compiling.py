"""Machine code and plain Python give the same bytes, and read them alike."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lamofcbench.codecs.rans.compiling import SWITCH, compiled

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
