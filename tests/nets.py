"""Nets that tests share: the tinychat graph with random weights, small or at the size that ships."""

from itertools import pairwise

import numpy as np
import torch

from levsha.formats import FORMATS
from levsha.ir import Graph
from levsha.lower import RELU, Node, Options, Pins, lower
from levsha.recipes.tinychat.integer import COUNTS, chat_sources
from levsha.recipes.tinychat.net import BUCKETS, OUTPUTS, answer_ops
from levsha.recipes.tinychat.settings import sum_bits_of, top_of

CHARSET = b" ABCDEFGHIJKLMNOPQRSTUVWXYZ012345678!/?\0"


def random_nodes(weights: str, hidden: tuple[int, ...], seed: int = 0) -> list[Node]:
    """Layers with random integer weights, scaled so that about half of the activations are zero and few saturate."""
    rng, grid, top = np.random.default_rng(seed), FORMATS[weights].grid, top_of(FORMATS[weights])
    widths, nodes = [2 * BUCKETS, *hidden, len(CHARSET)], []
    spread = float(np.sqrt((grid.astype(float) ** 2).mean()))
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        weight = rng.choice(grid, (outputs, inputs))
        typical = spread * (5 if index == 0 else np.sqrt(inputs) * top / 5)
        last = index == len(widths) - 2
        factor = rng.uniform(0.5, 1.5, outputs) * ((2000 if last else top / 3) / typical)
        offset = rng.normal(0, 500 if last else top / 9, outputs)
        sources = (f"act{index}",) if index else tuple(COUNTS)
        output = "logits" if last else f"act{index + 1}"
        activation = None if last else RELU
        nodes.append(
            Node(f"fc{index + 1}", "linear", sources, output, factor, offset, torch.from_numpy(weight), activation)
        )
    return nodes


def small_chat_graph(weights: str, hidden: tuple[int, ...] = (13, 10), seed: int = 0) -> Graph:
    """A whole chat net that builds and runs in a moment."""
    nodes, grid = random_nodes(weights, hidden, seed), FORMATS[weights]
    top, sum_bits = top_of(grid), sum_bits_of(grid)
    pins = Pins(
        steps={node.output: 1.0 for node in nodes},
        ranges={"logits": (-32768, 32767)},
        weights={node.name: (node.weight_OI.numpy(), np.ones(len(node.offset_O))) for node in nodes if node.weight_OI is not None},
    )  # fmt: skip
    x = {name: torch.zeros(1, BUCKETS, dtype=torch.float64) for name in COUNTS}
    return lower(
        nodes, chat_sources(), x, Options(grid, top=top, sum_bits=sum_bits), pins, answer_ops(CHARSET), OUTPUTS
    ).graph
