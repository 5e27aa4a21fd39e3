"""This machine: gcc with every warning and UBSan; proves that the C is clean, exact and portable."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from levsha.emit.c import stage_function
from levsha.errors import LevshaError
from levsha.ir import Graph, c_name
from levsha.targets.base import Outcome, Target, Tool, call, pack_inputs, unpack_values

FLAGS = ("-std=c99", "-pedantic", "-O2", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", "-fno-sanitize-recover")


class Host(Target):
    """gcc -std=c99 -Wall -Wextra -Werror with the undefined-behaviour sanitizer."""

    name = "host"
    chip = "this machine"
    tools = (Tool("gcc", "gcc"),)

    def _run_vectors(self, graph: Graph, inputs: Mapping[str, np.ndarray], folder: Path) -> Outcome:
        (folder / "main.c").write_text(_main(graph))
        call(["gcc", *FLAGS, "-o", "net", "main.c"], "host", cwd=folder)
        rows = pack_inputs(graph, inputs)
        done = subprocess.run([folder / "net"], input=rows.tobytes(), capture_output=True, check=False)
        if done.returncode:
            raise LevshaError(f"host: the program stopped: {done.stderr.decode(errors='replace')[-600:]}")
        got = np.frombuffer(done.stdout, np.uint8).reshape(len(rows), -1)
        return Outcome(dict(inputs), unpack_values(graph, graph.outputs, got))


def _main(graph: Graph) -> str:
    first = next(iter(graph.inputs))
    reads = [f"fread({c_name(name)}, sizeof {c_name(name)}, 1, stdin) == 1" for name in graph.inputs]
    runs = [f"        {stage_function(name)}();" for name in graph.inputs]
    writes = [
        f"        fwrite({c_name(name)}, sizeof {c_name(name)}[0], {graph.values[name].size}, stdout);"
        for name in graph.outputs
    ]
    return "\n".join(
        [
            "#include <stdio.h>",
            '#include "net.h"',
            f"/* vectors of {first} ... on standard input, outputs on standard output */",
            "int main(void)",
            "{",
            f"    while ({' && '.join(reads)}) {{",
            *runs,
            *writes,
            "    }",
            "    return 0;",
            "}",
            "",
        ]
    )
