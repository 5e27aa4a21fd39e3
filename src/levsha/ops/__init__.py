"""The operations, one a file; this list is the only place that names them all."""

from levsha.ir import Op
from levsha.ops.add import Add
from levsha.ops.argmax import Argmax
from levsha.ops.concat import Concat
from levsha.ops.conv import Conv
from levsha.ops.dense import Dense
from levsha.ops.embed import Embed
from levsha.ops.gather import Gather
from levsha.ops.layer_norm import LayerNorm
from levsha.ops.lookup import Lookup
from levsha.ops.max_pool import MaxPool
from levsha.ops.multiply import Multiply
from levsha.ops.ngram_counts import NgramCounts
from levsha.ops.requantize import Requantize
from levsha.ops.scaled_add import ScaledAdd
from levsha.ops.scan import Scan
from levsha.ops.sum_pool import SumPool

_ALL: tuple[type[Op], ...] = (
    NgramCounts,
    Dense,
    Conv,
    Add,
    ScaledAdd,
    Multiply,
    Requantize,
    Argmax,
    Lookup,
    MaxPool,
    SumPool,
    LayerNorm,
    Concat,
    Gather,
    Embed,
    Scan,
)
OPS: dict[str, type[Op]] = {op.__name__: op for op in _ALL}

__all__ = [
    "OPS",
    "Add",
    "Argmax",
    "Concat",
    "Conv",
    "Dense",
    "Embed",
    "Gather",
    "LayerNorm",
    "Lookup",
    "MaxPool",
    "Multiply",
    "NgramCounts",
    "Requantize",
    "ScaledAdd",
    "Scan",
    "SumPool",
]
