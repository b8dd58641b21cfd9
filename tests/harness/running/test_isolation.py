"""What an audit hook lets a decoder reach; end to end in test_verification."""

import os
import sys
import time
from pathlib import Path

import numpy
import pytest

import dataset_builders
from dataset_builders import mini, small
from harness.running.isolation import Isolation


@pytest.fixture
def places(tmp_path):
    """A process's own folder, and a folder on the import path with a package, results and a distribution."""
    own, path = tmp_path / "own", tmp_path / "path"
    for file in ("own/x", "path/module.py", "path/package/__init__.py", "path/package/data/table.bin",
                 "path/results/5.bin", "path/plugin-1.0.dist-info/METADATA", "elsewhere/x"):  # fmt: skip
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"x")
        os.utime(tmp_path / file, (1, 1))
    return tmp_path, Isolation(own, [str(path)], since=time.time() - 10)


def refused(isolation, event, *arguments):
    return isolation.refusal(event, arguments) is not None


@pytest.mark.parametrize(
    "name", ["own/x", "own/new", "path/module.py", "path/package/data/table.bin", "path/plugin-1.0.dist-info/METADATA"]
)
def test_its_own_folder_and_packages_are_open(places, name):
    folder, isolation = places
    for path in (folder / name, str(folder / name), os.fsencode(folder / name)):
        assert not refused(isolation, "open", path, "rb", 0)


@pytest.mark.parametrize("name", ["elsewhere/x", "path/results/5.bin", "own/../elsewhere/x", "own-not/x", "nowhere"])
def test_what_lies_elsewhere_is_not_there(places, name):
    folder, isolation = places
    error = isolation.refusal("open", (folder / name, "rb", 0))
    assert isinstance(error, FileNotFoundError) and name in str(error)
    with pytest.raises(FileNotFoundError):
        isolation("open", (folder / name, "rb", 0))
    assert len(isolation.refusals) == 1 and name in isolation.refusals[0]


def test_a_link_leads_where_it_points(places):
    folder, isolation = places
    (folder / "own" / "link").symlink_to(folder / "elsewhere" / "x")
    assert refused(isolation, "open", folder / "own" / "link", "rb", 0)


def test_a_package_is_open_as_it_was_when_the_run_began(places):
    folder, isolation = places
    (folder / "path" / "package" / "left-there").write_bytes(b"payload")
    (folder / "path" / "module.py").write_bytes(b"payload")
    assert refused(isolation, "open", folder / "path" / "package" / "left-there", "rb", 0)
    assert refused(isolation, "open", folder / "path" / "module.py", "rb", 0)
    os.utime(folder / "path" / "module.py", (time.time() + 10**6,) * 2)  # an unpacked archive may claim the future
    assert not refused(isolation, "open", folder / "path" / "module.py", "rb", 0)


def test_interpreter_libraries_and_devices_are_open(places):
    _, isolation = places
    for path in (os.__file__, numpy.__file__, sys.executable, os.devnull, "/dev/urandom", 5, None):
        assert not refused(isolation, "open", path, "rb", 0)
    if Path("/proc/self").exists():
        for path in ("/proc/self/status", f"/proc/{os.getpid()}/maps", "/proc/cpuinfo"):
            assert not refused(isolation, "open", path, "rb", 0)
        for path in (f"/proc/{os.getppid()}/environ", "/proc/1/cmdline", "/proc/self/" + "root/tmp", "/dev/shm/x"):
            assert refused(isolation, "open", path, "rb", 0)


@pytest.mark.parametrize("package", [mini, small], ids=lambda package: package.__name__)
def test_data_and_models_that_come_with_the_package_are_not_there(package):
    root = Path(dataset_builders.__file__).parent.parent
    isolation = Isolation(root / "own", [str(root)], since=time.time() + 60)
    folder = Path(package.__file__).parent
    assert not refused(isolation, "open", dataset_builders.__file__, "rb", 0)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5 and all(refused(isolation, "open", path, "rb", 0) for path in files)
    assert refused(isolation, "os.listdir", folder)
    for module in (package.__name__, f"{package.__name__}.facts"):
        error = isolation.refusal("import", (module, None))
        assert isinstance(error, ModuleNotFoundError) and package.__name__ in str(error)


def test_folders_are_listed_where_modules_come_from(places):
    folder, isolation = places
    for event in ("os.listdir", "os.scandir"):
        assert not refused(isolation, event, folder / "path")
        assert not refused(isolation, event, folder / "own")
        assert not refused(isolation, event, None)
        assert refused(isolation, event, folder / "elsewhere")
        assert refused(isolation, event, "/")


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("os.rename", ("{elsewhere}", "{own}", -1, -1)),
        ("os.link", ("{elsewhere}", "{own}", -1, -1)),
        ("os.getxattr", ("{elsewhere}", "user.payload")),
        ("sqlite3.connect", ("{elsewhere}",)),
        ("ctypes.dlopen", ("{elsewhere}",)),
        ("import", ("payload", "{elsewhere}", [], [], [])),
        ("import", ("dataset_builders.mini", None, [], [], [])),
        ("import", ("dataset_builders.mini.digits", None, [], [], [])),
        ("socket.connect", (None, ("127.0.0.1", 80))),
        ("socket.connect", (None, "{elsewhere}")),
        ("socket.connect", (None, b"\0abstract")),
        ("socket.sendto", (None, ("127.0.0.1", 80))),
        ("socket.bind", (None, ("127.0.0.1", 80))),
        ("socket.getaddrinfo", ("example.org", 80, 0, 0, 0)),
        ("lamofcbench.data", ("mini-cvu-digits",)),
        ("lamofcbench.model", ("mini-cvu-digits",)),
    ],
)
def test_other_ways_out_are_refused(places, event, arguments):
    folder, isolation = places
    named = {"{elsewhere}": str(folder / "elsewhere" / "x"), "{own}": str(folder / "own" / "x")}
    error = isolation.refusal(event, tuple(named.get(a, a) if isinstance(a, str) else a for a in arguments))
    assert isinstance(error, (OSError, ImportError))


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("ctypes.dlopen", ("libc.so.6",)),
        ("ctypes.dlopen", (None,)),
        ("import", ("json", None, [], [], [])),
        ("import", ("dataset_builders", None, [], [], [])),
        ("subprocess.Popen", ("cat", ["cat"], None, None)),
        ("compile", (b"x", "<string>")),
        ("socket.__new__", (None, 2, 1, 0)),
    ],
)
def test_ordinary_events_pass(places, event, arguments):
    assert places[1].refusal(event, arguments) is None


def test_a_path_of_any_length_is_reported_in_short(places):
    assert len(str(places[1].refusal("open", ("/elsewhere/" + "x" * 10**5, "rb", 0)))) < 300
