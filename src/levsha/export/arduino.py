"""An Arduino library: a folder to put into sketchbook/libraries, for boards of any chip."""

from __future__ import annotations

import numpy as np

from levsha import __version__
from levsha.applications import Image
from levsha.applications.netpbm import kinds_of
from levsha.emit.c import Style
from levsha.emit.names import Names
from levsha.emit.text import comment, plain, quoted
from levsha.export.base import Source
from levsha.export.c import library
from levsha.export.example import answer, has_picture, is_chat
from levsha.ir import C_TYPES, Graph
from levsha.net import Net
from levsha.targets import ARDUINO

NEAR_BYTES = 60_000  # of constants: near pointers into program memory reach 65 535, and others' constants lie there too


PGM = """// Within a picture; -1 where nothing came for a second.
static int next_byte()
{
    uint8_t c;
    return Serial.readBytes(&c, 1) ? c : -1;
}

// Passes white space and comments; reads a number and the one byte behind it.
static long next_number()
{
    int c = next_byte();
    for (; c == '#' || isspace(c); c = next_byte())
        if (c == '#') while (c >= 0 && c != '\\n') c = next_byte();
    long number = isdigit(c) ? 0 : -1;
    for (; isdigit(c); c = next_byte()) number = 10 * number + (c - '0');
    return number;
}

"""


def write(source: Source) -> dict[str, bytes]:
    """Return the files of the folder PREFIX: library.properties, src and an example."""
    net, name = source.integer, source.prefix
    text = library(source, Style(prefix=name, instance=source.instance, dialect=ARDUINO))
    files = {"library.properties": _properties(name, net), f"src/{name}.h": text.header}
    files[f"src/{name}.c"] = text.source + _limit(net.graph)
    files[f"examples/{name}_example/{name}_example.ino"] = _sketch(net, Names(name, source.instance, private=False))
    return {f"{name}/{file}": content.encode() for file, content in files.items()}


def _properties(name: str, net: Net) -> str:
    sentence = plain(net.title) or name
    lines = {
        "name": name, "version": __version__, "author": "Levsha", "maintainer": "Levsha", "sentence": sentence,
        "paragraph": plain(" ".join(net.meaning.about.split())) or "Exact integers: every board computes the same bits.",
        "category": "Data Processing", "url": "https://example.org", "architectures": "*", "includes": f"{name}.h",
    }  # fmt: skip
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def _limit(graph: Graph) -> str:
    """What stops a compiler whose pointers into program memory have 16 bits, where it would read other bytes in silence."""
    total = sum(
        constant.data.size * np.dtype(C_TYPES[constant.c_type][2]).itemsize
        for op in graph.ops
        for constant in op.code(graph.values[op.name], *(graph.values[name] for name in op.inputs)).constants.values()
    )
    if total <= NEAR_BYTES:
        return ""
    return f'\n#if UINTPTR_MAX <= 0xFFFF\n#error "{total} bytes of constants: pointers of 16 bits reach {NEAR_BYTES}; use a smaller net or another board"\n#endif\n'


def _sketch(net: Net, names: Names) -> str:
    about = comment(
        [
            f"{net.title}: {_does(net)}.",
            f"What each input means, its unit and its range stand at the top of {names.prefix}.h.",
        ]
    )
    own = "" if names.instance else f"static {names.prefix}_state net;   // all the memory that the net needs\n\n"
    turn = _talk(net, names) if is_chat(net) else _look(net, names) if has_picture(net) else _measure(net, names)
    body = "\n".join(f"    {line}" if line else "" for line in turn)
    before = PGM if has_picture(net) else ""
    return f"""{about}
#include <{names.prefix}.h>

{own}{before}void setup()
{{
    Serial.begin(115200);
}}

void loop()
{{
{body}
}}
"""


def _does(net: Net) -> str:
    if has_picture(net):
        return "reads a PGM or PPM file sent over the serial line and prints the class and the scores"
    return "answers lines typed into the serial monitor" if is_chat(net) else "prints what it makes of what it reads"


def _talk(net: Net, names: Names) -> list[str]:
    size = net.graph.inputs["query"].size
    return [
        "while (!Serial.available()) {}", f"memset({names.state}.query, 0, {size});",
        f"const size_t end = Serial.readBytesUntil('\\n', reinterpret_cast<char *>({names.state}.query), {size});",
        f"if (end && {names.state}.query[end - 1] == '\\r') {names.state}.query[end - 1] = 0;",
        *answer(names, ["if (!answer[0]) break;", "Serial.write(answer[0]);"]), "Serial.println();",
    ]  # fmt: skip


def _look(net: Net, names: Names) -> list[str]:
    """Read a picture as its bytes come, straight into the net's input."""
    assert isinstance(net.application, Image)
    picture, name, (label, scores) = net.application.picture(net.graph), next(iter(net.graph.inputs)), net.graph.outputs
    kind, size = kinds_of(picture)[0], (picture.columns, picture.rows, picture.top)
    tests = " && ".join(f"next_number() == {number}" for number in (kind, *size))
    return [
        "if (next_byte() != 'P') return;", f"bool right = {tests};", f"for (long i = 0; right && i < {picture.size}; ++i) {{",
        "    const int pixel = next_byte();", f"    right = pixel >= 0 && pixel <= {picture.top};",
        f"    if (right) {names.state}.{name}[{picture.place('i')}] = pixel;", "}",
        "if (!right) {", f'    Serial.println(F("? needs P{kind} {" ".join(map(str, size))} and its pixels"));',
        "    while (next_byte() >= 0) {}", "    return;", "}",
        f"{names.prefix}_run({names.argument});",
        f"switch ({names.prefix}_{label}({names.argument})[0]) {{",
        *(f"    case {k}: Serial.print(F({quoted(text)})); break;" for k, text in enumerate(net.meaning.classes[label])), "}",
        f"for (int i = 0; i < {names.upper}_{scores.upper()}_SIZE; ++i) {{", '    Serial.print(i ? F(" ") : F(": "));',
        f"    Serial.print({names.prefix}_{scores}({names.argument})[i]);", "}", "Serial.println();",
    ]  # fmt: skip


def _measure(net: Net, names: Names) -> list[str]:
    lines: list[str] = []
    for name, value in net.graph.inputs.items():
        label, at = f"{names.upper}_{name.upper()}", "i" if value.ranges is not None else "0"
        lines += [
            f"static const int32_t {name}_lows[] = {label}_LOWS, {name}_highs[] = {label}_HIGHS;",
            f"for (int i = 0; i < {label}_SIZE; ++i) {{",
            f"    const int32_t pin = analogRead(A0);   // put here what measures element i of {name}, counted in its step",
            f"    {names.state}.{name}[i] = constrain(pin, {name}_lows[{at}], {name}_highs[{at}]);",
            "}",
        ]
    output, call = net.graph.outputs[0], f"{names.prefix}_{net.graph.outputs[0]}({names.argument})"
    label = f"{names.upper}_{output.upper()}"
    lines += [f"{names.prefix}_run({names.argument});"]
    if output in net.meaning.classes:
        lines += [f"static const char *const classes[] = {label}_CLASSES;", f"Serial.println(classes[{call}[0]]);"]
    else:
        lines += [f"for (int i = 0; i < {label}_SIZE; ++i) {{", f"    Serial.print({call}[i]);", "    Serial.print(' ');", "}", "Serial.println();"]  # fmt: skip
    return [*lines, "delay(1000);"]
