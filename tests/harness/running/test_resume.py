import subprocess
import sys
from pathlib import Path


def test_killing_runs_at_random_points_leaves_no_trace_in_the_results(toy_file, toy_data, tmp_path, snapshot):
    script = Path(__file__).with_name("kill_and_resume.py")
    arguments = [toy_file, toy_data, tmp_path, 0, 6, "uniform:step=0.5", "kmeans:points=4"]
    done = subprocess.run([sys.executable, script, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 6
    whole, resumed = snapshot(tmp_path / "whole"), sorted(tmp_path.glob("resumed-*"))
    assert whole and resumed
    for folder in (*resumed, tmp_path / "together", tmp_path / "survived"):
        assert snapshot(folder) == whole
