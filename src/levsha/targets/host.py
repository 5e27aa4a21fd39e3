"""This machine: gcc with every warning and UBSan; proves that the C is clean, exact and portable."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from levsha.applications import Application, Message
from levsha.errors import LevshaError
from levsha.files import write_file
from levsha.ir import Graph
from levsha.meaning import Meaning
from levsha.targets.base import Target, call, pack_inputs, unpack_values
from levsha.targets.firmware import Answer, Conversation, Firmware, Outcome, Tool, Typed
from levsha.targets.texts import framed, mark_header

FLAGS = (
    "-std=c99", "-pedantic", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror",
    "-fsanitize=undefined", "-fno-sanitize-recover",
)  # fmt: skip
SERIAL = """enum { SERIAL_SILENT = -1, SERIAL_DAMAGED = -2 };
static long serial_left;   /* bytes of the message; behind the last one nothing comes until the next message */

static inline int16_t serial_get_within(uint8_t ticks)
{
    (void)ticks;
    if (!serial_left) return SERIAL_SILENT;
    --serial_left;
    const int c = getchar();
    if (c == EOF) exit(0);
    return (int16_t)c;
}

static inline uint8_t serial_get(void)
{
    while (!serial_left)
        if (scanf("%ld%*c", &serial_left) != 1) exit(0);
    return (uint8_t)serial_get_within(0);
}

static inline uint8_t serial_get_checked(void) { return serial_get(); }
static inline void serial_put(uint8_t c) { putchar(c); }
"""
READY = "\x01"  # what the program prints where a firmware tells its simulator that it waits for a line


@dataclass(frozen=True)
class HostFirmware(Firmware):
    """A program of this machine: with the argument `vectors` it reads vectors from standard input, else messages, each behind its length."""

    def built(self, folder: Path) -> Self:
        for name, text in self.sources.items():
            write_file(folder / name, text)
        call(["gcc", *FLAGS, "-o", "firmware", "firmware.c"], "host", cwd=folder)
        return replace(self, image=folder / "firmware")

    def vectors(self, inputs: Mapping[str, np.ndarray]) -> Outcome:
        rows = pack_inputs(self.graph, inputs)
        done = subprocess.run([self.built_image, "vectors"], input=rows.tobytes(), capture_output=True, check=False)
        if done.returncode:
            raise LevshaError(f"host: the program stopped: {done.stderr.decode(errors='replace')[-600:]}")
        got = np.frombuffer(done.stdout, np.uint8).reshape(len(rows), -1)
        return Outcome(dict(inputs), unpack_values(self.graph, self.graph.outputs, got))

    def type(self, messages: Sequence[Message]) -> Typed:
        with self.talk() as talk:
            return Typed([talk.say(message).text for message in messages], None)

    def talk(self) -> HostConversation:
        return HostConversation(self)


class HostConversation(Conversation):
    """Messages through pipes."""

    def __init__(self, firmware: HostFirmware) -> None:
        self._application = firmware.application
        self._process = subprocess.Popen([firmware.built_image], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._until_ready()

    def say(self, message: Message) -> Answer:
        assert self._process.stdin
        self._process.stdin.write(framed(message))
        self._process.stdin.flush()
        return Answer(self._application.answer(self._until_ready()), [])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _until_ready(self) -> str:
        assert self._process.stdout
        text = bytearray()
        while (byte := self._process.stdout.read(1)) != READY.encode():
            if not byte:
                raise LevshaError("host: the program stopped before it answered.")
            text += byte
        return text.decode("utf-8", "replace")


class Host(Target):
    """gcc -std=c99 with all warnings as errors and the undefined-behaviour sanitizer."""

    name = "host"
    chip = "this machine"
    tools = (Tool("gcc", "gcc"),)

    def firmware(
        self, graph: Graph, application: Application, title: str, meaning: Meaning | None = None
    ) -> HostFirmware:
        sources = {
            "net.h": self.net_text(graph, title, meaning),
            "mark.h": mark_header(),
            f"{application.name}.h": application.header(graph),
            "firmware.c": _main(graph, application, title),
        }
        return HostFirmware(graph, application, title, sources)


def _main(graph: Graph, application: Application, title: str) -> str:
    reads = [f"fread(net_instance.{name}, sizeof net_instance.{name}, 1, stdin) == 1" for name in graph.inputs]
    writes = [
        f"        fwrite(net_{name}(), sizeof net_{name}()[0], {graph.values[name].size}, stdout);"
        for name in graph.outputs
    ]
    return f"""/* {title}, on this machine: messages on standard input, each behind its length in a line, or with an argument vectors */
#include <stdio.h>
#include <stdlib.h>
#include <stdint.h>
#include "mark.h"
#define LEVSHA_MARK(v) do {{ if ((v) == MARK_READY) {{ putchar({ord(READY)}); fflush(stdout); }} }} while (0)
#include "net.h"

{SERIAL}#include "{application.name}.h"

int main(int argc, char **argv)
{{
    (void)argv;
    if (argc == 1)
        for (;;) {{ {application.main} }}
    while ({" && ".join(reads)}) {{
        net_run();
{chr(10).join(writes)}
    }}
    return 0;
}}
"""
