"""How long the interpreter takes for 10 000 random vectors of a chat net of each format, 54 000 weights: seconds, best of 5."""

import time

import numpy as np

from levsha.interpret import interpret
from tests.nets import small_chat_graph


def main() -> None:
    rng = np.random.default_rng(0)
    inputs = {"query": rng.integers(0, 256, (10_000, 60)), "context": rng.integers(0, 256, (10_000, 8))}
    for weights in ("binary", "ternary", "two_bit", "int4"):
        graph = small_chat_graph(weights, (128, 96, 64))
        took = []
        for _ in range(5):
            start = time.perf_counter()
            interpret(graph, inputs)
            took.append(time.perf_counter() - start)
        print(f"{weights:<8} {min(took):.2f} s")


if __name__ == "__main__":
    main()
