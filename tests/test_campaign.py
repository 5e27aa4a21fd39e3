"""Long checks, run by make campaign: many vectors through nets at the size that ships, on every target."""

from pathlib import Path

import numpy as np
import pytest

from levsha.evidence.check import compare
from levsha.formats import FORMATS
from levsha.targets import TARGETS
from tests.nets import small_chat_graph

pytestmark = pytest.mark.campaign


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
@pytest.mark.parametrize("weights", [name for name in FORMATS if name != "int8"])
@pytest.mark.parametrize("seed", range(3))
def test_ten_thousand_vectors(weights: str, target, seed: int, tmp_path: Path, need) -> None:
    need(target)
    net = small_chat_graph(weights, (128, 96, 64), seed)
    rng = np.random.default_rng(seed)
    query = rng.integers(0, 256, (10_000, 60))
    query[np.arange(60) >= rng.integers(0, 61, 10_000)[:, None]] = 0
    outcome = target.run(net, {"query": query, "context": rng.integers(0, 256, (10_000, 8))}, tmp_path)
    comparison = compare(net, outcome)
    assert (comparison.vectors, comparison.mismatches) == (10_000, 0)
