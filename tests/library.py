"""Builds exported C as its users do: in a folder, with every warning an error."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from levsha.applications import Chat, Sensor
from levsha.export import writer
from levsha.export.base import Source
from levsha.formats import FORMATS
from levsha.ir import Graph
from levsha.meaning import Meaning, Quantity
from levsha.net import Net
from levsha.ops import Argmax
from tests.nets import CHARSET, small_chat_graph
from tests.test_exact import inputs_of
from tests.test_sensor import APART, sensor_graph

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")
SANITIZERS = ("-O2", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
COMPILERS = {
    "gcc-c99": ("gcc", "-std=c99"), "g++-c++17": ("g++", "-std=c++17"),
    "clang-c99": ("clang", "-std=c99"), "clang++-c++17": ("clang++", "-std=c++17"),
}  # fmt: skip
ODD = Meaning(
    'Ends early: */ and /* and \\ ??/ "quoted" ??)',
    {
        "readings": (
            Quantity("Übergröße ??) \\", "°C", 0.01, 20.0),
            Quantity('*/ int door; /* "door"', "", 1.0),
            Quantity("line\nbreak \u202e ???/", "m/s²", 0.5),
        ),
        "answer": (Quantity("är\\", "kg", 0.1, -7.0), Quantity("??<", "%", 0.25)),
    },
    {"class": ('no "\\', "??/ */ jä")},
)


def need_tool(name: str, optional: bool = False) -> str:
    """Skip where a program is missing; fail in CI, but for those that may be missing there too."""
    if not shutil.which(name):
        if os.environ.get("CI") and not optional:
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return name


def sensor_net(seed: int = 0, meaning: Meaning = ODD) -> Net:
    """Readings of different ranges, called whatever a person may call them, and classes."""
    graph = sensor_graph(seed, ranges=APART)
    if meaning.classes:
        ops = (*graph.ops, Argmax(name="class", inputs=("answer",)))
        graph = Graph(graph.inputs, ops, ("class", "answer"))
    return Net(graph, meaning, Sensor(meaning), "odd */ sensor ??/")


def chat_net(weights: str = "two_bit", seed: int = 0) -> Net:
    """A chat whose logits have names."""
    graph = small_chat_graph(weights, seed=seed)
    logits = tuple(Quantity(chr(byte) if byte else "the end mark", "", 0.01) for byte in CHARSET)
    meaning = Meaning("A chat.", {"logits": logits}, notes={"context": "the last 8 bytes"})
    return Net(graph, meaning, Chat(), "a chat")


def bare_net(graph: Graph) -> Net:
    """A net of which nothing is known."""
    return Net(graph, Meaning(), Sensor(), "bare")


def export(net: Net, folder: Path, prefix: str, to: str = "c", vectors: int = 8, **options: bool) -> list[Path]:
    """Write an export and return its files."""
    source = Source("net", net, None, inputs_of(net.graph, vectors, seed=5), prefix, **options)
    found = []
    for name, content in writer(to)(source).items():
        found.append(folder / name)
        found[-1].parent.mkdir(parents=True, exist_ok=True)
        found[-1].write_bytes(content)
    return found


def build(folder: Path, files: list[str], compiler: str, *flags: str) -> Path:
    """Compile and link files of a folder; every warning is an error."""
    program, standard = COMPILERS[compiler]
    need_tool(program, optional=program.startswith("clang"))
    language = ["-x", "c++"] if "++" in program else []
    out = folder / f"program-{compiler}"
    command = [program, standard, *WARNINGS, *flags, f"-I{folder}", *language, *files, "-o", str(out)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    return out


def run(program: Path, stdin: bytes = b"") -> str:
    """Run a program, which must end well, and return what it printed."""
    done = subprocess.run([program], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr.decode(errors="replace")[-2000:])
    return done.stdout.decode()


def numbers(text: str) -> np.ndarray:
    """Return every line of whole numbers as a row."""
    return np.array([[int(word) for word in line.split()] for line in text.splitlines()])


FORMAT_NAMES = list(FORMATS)
