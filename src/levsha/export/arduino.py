"""An Arduino library: a folder to put into sketchbook/libraries, for boards of any chip."""

from __future__ import annotations

from levsha import __version__
from levsha.emit.c import Style, emit_c
from levsha.export.base import Source
from levsha.run import Net
from levsha.targets import ARDUINO


def write(source: Source) -> dict[str, bytes]:
    """Return the files of the folder PREFIX: library.properties, src and an example."""
    net, name = source.integer, source.prefix
    style = Style(prefix=name, instance=source.instance, dialect=ARDUINO)
    text = emit_c(net.graph, net.title, style, net.meaning, source.tests)
    files = {f"src/{file}": content for file, content in text.files.items()}
    files["library.properties"] = _properties(name, net)
    files[f"examples/{name}_example/{name}_example.ino"] = _example(name, net, source.instance)
    return {f"{name}/{file}": content.encode() for file, content in files.items()}


def _properties(name: str, net: Net) -> str:
    about = " ".join(net.meaning.about.split()) or net.title
    lines = {
        "name": name, "version": __version__, "author": "Levsha", "maintainer": "Levsha", "sentence": net.title,
        "paragraph": about, "category": "Data Processing", "url": "https://example.org", "architectures": "*", "includes": f"{name}.h",
    }  # fmt: skip
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def _example(name: str, net: Net, instance: bool) -> str:
    first, value = next(iter(net.graph.inputs.items()))
    output, state = net.graph.outputs[0], "" if instance else "&net"
    member = f"{name}_instance.{first}" if instance else f"net.{first}"
    low, high = int(value.lows.ravel()[0]), int(value.highs.ravel()[0])
    own = (
        ""
        if instance
        else f"static {name}_state net;   // the net's memory: {value.size} inputs and what it computes with\n"
    )
    return f"""/* {net.title}: puts what pin A0 reads into the first input and prints the first output.
   What each input means, its unit and its range stand at the top of {name}.h. */
#include <{name}.h>

{own}
void setup()
{{
    Serial.begin(115200);
}}

void loop()
{{
    const int pin = analogRead(A0);
    {member}[0] = constrain(pin, {low}, {high});
    {name}_run({state});
    Serial.println({name}_{output}({state})[0]);
    delay(1000);
}}
"""
