"""Running a user's file with the modules that it imports, from the bytes that were hashed."""

import inspect
import linecache
import logging
import pickle
import sys
import traceback
import typing

import pytest

from lamofcbench.errors import PluginError
from lamofcbench.user_files import modules
from lamofcbench.user_files.closure import SourceTree, read_tree
from lamofcbench.user_files.modules import attribute_of, run_tree, sources_of, tree_of


def load(folder, main="main.py"):
    return run_tree(read_tree(folder / main), folder / main)


@pytest.fixture
def loaded(write):
    """The module of main.py, run with its helpers."""

    def run(main, **others):
        return load(write({"main.py": main, **{f"{name}.py": text for name, text in others.items()}}))

    return run


@pytest.mark.parametrize(
    "statement",
    [
        "import helper\nVALUE = helper.x",
        "import helper as h\nVALUE = h.x",
        "from helper import x as VALUE",
        "from helper import *\nVALUE = x",
        "from . import helper\nVALUE = helper.x",
        "from .helper import x as VALUE",
        "def f():\n    import helper\n    return helper.x\nVALUE = f()",
        "VALUE = __import__('helper').x",
        "exec('import helper')\nVALUE = helper.x",
        "try:\n    import absent_everywhere\nexcept ImportError:\n    from helper import x as VALUE",
    ],
)
def test_helpers_are_imported_in_every_way(loaded, statement):
    if statement.startswith("exec"):
        statement += "\nif False:\n    import helper"
    module = loaded(statement, helper="x = 1")
    assert module.VALUE == 1


@pytest.mark.parametrize(
    "statement",
    [
        "import pkg.sub\nVALUE = pkg.sub.y + pkg.x",
        "import pkg.sub as z\nimport pkg\nVALUE = z.y + pkg.x",
        "from pkg.sub import y\nfrom pkg import x\nVALUE = x + y",
        "from pkg import sub, x\nVALUE = x + sub.y",
        "from pkg import *\nVALUE = x + sub.y",
        "from .pkg import sub as s, x\nVALUE = x + s.y",
    ],
)
def test_packages_are_imported_in_every_way(write, statement):
    folder = write({"main.py": statement, "pkg/__init__.py": "__all__ = ['x', 'sub']\nx = 1", "pkg/sub.py": "y = 2"})
    assert load(folder).VALUE == 3


def test_folders_without_init_are_packages(write):
    folder = write({"main.py": "import space.sub\nfrom space import sub\nVALUE = sub.y", "space/sub.py": "y = 2"})
    assert load(folder).VALUE == 2


def test_helpers_may_import_each_other_and_the_file_itself(loaded):
    main = """
    BEFORE = 1
    import a
    AFTER = 2
    def total():
        return a.total()
    """
    helpers = {"a": "import b\nfrom main import BEFORE\ny = 10\ndef total():\n    return BEFORE + y + b.z()"}
    module = loaded(main, **helpers, b="import a\nimport main\ndef z():\n    return a.y + main.AFTER")
    assert module.total() == 23


def test_what_was_hashed_runs_even_if_a_late_import_comes_after_an_edit(write):
    folder = write({"main.py": "def late():\n    import helper\n    return helper.x", "helper.py": "x = 1"})
    module = load(folder)
    write({"helper.py": "x = 2"})
    assert module.late() == 1
    assert load(folder).late() == 2 and module.late() == 1
    assert sources_of(module.late)["helper.py"] == b"x = 1"


def test_helpers_of_one_name_in_two_folders_never_stand_in_for_each_other(write, tmp_path):
    folders = [write({"main.py": "import helper", "helper.py": f"x = {i}"}, tmp_path / str(i)) for i in range(2)]
    first, second = (load(folder) for folder in folders)
    assert (first.helper.x, second.helper.x) == (0, 1)
    assert load(folders[0]) is first
    assert "helper" not in sys.modules and str(folders[0]) not in sys.path
    assert not [finder for finder in sys.meta_path if "lamofcbench" in type(finder).__module__]


