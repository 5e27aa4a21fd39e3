"""A sensor model: a line of readings in, a line of results out.  What is typed is a vector; each reading has a name."""

from __future__ import annotations

from dataclasses import dataclass

from levsha.applications.say import plain_name
from levsha.applications.vector import Vector
from levsha.errors import LevshaError
from levsha.ir import Graph, Value

READINGS = "readings"  # the one input of a sensor model


@dataclass(frozen=True)
class Sensor(Vector):
    """Readings are integers, each inside its own proven range; of classes the name is said."""

    name = "sensor"

    def check(self, graph: Graph) -> None:
        if list(graph.inputs) != [READINGS]:
            raise LevshaError(
                f"sensor: the graph reads {', '.join(graph.inputs)}; a sensor model reads one input, called {READINGS!r}. Rename it."
            )
        super().check(graph)
        self.check_typed(graph.outputs[0], graph.values[graph.outputs[0]])

    def names(self, x: Value) -> list[str]:
        quantities = self.meaning.quantities.get(READINGS, ())
        return [plain_name(q.name) for q in quantities] or [f"reading {k}" for k in range(1, x.size + 1)]

    def by_hand(self, graph: Graph) -> str:
        readings, output = graph.inputs[READINGS], graph.outputs[0]
        lo, hi = int(readings.lows.ravel()[0]), int(readings.highs.ravel()[0])
        return f"""
/* To read sensors instead of lines, put this loop in the place of the one above. Each reading must have the meaning and the unit
   it has at the top of net.h, and must lie in its range, which stands there too: outside that range nothing is proven.

void loop()
{{
    const int16_t pin = analogRead(A0);   // apart, because constrain() would read the pin more than once
    net_instance.readings[0] = constrain(pin, {lo}, {hi});   // and so on to net_instance.readings[{readings.size - 1}]
    net_run();
    say_number(net_{output}()[0]);   // the outputs are net_{output}()[0] to net_{output}()[{graph.values[output].size - 1}]
    serial_put('\\n');
    delay(1000);
}}
*/
"""
