"""levsha export: write a net of a run for use elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from levsha.commands.parse import parse
from levsha.errors import LevshaError
from levsha.export import EXPORTS, FOLDERS, TESTS, find_export, writer
from levsha.export.base import Floats, Source
from levsha.files import write_file
from levsha.recipes import find_recipe
from levsha.run import Run
from levsha.store import read_safetensors


@dataclass(frozen=True)
class Export:
    """Write a net of a run in another form; docs/formats.md describes each well enough to use it without Levsha."""

    run: Positional[Path]
    """The folder of a run."""
    to: str = "json"
    """c, arduino, json, bin or onnx: an integer net, whole. npz, pt or safetensors: the float weights it was trained as."""
    variant: str | None = None
    """Which variant; without it, the one the run recommends."""
    file: Path | None = None
    """Where to write an export of one file; without it, VARIANT.TO in the current folder."""
    folder: Path = Path()
    """c and arduino: where to write."""
    prefix: str = "net"
    """c and arduino: begins every name, and names the files."""
    single: bool = False
    """c: one header; the unit that defines PREFIX_IMPLEMENTATION before it includes it holds the net."""
    static: bool = False
    """c and arduino: one static state inside instead of one that the caller owns."""


def main(command: str, words: list[str]) -> int:
    """Write the files and say where they are."""
    asked = parse(Export, words, "levsha export")
    kind = find_export(asked.to).kind
    if asked.file and asked.to in FOLDERS:
        raise LevshaError(f"--file: {asked.to} writes several files; give --folder and --prefix instead.")
    run = Run(asked.run)
    source = _integer(run, asked) if kind == "integer" else _float(run, asked)
    for name, content in writer(asked.to)(source).items():
        path = asked.file or asked.folder / name
        write_file(path, content)
        print(f"{path}: {len(content)} bytes")
    return 0


def _integer(run: Run, asked: Export) -> Source:
    name, recipe = run.pick(asked.variant), find_recipe(run.results()["recipe"])
    net = run.net(name)
    tests = recipe.vectors(recipe.kept(run), net, TESTS, 0) if asked.to in FOLDERS else {}
    return Source(name, net, None, tests, asked.prefix, asked.single, asked.static)


def _float(run: Run, asked: Export) -> Source:
    results = run.results()
    name, recipe = asked.variant or run.pick(None), find_recipe(results["recipe"])
    path = recipe.float_weights(run, name)
    if not path.exists():
        made = ", ".join(v["name"] for v in results["variants"])
        raise LevshaError(f"{run.folder}: has no float weights of a variant {name!r}; it has {made}.")
    return Source(name, floats=Floats(read_safetensors(path)[1], recipe.float_about(run, recipe.kept(run), name)))


assert set(FOLDERS) <= set(EXPORTS)