def test_equal_files_in_two_folders_run_apart_because_their_data_may_differ(write, tmp_path):
    source = {"main.py": "from pathlib import Path\nDATA = (Path(__file__).parent / 'data.txt').read_text()"}
    folders = [write({**source, "data.txt": str(i)}, tmp_path / str(i)) for i in range(2)]
    assert [load(folder).DATA for folder in folders] == ["0", "1"]
    assert len({read_tree(folder / "main.py").digest for folder in folders}) == 1


def test_a_file_of_the_folder_that_nobody_hashed_is_not_found(write):
    main = """
    import importlib, pkg
    def hidden(name, package=None):
        return importlib.import_module(name, package)
    """
    folder = write({"main.py": main, "pkg/__init__.py": "", "pkg/secret.py": "", "secret.py": ""})
    module = load(folder)
    for arguments in [("secret",), (".secret", module.__package__), (".secret", module.pkg.__name__)]:
        with pytest.raises(ModuleNotFoundError):
            module.hidden(*arguments)


def test_the_folders_modules_win_over_what_is_installed_or_on_the_path(write, tmp_path, monkeypatch):
    write({"helper.py": "x = 'path'"}, tmp_path / "path")
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    folder = write({"main.py": "import helper, pytest\nVALUE = helper.x", "helper.py": "x = 'own'", "pytest.py": ""})
    module = load(folder)
    assert module.VALUE == "own" and module.pytest is not pytest
    folder = write({"main.py": "import helper\nVALUE = helper.x"}, tmp_path / "other")
    assert load(folder).VALUE == "path"


def test_a_file_may_be_named_like_the_package_that_it_uses(write):
    assert load(write({"pytest.py": "import pytest\nraises = pytest.raises"}), "pytest.py").raises is pytest.raises


@pytest.mark.parametrize("name", ["my-codec.py", "my codec.py", "my.codec.py", "2nd.py", "größe.py", "class.py"])
def test_files_of_any_name_run(write, name):
    main = "import helper\nclass A:\n    x = helper.x\nFILE = __file__"
    module = load(write({name: main, "helper.py": "x = 1"}), name)
    assert module.A.x == 1 and module.FILE.endswith(name)
    assert "helper.py" in sources_of(module.A)
    assert pickle.loads(pickle.dumps(module.A())).x == 1


def test_dataclasses_hints_pickles_and_sources_work(loaded):
    main = """
    from __future__ import annotations
    import dataclasses
    from helper import Unit

    @dataclasses.dataclass(frozen=True)
    class Params:
        unit: Unit = Unit(2)
        def twice(self) -> Unit:
            return Unit(2 * self.unit.size)
    """
    helper = "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass Unit:\n    size: int\n"
    module = loaded(main, helper=helper)
    params = module.Params()
    assert typing.get_type_hints(module.Params)["unit"] is type(params.unit)
    assert pickle.loads(pickle.dumps(params)).twice() == type(params.unit)(4)
    assert inspect.getsource(module.Params.twice).strip().startswith("def twice(self)")
    assert inspect.getsource(type(params.unit)).startswith("@dataclasses.dataclass")


def test_tracebacks_show_the_lines_that_ran(write):
    helper = "def g():\n    raise KeyError(3)"
    folder = write({"main.py": "import helper\ndef f():\n    helper.g()", "helper.py": helper})
    module = load(folder)
    write({"helper.py": "# edited\n\n\n"})
    linecache.checkcache()
    with pytest.raises(KeyError) as caught:
        module.f()
    text = "".join(traceback.format_exception(caught.value))
    assert "helper.g()" in text and "raise KeyError(3)" in text and str(folder / "helper.py") in text


