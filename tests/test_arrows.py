"""Imports point one way, and only the places that may import torch or name a chip do."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "levsha"
RANK = {  # a module may import those of a smaller or equal rank
    "errors": 0, "arith": 0, "arrays": 1, "files": 1, "builder": 2, "ways": 2, "ir": 2, "meaning": 2, "formats": 2, "ops": 3, "interpret": 4, "store": 4, "packing": 3, "emit": 4, "data": 4,
    "applications": 5, "targets": 6, "net": 7, "run": 7, "train": 5, "lower": 6, "capture": 6, "evidence": 8, "conversion": 8, "jobs": 8, "readings": 8, "photos": 8, "export": 8, "recipes": 9,
    "commands": 10, "cli": 11,
}  # fmt: skip
MAY_IMPORT_TORCH = {"train", "lower", "capture", "conversion", "recipes", "search"}
MAY_IMPORT_TORCH_FILES = {"data/warp.py", "data/rows.py", "data/sampling.py", "data/numbers.py", "export/pt.py"}
CHIP_WORDS = re.compile(
    r"atmega|(?<![a-z])avr|(?<![a-z])uno(?![a-z])|(?<![a-z])mega|simavr|gpior|progmem|pgm_read", re.IGNORECASE
)
NAMES_A_CHIP = {"targets"}
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
            assert here in MAY_IMPORT_TORCH or str(path.relative_to(SOURCE)) in MAY_IMPORT_TORCH_FILES


@pytest.mark.parametrize("path", sorted([*MODULES, *SOURCE.rglob("*.h")]), ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_chip_is_named_only_in_targets(path: Path) -> None:
    if room(path) not in NAMES_A_CHIP:
        found = CHIP_WORDS.search(path.read_text())
        assert not found, f"{path}: says {found and found.group()!r}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_nobody_asks_which_target_it_is(path: Path) -> None:
    if room(path) not in NAMES_A_CHIP:
        assert not re.search(r"isinstance\([^)]*\b(target|firmware)\b|target\.name ==", path.read_text())


def test_files_and_functions_stay_readable() -> None:
    for path in MODULES:
        text = path.read_text()
        assert text.count("\n") <= 260, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno:
                assert node.end_lineno - node.lineno <= 45, f"{path}: {node.name}"


def test_no_circles() -> None:
    """Every module can be imported first, in a process of its own is too slow: the graph of imports that run at import has no circle."""
    graph = {}
    names = {
        str(p.relative_to(SOURCE.parent).with_suffix("")).replace("/", ".").removesuffix(".__init__"): p
        for p in MODULES
    }
    for name, path in names.items():
        top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        found = {a.name for node in top if isinstance(node, ast.Import) for a in node.names}
        for node in top:
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {
                    f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in names else node.module for a in node.names
                }
        graph[name] = {other for other in found if other in names and other != name}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_torch_is_imported_only_to_train() -> None:
    code = "import sys, levsha.commands.chat, levsha.commands.check, levsha.recipes.tinychat.recipe, levsha.recipes.regression.recipe, levsha.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
