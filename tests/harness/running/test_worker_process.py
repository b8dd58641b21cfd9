"""What a process that runs a codec apart is given of this one's environment."""

import os
import sys
from pathlib import Path

from harness.running import worker_process


def test_it_inherits_what_decides_numbers_and_finds_programs_and_nothing_else():
    variables = {
        "PATH": "/usr/bin", "LD_LIBRARY_PATH": "/opt/lib", "OMP_NUM_THREADS": "3", "OPENBLAS_CORETYPE": "Haswell",
        "CUDA_VISIBLE_DEVICES": "1", "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    others = {
        "HOME": "/users/me", "PYTHONPATH": "/users/me/project", "HF_TOKEN": "secret", "LAMOFCBENCH_CACHE": "/data",
        "CUDA_HOME": "/users/me/cuda", "CUDA_CACHE_PATH": "/users/me/cache", "DATA": "/data", "PYTHONHASHSEED": "0",
    }  # fmt: skip
    assert worker_process.inherited({**variables, **others}) == variables


def test_it_imports_what_is_installed_or_named_but_not_from_the_users_folder(tmp_path, monkeypatch):
    named, distributions, script = (tmp_path / name for name in ("named", "distributions", "script"))
    for folder in (named, distributions, script):
        folder.mkdir()
    (distributions / "plugin-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", ["", str(script), str(named), str(distributions), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(named))
    path = worker_process.import_path()
    assert str(named) in path and str(distributions) in path
    assert str(script) not in path and "" not in path
    assert [entry for entry in path if "site-packages" in entry]


def test_folders_that_a_codec_has_nested_without_end_go_too(tmp_path):
    folder, here = tmp_path / "own", Path.cwd()
    folder.mkdir()
    try:
        os.chdir(folder)
        for _ in range(3000):
            Path("d").mkdir()
            os.chdir("d")
    finally:
        os.chdir(here)
    worker_process._remove(folder)
    assert not folder.exists()