@pytest.mark.parametrize(
    ("main", "helper", "message"),
    [
        ("import nowhere", "", r"main\.py fails to import: ModuleNotFoundError: .* 'nowhere' \(main\.py, line 1\)"),
        ("import helper", "import nowhere", r"'nowhere' \(helper\.py, line 1\)"),
        ("from helper import y", "", r"ImportError: cannot import name 'y' from 'helper'"),
        ("import helper", "raise ValueError('two\\nlines')", r"ValueError: two lines \(helper\.py, line 1\)"),
        ("import helper.sub", "", r"No module named 'helper\.sub'; 'helper' is not a package"),
        ("from .. import helper", "", r"beyond top-level package"),
        ("import sys; sys.exit('done')", "", "SystemExit: done"),
        ("return 3", "", r"SyntaxError: 'return' outside function \(main\.py, line 1\)"),
    ],
)  # fmt: skip
def test_what_fails_to_import_is_one_line_that_says_where(loaded, main, helper, message):
    with pytest.raises(PluginError, match=message) as caught:
        loaded(main, helper=helper)
    assert "\n" not in str(caught.value) and modules.PREFIX not in str(caught.value)


def test_after_a_failure_nothing_is_left_and_the_mended_file_runs(write):
    folder = write({"main.py": "import helper\nraise ValueError", "helper.py": ""})
    before = set(sys.modules)
    with pytest.raises(PluginError):
        load(folder)
    assert set(sys.modules) - before == set()
    write({"main.py": "import helper\nOK = 1"})
    assert load(folder).OK == 1


def test_modules_that_are_neither_the_folders_nor_installed_are_warned_of(write, tmp_path, monkeypatch, caplog):
    write({"outside_of_it.py": ""}, tmp_path / "path")
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    with caplog.at_level(logging.WARNING, "lamofcbench"):
        load(write({"main.py": "import json, pytest, outside_of_it\ndef f():\n    import outside_of_it"})).f()
    assert len(caplog.records) == 1 and "edits are not noticed" in caplog.text


def test_a_computed_name_that_is_found_on_the_path_is_warned_of(write, tmp_path, monkeypatch, caplog):
    monkeypatch.syspath_prepend(str(tmp_path))
    main = "import importlib\nmodule = importlib.import_module('found_by_' + 'name')"
    folder = write({"main.py": main, "found_by_name.py": ""})
    with caplog.at_level(logging.WARNING, "lamofcbench"):
        load(folder)
    del sys.modules["found_by_name"]
    assert "imports found_by_name from" in caplog.text


def test_the_init_of_a_package_may_be_named(write):
    folder = write({"pkg/__init__.py": "COUNT = []\nfrom .part import Mine\nCOUNT.append(1)", "pkg/part.py": PART})
    module = load(folder / "pkg", "__init__.py")
    assert module.Mine.seen is module.COUNT and module.COUNT == [1]
    assert attribute_of(module.Mine) == "Mine" and set(sources_of(module.Mine)) == {"__init__.py", "part.py"}
    assert pickle.loads(pickle.dumps(module.Mine)) is module.Mine


PART = "from . import COUNT\nclass Mine:\n    seen = COUNT\n"


def test_a_class_is_known_by_the_name_under_which_the_file_holds_it(loaded):
    main = "def make(n):\n    class Made:\n        size = n\n    return Made\nOne, Two = make(1), make(2)\n"
    module = loaded(f"{main}from helper import Own", helper="class Own: pass")
    assert [attribute_of(c) for c in (module.One, module.Two, module.Own)] == ["One", "Two", "Own"]


def test_sources_are_those_of_the_file_that_was_named(loaded):
    module = loaded("from helper import Own\nfrom collections import Counter", helper="class Own: pass")
    assert tree_of(module.Own).main == "main.py" and set(sources_of(module.Own)) == {"main.py", "helper.py"}
    assert sources_of(module.Own()) == sources_of(module)
    assert sources_of(module.Counter) is None and sources_of(3) is None


def test_a_tree_runs_from_its_bytes_alone(tmp_path):
    tree = SourceTree("main.py", {"main.py": b"from pkg.sub import x", "pkg/sub.py": b"x = 7"})
    module = run_tree(tree, tmp_path / "gone" / "main.py")
    assert module.x == 7 and not (tmp_path / "gone").exists()
