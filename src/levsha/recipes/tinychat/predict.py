"""An integer chat net as a predictor of logits; free of torch, so that a chat starts at once."""

from __future__ import annotations

from levsha.evidence.metrics import Predict
from levsha.interpret import interpret
from levsha.ir import Graph


def graph_predictor(graph: Graph) -> Predict:
    """Return the net as a function from bytes to its integer logits times their step."""
    step = graph.values["logits"].step
    return lambda query_NL, context_NL: interpret(graph, {"query": query_NL, "context": context_NL})["logits"] * step
