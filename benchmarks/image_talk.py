"""What the conversation in pictures costs on the ATmega328P, for every net of a run of the recipe images.

    python -m benchmarks.image_talk RUN [PICTURES]

Each net is built twice, alone and with the application image. PICTURES of the run's test images (24) are sent in each of three
spellings: binary PGM, PGM in text, numbers in a line; and every mistake that a message can have, once. What is said must be what the
interpreter says. Flash and SRAM in bytes, static and stack apart; milliseconds of the net, mean of the pictures. Writes
benchmarks/out/image_talk.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from levsha.applications import Application, Bare, Image, Message
from levsha.applications.netpbm import kinds_of
from levsha.evidence.check import compare
from levsha.files import write_file
from levsha.net import Net
from levsha.recipes import find_recipe
from levsha.run import Run
from levsha.targets import Firmware, find_target

OUT = Path(__file__).parent / "out" / "image_talk.json"
UNO = find_target("uno")
PICTURES = 24


def spelt(net: Net, x: np.ndarray) -> list[Message]:
    """Return pictures as they lie in memory in every spelling, and mistakes."""
    application = net.application
    assert isinstance(application, Image)
    picture = application.picture(net.graph)
    binary, text = kinds_of(picture)
    found: list[Message] = []
    for row in x:
        words = " ".join(map(str, picture.lift(row[None]).ravel().tolist()))
        found += [
            application.message(net.graph, row),
            f"P{text}\n{picture.columns} {picture.rows}\n{picture.top}\n{words}",
            words,
        ]
    whole = application.message(net.graph, x[0])
    assert isinstance(whole, bytes)
    return [
        *found, whole[:-1], whole + b"7", whole.replace(b"P%d" % binary, b"P4"), whole.replace(b"%d " % picture.columns, b"99 ", 1),
        b"P%d 1 1 70000\n" % binary, b"\0\xff\xfe garbage", whole,
    ]  # fmt: skip


def built(net: Net, application: Application, folder: Path) -> Firmware:
    return UNO.firmware(net.graph, application, net.title, net.meaning).built(folder)


def measured(net: Net, x: np.ndarray) -> dict[str, Any]:
    """Return the row of a net; x: integers of real pictures, (N, *shape in memory)."""
    (name,) = net.graph.inputs
    with tempfile.TemporaryDirectory() as scratch:
        alone, whole = built(net, Bare(), Path(scratch, "a")), built(net, net.application, Path(scratch, "b"))
        bare, messages = alone.vectors({name: x}), spelt(net, x)
        typed = whole.type(messages)
        assert typed.outcome and typed.outcome.cycles is not None and bare.stack_bytes and typed.outcome.stack_bytes
        expected = [net.application.expected(net.graph, message) for message in messages]
        static = whole.sizes.static_bytes or 0
        return {
            "flash": whole.sizes.flash_bytes, "flash of the application": (whole.sizes.flash_bytes or 0) - (alone.sizes.flash_bytes or 0),
            "static": static, "static of the application": static - (alone.sizes.static_bytes or 0),
            "stack": typed.outcome.stack_bytes, "stack of the application": typed.outcome.stack_bytes - bare.stack_bytes,
            "SRAM": static + typed.outcome.stack_bytes, "ms": 1000 * float(typed.outcome.cycles.sum(1).mean()) / (UNO.clock_hz or 1),
            "messages": len(messages), "said otherwise": sum(a != b for a, b in zip(typed.answers, expected, strict=True)),
            "pictures": len(typed.outcome.cycles), "mismatches": compare(net.graph, typed.outcome).mismatches,
        }  # fmt: skip


def main(folder: str, pictures: str = str(PICTURES)) -> None:
    run, rows = Run(Path(folder)), {}
    samples = find_recipe(run.results()["recipe"]).kept(run).samples
    for name in run.variants():
        net = run.net(name)
        (value,) = net.graph.inputs
        rows[name] = measured(net, net.integers(value, net.meaning.layouts[value].lay(samples.x[: int(pictures)])))
        print(f"{name}: {', '.join(f'{key} {figure:.6g}' for key, figure in rows[name].items())}", flush=True)
    write_file(OUT, json.dumps({"run": run.results()["data"]["about"], "nets": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
