"""Nets that tests share: the tinychat graph with random weights, small or at the size that ships."""

from itertools import pairwise

import numpy as np

from levsha.formats import FORMATS
from levsha.ir import Graph
from levsha.recipes.tinychat.net import INPUT_TOTAL, build_graph
from levsha.recipes.tinychat.settings import sum_bits_of, top_of
from levsha.train.lower import IntegerLayer, _reach, round_layer

CHARSET = b" ABCDEFGHIJKLMNOPQRSTUVWXYZ012345678!/?\0"


def random_layers(weights: str, hidden: tuple[int, ...], seed: int = 0) -> list[IntegerLayer]:
    """Layers with random weights, scaled so that about half of the activations are zero and few saturate."""
    rng, grid, top = np.random.default_rng(seed), FORMATS[weights].grid, top_of(FORMATS[weights])
    widths, layers = [256, *hidden, len(CHARSET)], []
    spread = float(np.sqrt((grid.astype(float) ** 2).mean()))
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        weight = rng.choice(grid, (outputs, inputs))
        typical = spread * (5 if index == 0 else np.sqrt(inputs) * top / 5)
        last = index == len(widths) - 2
        factor = rng.uniform(0.5, 1.5, outputs) * ((2000 if last else top / 3) / typical)
        offset = rng.normal(0, 500 if last else top / 9, outputs)
        reach = _reach(weight, top if index else None, INPUT_TOTAL)
        lo, hi = (-32768, 32767) if last else (0, top)
        layers.append(round_layer(weight, factor, offset, reach, lo, hi, 1.0))
    return layers


def small_chat_graph(weights: str, hidden: tuple[int, ...] = (13, 10), seed: int = 0) -> Graph:
    """A whole chat net that builds and runs in a moment."""
    return build_graph(random_layers(weights, hidden, seed), FORMATS[weights], CHARSET, sum_bits_of(FORMATS[weights]))
