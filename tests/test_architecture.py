"""The rooms and the direction of imports."""

import ast
import subprocess
import sys
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
