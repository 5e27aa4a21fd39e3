"""Which function turns an operation of ONNX into calls, and what to say of those that none does.

Keys are names of operations of the standard set, or `domain.Name` of another.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from levsha.capture.onnx_arithmetic import ARITHMETIC
from levsha.capture.onnx_casts import CASTS
from levsha.capture.onnx_functions import FUNCTIONS
from levsha.capture.onnx_fuse import FUSED
from levsha.capture.onnx_joins import JOINS
from levsha.capture.onnx_moves import MOVES
from levsha.capture.onnx_node import Operation
from levsha.capture.onnx_recurrent import recurrent
from levsha.capture.onnx_sums import SUMS
from levsha.capture.onnx_windows import WINDOWS

OPERATIONS: dict[str, Operation | partial[Any]] = {
    **SUMS,
    "GRU": recurrent,
    "LSTM": recurrent,
    **ARITHMETIC,
    **FUSED,
    **CASTS,
    **FUNCTIONS,
    **WINDOWS,
    **MOVES,
    **JOINS,
}

RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")

_FLOAT = "export the float model; Levsha chooses the integers itself"
_NORM = "use BatchNormalization or LayerNormalization"
_ACTIVATION = "write it with Relu, Clip, Max, Min or one activation"
_HOST = "leave it out of the exported model and do it with the outputs"
_LOOP = "export the model with its loop unrolled, or as GRU or LSTM"
_DRAW = "export the model in eval mode (torch: model.eval() before the export)"
_MATRIX = "one factor must be a constant (attention is not supported)"

ADVICE = {
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"), _FLOAT),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"), _FLOAT),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization", "RMSNormalization", "LRN"), _NORM),
    **dict.fromkeys(("LpNormalization", "MeanVarianceNormalization"), _NORM),
    **dict.fromkeys(("Equal", "Mod", "Xor"), _ACTIVATION),
    **dict.fromkeys(("TopK", "NonMaxSuppression", "OneHot", "Hardmax", "NonZero", "Compress", "Unique"), _HOST),
    **dict.fromkeys(("Loop", "Scan", "If", "SequenceMap"), _LOOP),
    "Attention": _MATRIX,
    "Einsum": "write it as a product with a constant matrix (torch: linear, or @)",
    **dict.fromkeys(RANDOM, _DRAW),
    "LpPool": "use MaxPool or AveragePool",
    "RNN": "use a GRU",
}
OTHERWISE = "use an operation that is supported"
FOREIGN_SETS = {
    "com.microsoft": "export it without ONNX Runtime's optimisation; operations of com.microsoft are not standard",
    "ai.onnx.ml": "of scikit-learn's models, networks and linear regression with a StandardScaler are supported",
}


def operation(key: str) -> Operation | partial[Any] | None:
    """Return what turns an operation into calls, None where nothing does."""
    return OPERATIONS.get(key)


def advice_for(key: str) -> str:
    """Return what to use instead of an operation that nothing turns into calls."""
    domain = key.rpartition(".")[0]
    return ADVICE.get(key) or FOREIGN_SETS.get(domain) or OTHERWISE
