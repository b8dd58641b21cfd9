"""Which modules of a folder belong to a user's file."""

import os
import sys

import pytest

from lamofcbench.errors import PluginError
from lamofcbench.user_files import closure
from lamofcbench.user_files.closure import read_tree


@pytest.fixture
def files_of(write):
    """The relative names of the closure of main.py."""

    def find(main, **others):
        folder = write({"main.py": main, **{f"{name}.py": text for name, text in others.items()}})
        return sorted(read_tree(folder / "main.py").files)

    return find


@pytest.mark.parametrize(
    "statement",
    [
        "import helper",
        "import helper as h",
        "from helper import x",
        "from helper import *",
        "from . import helper",
        "from .helper import x",
        "def f():\n    import helper",
        "class A:\n    def f(self):\n        from helper import x",
        "try:\n    import helper\nexcept ImportError:\n    helper = None",
        "if False:\n    import os, helper",
        "x = lambda: __import__('helper')",
    ],
)
def test_every_way_to_import_a_helper_counts(files_of, statement):
    assert files_of(statement, helper="x = 1", other="y = 2") == ["helper.py", "main.py"]


def test_imports_are_followed_from_file_to_file_and_in_circles(files_of):
    found = files_of("import a", a="import b", b="from main import X\nimport a", c="")
    assert found == ["a.py", "b.py", "main.py"]


@pytest.mark.parametrize(
    "statement",
    ["import pkg.sub", "import pkg.sub as z", "from pkg.sub import y", "from pkg import sub", "from .pkg.sub import y"],
)
def test_a_module_of_a_package_brings_its_parents(write, statement):
    folder = write({"main.py": statement, "pkg/__init__.py": "", "pkg/sub.py": "y = 1", "pkg/other.py": ""})
    assert sorted(read_tree(folder / "main.py").files) == ["main.py", "pkg/__init__.py", "pkg/sub.py"]


def test_what_a_package_imports_of_itself_and_of_its_parent_folder_counts(write):
    folder = write(
        {
            "main.py": "import pkg",
            "pkg/__init__.py": "from .inner import deep",
            "pkg/inner/__init__.py": "",
            "pkg/inner/deep.py": "from ... import top\nfrom ..side import s",
            "pkg/side.py": "s = 1",
            "top.py": "",
            "pkg/unused.py": "",
        }
    )
    package = ["pkg/__init__.py", "pkg/inner/__init__.py", "pkg/inner/deep.py", "pkg/side.py"]
    assert sorted(read_tree(folder / "main.py").files) == ["main.py", *package, "top.py"]


def test_a_star_import_brings_the_modules_that_all_lists(write):
    folder = write(
        {
            "main.py": "from pkg import *",
            "pkg/__init__.py": "__all__ = ['sub', 'VALUE']\n__all__ += ['late']\nVALUE = 1",
            "pkg/sub.py": "",
            "pkg/late.py": "",
            "pkg/other.py": "",
        }
    )
    found = sorted(read_tree(folder / "main.py").files)
    assert found == ["main.py", "pkg/__init__.py", "pkg/late.py", "pkg/sub.py"]


def test_a_folder_without_init_is_a_package_unless_an_installed_one_has_the_name(write):
    main = "import data_.helper\nimport pytest.helper"
    folder = write({"main.py": main, "data_/helper.py": "", "pytest/helper.py": ""})
    assert sorted(read_tree(folder / "main.py").files) == ["data_/helper.py", "main.py"]


def test_a_module_of_the_folder_wins_over_an_installed_one(files_of):
    assert files_of("import pytest", pytest="") == ["main.py", "pytest.py"]


def test_the_standard_library_and_this_project_are_never_the_folders(files_of):
    main = "import random\nimport lamofcbench.codecs\nimport harness"
    assert files_of(main, **{"random": "", "harness": "", "lamofcbench/__init__": ""}) == ["main.py"]


def test_a_file_named_like_a_package_means_that_package(write):
    folder = write({"pytest.py": "import pytest"})
    assert sorted(read_tree(folder / "pytest.py").files) == ["pytest.py"]


