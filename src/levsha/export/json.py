"""JSON for people and programs: every weight as an integer, and what the integers mean."""

from __future__ import annotations

import json

from levsha.export.base import Source
from levsha.export.outline import describe_op, outline


def write(source: Source) -> dict[str, bytes]:
    """Return the whole net as NAME.json."""
    net = source.integer
    ops = [describe_op(op, lambda op, field, array: array.tolist()) for op in net.graph.ops]
    return {f"{source.name}.json": (json.dumps(outline(net) | {"ops": ops}, ensure_ascii=False) + "\n").encode()}
