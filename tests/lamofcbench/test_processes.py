import os
import subprocess
import sys
import time

from lamofcbench.processes import is_running, machine


def test_this_process_runs_and_no_process_has_a_number_beyond_all():
    assert is_running(os.getpid())
    assert not is_running(2**30) and not is_running(2**70)


def test_a_process_that_nobody_has_asked_for_yet_has_ended():
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    child.stdout.read()  # until it ends; it is not waited for
    for _ in range(500):
        if not is_running(child.pid):
            break
        time.sleep(0.01)
    ended = not is_running(child.pid)
    child.wait()
    child.stdout.close()
    assert ended


def test_a_machine_is_named_alike_in_all_its_processes():
    code = "from lamofcbench.processes import machine; print(machine())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == machine()