def test_a_package_runs_the_folders_own_init_for_relative_imports_alone(files_of):
    assert files_of("import helper", helper="", __init__="") == ["helper.py", "main.py"]
    found = files_of("from . import helper", helper="", __init__="")
    assert found == ["__init__.py", "helper.py", "main.py"]


def test_imports_beyond_the_folder_are_no_part_of_it(write, tmp_path):
    folder = write({"main.py": "from .. import secret\nfrom ..secret import x"}, tmp_path / "inner")
    write({"secret.py": ""})
    assert sorted(read_tree(folder / "main.py").files) == ["main.py"]


def test_a_link_out_of_the_folder_is_refused_and_one_within_it_is_followed(write, tmp_path):
    folder = write({"main.py": "import helper"}, tmp_path / "inner")
    write({"elsewhere.py": "x = 1"})
    (folder / "helper.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(PluginError, match="link out of its folder") as caught:
        read_tree(folder / "main.py")
    assert "helper.py" in str(caught.value) and "\n" not in str(caught.value)
    (folder / "helper.py").unlink()
    write({"real.py": "x = 1"}, folder)
    (folder / "helper.py").symlink_to("real.py")
    assert read_tree(folder / "main.py").files["helper.py"] == b"x = 1"


@pytest.mark.parametrize("source", ["def broken(:\n", "x = 1\0", "(" * 3000, "# coding: nonsense\n"])
def test_a_helper_that_is_no_python_is_one_clear_line_that_names_it(write, source):
    folder = write({"main.py": "import helper", "helper.py": source})
    with pytest.raises(PluginError, match=r"helper\.py fails to import: SyntaxError") as caught:
        read_tree(folder / "main.py")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("call", ["import_module('helper')", "import_module('.helper', __package__)"])
def test_a_helper_named_in_a_call_of_import_module_is_refused_as_it_would_run_unseen(files_of, call):
    with pytest.raises(PluginError, match=r"main\.py, line 2: import_module looks for helper\.py.*an import statement"):
        files_of(f"import importlib\nimportlib.{call}", helper="")
    assert files_of("import importlib\nimportlib.import_module('json')", helper="") == ["main.py"]


def test_a_folder_that_is_too_large_is_refused(write, monkeypatch):
    folder = write({"main.py": "import a, b, c", "a.py": "", "b.py": "", "c.py": "x" * 100})
    monkeypatch.setattr(closure, "MAX_FILES", 3)
    with pytest.raises(PluginError, match="more than 3 files"):
        read_tree(folder / "main.py")
    monkeypatch.setattr(closure, "MAX_FILES", 512)
    monkeypatch.setattr(closure, "MAX_BYTES", 50)
    with pytest.raises(PluginError, match="install them as a package"):
        read_tree(folder / "main.py")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="everything is readable here")
def test_a_helper_that_cannot_be_read_is_named(write):
    folder = write({"main.py": "import helper", "helper.py": ""})
    (folder / "helper.py").chmod(0)
    with pytest.raises(PluginError, match=r"helper\.py cannot be read"):
        read_tree(folder / "main.py")


def test_the_digest_covers_names_and_contents_but_not_the_place(write, tmp_path):
    first = write({"main.py": "import helper", "helper.py": "x = 1"}, tmp_path / "one")
    same = write({"main.py": "import helper", "helper.py": "x = 1", "unused.py": ""}, tmp_path / "two")
    edited = write({"main.py": "import helper", "helper.py": "x = 2"}, tmp_path / "three")
    renamed = write({"main.py": "import helper", "helper/__init__.py": "x = 1"}, tmp_path / "four")
    digests = [read_tree(folder / "main.py").digest for folder in (first, same, edited, renamed)]
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_a_file_among_installed_packages_does_not_take_them_for_its_own(files_of, tmp_path, monkeypatch):
    monkeypatch.setattr(closure, "installed_folders", lambda: (tmp_path,))
    assert files_of("import helper", helper="") == ["main.py"]


def test_names_that_no_file_can_have_are_no_modules(files_of):
    assert files_of(f"import {'x' * 300}") == ["main.py"]
