"""Imports point one way, and only the places that may import torch or name a chip do."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "levsha"
RANK = {  # a module may import those of a smaller or equal rank
    "errors": 0, "arith": 0, "files": 1, "ir": 2, "formats": 2, "ops": 3, "interpret": 4, "store": 4, "emit": 4, "data": 4,
    "targets": 5, "train": 5, "evidence": 6, "jobs": 6, "run": 6, "recipes": 7, "commands": 8, "cli": 9,
}  # fmt: skip
MAY_IMPORT_TORCH = {"data", "train", "recipes", "search"}
MAY_NAME_A_CHIP = {"targets", "recipes", "commands"}
MODULES = sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_arrows_point_one_way(path: Path) -> None:
    here = room(path)
    for name in imports(path):
        if name.startswith("levsha."):
            there = name.split(".")[1]
            assert here == "__init__" or RANK[there] <= RANK[here], f"{here} imports {name}"
        if name.split(".")[0] == "torch":
            assert here in MAY_IMPORT_TORCH


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_only_targets_and_recipes_name_a_chip(path: Path) -> None:
    if room(path) not in MAY_NAME_A_CHIP | {"cli"}:
        text = path.read_text().lower()
        assert "atmega" not in text and "avr-gcc " not in text.replace("avr-gcc refuses", "").replace(
            "avr-gcc would", ""
        )


def test_files_and_functions_stay_readable() -> None:
    for path in MODULES:
        text = path.read_text()
        assert text.count("\n") <= 260, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno:
                assert node.end_lineno - node.lineno <= 45, f"{path}: {node.name}"


def test_torch_is_imported_only_to_train() -> None:
    code = "import sys, levsha.commands, levsha.recipes.tinychat.story, levsha.recipes.regression.story, levsha.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
