"""The rooms and the direction of imports."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "lamofcbench": {"lamofcbench"},
    "dataset_builders": {"lamofcbench", "dataset_builders"},
    "harness": {"lamofcbench", "dataset_builders", "harness"},
}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_run_one_way(room):
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                assert top not in MAY_IMPORT or top in MAY_IMPORT[room], f"{path} imports {name}"


def test_no_modules_import_each_other_not_even_inside_functions():
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for room in MAY_IMPORT
        for path in (ROOT / room).rglob("*.py")
    }
    imports = {name: set() for name in modules}
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imports[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                full = {f"{node.module}.{alias.name}" for alias in node.names}
                imports[name] |= {target if target in modules else node.module for target in full}
        imports[name] &= modules.keys() - {name}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


LIGHT = ["lamofcbench", "lamofcbench.scenarios.base", "dataset_builders.mini", "harness.cli"]


@pytest.mark.parametrize("module", LIGHT)
def test_imports_are_light(module):
    heavy = "transformers evaluate matplotlib sklearn diffusers"
    code = f"import sys, {module}; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_no_machine_paths_stand_in_the_repository():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    suspicious = [f"/{name}/" for name in ("home", "root", "work", "Users")]
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".cfg", ".toml", ".json", ".txt"} and path.is_file():
            text = path.read_text()
            assert not [s for s in suspicious if s in text], name


def test_every_module_has_a_docstring():
    for room in MAY_IMPORT:
        for path in (ROOT / room).rglob("*.py"):
            tree = ast.parse(path.read_text())
            assert ast.get_docstring(tree) or not tree.body, path


HARNESS_MAY_IMPORT = {
    "statistics": set(),
    "metrics": {"statistics"},
    "results": {"metrics", "statistics"},
    "running": {"results", "metrics", "statistics", "console"},
    "training": {"running", "results"},
    "report": {"results", "metrics", "statistics", "console"},
}


@pytest.mark.parametrize("room", HARNESS_MAY_IMPORT)
def test_the_rooms_of_the_harness_import_one_way(room):
    for path in (ROOT / "harness" / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness"):
                parts = node.module.split(".")
                targets = parts[1:2] or [alias.name for alias in node.names]
                assert set(targets) <= HARNESS_MAY_IMPORT[room] | {room}, f"{path} imports {node.module}"


def test_what_is_computed_for_a_report_knows_nothing_of_what_shows_it():
    for path in (ROOT / "harness" / "report").glob("*.py"):
        if path.name in {"__init__.py", "write.py"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and "render" in (node.module or "")), path
