"""Readers of exported nets, written from docs/formats.md by someone who has numpy or torch and no Levsha: it imports none of it."""

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

DIGITS = {"binary": 8, "ternary": 5, "two_bit": 4, "two_bit_z80": 4, "int3": 8, "int4": 2, "int8": 1, "int16": 1}
SCALED = {
    "binary": (2, -1),
    "ternary": (1, -1),
    "two_bit": (2, -3),
    "two_bit_z80": (1, -2),
    "int3": (1, -4),
    "int4": (1, -7),
    "int8": (1, 0),
    "int16": (1, 0),
}
BYTES = {"int3": 3, "int16": 2}  # of a group of digits; else 1  # fmt: skip
USUAL = {"strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0], "groups": 1, "sum_bits": 32, "step": 1.0, "pre_shift": 0, "epsilon": 0, "bits": 0, "fill": 0, "last": True}  # fmt: skip
ARRAYS = ("weight_OI", "multiplier_O", "bias_O", "extra_O", "table", "table_VE", "index", "init", "pad_I", "multiplier_KC", "bias_C")  # fmt: skip
TOPS = {
    "binary": 255,
    "ternary": 255,
    "two_bit": 127,
    "two_bit_z80": 127,
    "int3": 127,
    "int4": 63,
    "int8": 255,
    "int16": 255,
}
MEANS = {"binary": 1.0, "ternary": 1.4, "two_bit": 0.624, "two_bit_z80": 1.25, "int3": 0.7, "int4": 0.42}
ENDS = {
    "ternary": (-1, 1),
    "two_bit_z80": (-2, 1),
    "int3": (-4, 3),
    "int4": (-7, 7),
    "int8": (-127, 127),
    "int16": (-32767, 32767),
}


def read_json(path: Path) -> dict[str, Any]:
    """An integer net, the arrays of its ops as arrays."""
    net = json.loads(path.read_text(encoding="utf-8"))
    as_arrays(net)
    return net


def as_arrays(graph: dict[str, Any]) -> None:
    for op in graph["ops"]:
        op |= {field: np.array(op[field]) for field in ARRAYS if field in op}
        if "body" in op:
            as_arrays(op["body"])


def read_bin(path: Path) -> dict[str, Any]:
    """The same from the packed file."""
    data = path.read_bytes()
    assert data[:8] == b"LEVSHA2\n"
    first = zlib.decompressobj(-15)
    net = json.loads(first.decompress(data[8:]))
    left = take(net, zlib.decompress(first.unused_data, -15))
    assert not left
    return net


def take(graph: dict[str, Any], payload: bytes) -> bytes:
    """Put the arrays of ops in their places, in the order in which the header names them, and what is usual; return the rest of the payload."""
    for end in (*graph["inputs"], *graph["outputs"]):
        end.setdefault("total", None)
    for op in graph["ops"]:
        for field, about in op.items():
            if field == "body":
                payload = take(about, payload)
            elif isinstance(about, dict):
                count, name = math.prod(about["shape"]), op.get("format") if field == "weight_OI" else about["type"]
                size = -(-count // DIGITS[name]) * BYTES.get(name, 1) if field == "weight_OI" else count * int(name[3:]) // 8  # fmt: skip
                part, payload = payload[:size], payload[size:]
                numbers = unpack_digits(np.frombuffer(part, np.uint8), name)[:count] if field == "weight_OI" else np.frombuffer(part, f"<i{int(name[3:]) // 8}")  # fmt: skip
                op[field] = numbers.reshape(about["shape"])
        op |= {field: value for field, value in USUAL.items() if field not in op}
    return payload


def unpack_digits(packed: np.ndarray, name: str) -> np.ndarray:
    size = BYTES.get(name, 1)
    byte, digits = packed.astype(int).reshape(-1, size) @ 256 ** np.arange(size), []
    for k in range(DIGITS[name]):
        if name == "ternary":
            digits.append(3 * byte >> 8)
            byte = 3 * byte & 255
        elif name == "int8":
            digits.append(np.where(byte > 127, byte - 256, byte))
        elif name == "int16":
            digits.append(np.where(byte > 32767, byte - 65536, byte))
        else:
            width = 8 * size // DIGITS[name]
            digits.append(byte >> width * k & (1 << width) - 1)
    factor, offset = SCALED[name]
    return np.stack(digits, 1).ravel() * factor + offset


def compute(net: dict[str, Any], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every value of an integer net for a batch of inputs (N, ...), which must lie in their ranges."""
    values = {name: x.astype(np.int64) for name, x in inputs.items()}
    for about in net["inputs"]:
        x, ends = values[about["name"]], np.array(about.get("ranges", [[about["lo"], about["hi"]]]))
        assert list(x.shape[1:]) == about["shape"] and (x >= ends[:, 0]).all() and (x <= ends[:, 1]).all()
    for op in net["ops"]:
        x = [values[name] for name in op["inputs"]]
        values[op["name"]] = globals()[f"run_{op['op']}"](op, *x)
    return values


def run_Dense(op, x):
    return x.reshape(len(x), -1) @ op["weight_OI"].T.astype(np.int64)


def windows(op, x):
    """Each window (i, j) with the real elements it meets, by tap: y's shape, then (i, j, [(k, elements of all channels), ...])."""
    (height, width, channels), (rows, columns) = op["shape"], op["kernel"]
    image, (top, left, bottom, right) = x.reshape(len(x), height, width, channels), op["pads"]
    down, across = ((size + before + after - dilation * (n - 1) - 1) // stride + 1 for size, before, after, dilation, n, stride in zip(
        (height, width), (top, left), (bottom, right), op["dilations"], (rows, columns), op["strides"], strict=True))  # fmt: skip
    found = []
    for i in range(down):
        for j in range(across):
            met = []
            for a in range(rows):
                for b in range(columns):
                    row = i * op["strides"][0] + a * op["dilations"][0] - top
                    column = j * op["strides"][1] + b * op["dilations"][1] - left
                    if 0 <= row < height and 0 <= column < width:
                        met.append((a * columns + b, image[:, row, column]))
            found.append((i, j, met))
    return (len(x), down, across), found


def run_Conv(op, x):
    size, found = windows(op, x)
    n, outputs, taps = op["shape"][2] // op["groups"], len(op["weight_OI"]), op["kernel"][0] * op["kernel"][1]
    y, padding = np.zeros((*size, outputs), np.int64), np.array(op.get("pad_I", [0] * op["shape"][2]))
    weight = op["weight_OI"].astype(np.int64).reshape(outputs, taps, n)
    for i, j, met in found:
        read = [dict(met).get(k, np.tile(padding, (len(x), 1))) for k in range(taps)]
        for o in range(outputs):
            g = o // (outputs // op["groups"])
            y[:, i, j, o] = sum(read[k][:, g * n : g * n + n] @ weight[o, k] for k in range(taps))
    return y


def run_MaxPool(op, x):
    size, found = windows(op, x)
    return np.stack([np.max([c for _, c in met], 0) for _, _, met in found], 1).reshape(*size, -1)


def run_SumPool(op, x):
    size, found = windows(op, x)
    nothing = np.zeros((len(x), op["shape"][2]), np.int64)
    return np.stack([sum((c for _, c in met), nothing) for _, _, met in found], 1).reshape(*size, -1)


def run_Add(op, a, b):
    return a + b


def run_ScaledAdd(op, *x):
    sums = sum(part.reshape(x[0].shape) * m.astype(np.int64) for part, m in zip(x, op["multiplier_KC"], strict=True))
    return np.clip((sums + op["bias_C"].astype(np.int64) + op["rounding"]) >> op["shift"], op["lo"], op["hi"])


def run_Requantize(op, x):
    multiplier, bias, extra = (
        a.astype(np.int64).reshape(x.shape[1:] if a.size > x.shape[-1] else -1)
        for a in (op["multiplier_O"], op["bias_O"], op.get("extra_O", np.zeros(1)))
    )
    pre = op["pre_shift"]
    p = (x + (1 << pre >> 1)) >> pre if pre else x
    sums = p * multiplier + ((bias << op["bias_shift"]) + op["rounding"]) * (1 << extra)
    return np.clip(sums >> (op["shift"] + extra), op["lo"], op["hi"])


def run_LayerNorm(op, x):
    n, bits = op["size"], op["bits"]
    rows = x.reshape(len(x), -1, n)
    e = rows - (rows.sum(-1, keepdims=True) + n // 2) // n
    rest = e.sum(-1, keepdims=True)
    a = np.maximum((e * e).sum(-1, keepdims=True) - rest * rest // n + op["epsilon"], 1)
    t = np.array([[sum(int(v) < 2 ** (30 - 2 * k) for k in range(15)) for v in row] for row in a[..., 0]])[..., None]
    root = np.array([[math.isqrt(int(v) * 4 ** int(s)) for v, s in zip(*pair, strict=True)] for pair in zip(a[..., 0], t[..., 0], strict=True)])[..., None]  # fmt: skip
    r = np.minimum(2**31 // root, 65535)
    d = (e << bits) - ((rest << bits) + n // 2) // n
    shift = 16 + bits - t
    return np.clip((d * r + (1 << shift - 1)) >> shift, -32767, 32767)


def run_Argmax(op, x):
    return x.reshape(len(x), -1).argmax(1)[:, None]


def run_Lookup(op, x):
    return op["table"].astype(np.int64)[x]


def run_Gather(op, x):
    filled = np.concatenate([x.reshape(len(x), -1), np.full((len(x), 1), op["fill"])], 1)
    return filled[:, op["index"]]


def run_Concat(op, *x):
    leading = op.get("leading")
    return np.concatenate(x if leading is None else [part.reshape(len(part), *leading, -1) for part in x], -1)


def run_Multiply(op, a, b):
    return a * (b if a.shape == b.shape else b.reshape(len(b), *[1] * (a.ndim - 2), -1))


def run_Embed(op, x):
    return op["table_VE"].astype(np.int64)[x]


def run_Scan(op, x):
    body, start, states, found = op["body"], 0, {}, []
    for about in body["inputs"][:-1]:
        size = math.prod(about["shape"])
        states[about["name"]] = np.stack([op["init"][start : start + size].reshape(about["shape"])] * len(x))
        start += size
    for t in range(x.shape[1]):
        values = compute(body, states | {body["inputs"][-1]["name"]: x[:, t]})
        after = [values[about["name"]] for about in body["outputs"]]
        states = dict(zip(states, after, strict=True))
        found.append(after[0])
    return found[-1] if op["last"] else np.stack(found, 1)


def run_NgramCounts(op, x):
    return np.array([ngrams(bytes(row.tolist()), op["sizes"], op["pad"], op["position_seed"], op["buckets"]) for row in x])  # fmt: skip


def ngrams(text: bytes, sizes: list[int], pad: int, seed: int, buckets: int) -> np.ndarray:
    small = bytes(c + 32 if 65 <= c <= 90 else c for c in text.split(b"\0")[0])
    padded, counts = b" " * pad + small + b" " * pad, np.zeros(buckets, np.int64)
    for n in sizes:
        for i in range(len(padded) - n + 1):
            h = i * seed
            for code in padded[i : i + n]:
                h = (31 * h + code) % 65536
            counts[h % buckets] += 1
    return counts


def to_integers(net: dict[str, Any], name: str, real: np.ndarray) -> np.ndarray:
    quantities = net["meaning"]["quantities"][name]
    zero, step = (np.array([q[key] for q in quantities]) for key in ("zero", "step"))
    return np.rint((real - zero) / step).astype(np.int64)


def to_real(net: dict[str, Any], name: str, integers: np.ndarray) -> np.ndarray:
    quantities = net["meaning"]["quantities"][name]
    zero, step = (np.array([q[key] for q in quantities]) for key in ("zero", "step"))
    return zero + step * integers


def chat(net: dict[str, Any], line: bytes) -> bytes:
    """The answer of an integer chat net to a short line."""
    query = np.frombuffer(line.strip().ljust(60, b"\0"), np.uint8)
    charset, said = bytes(net["ops"][-1]["table"].tolist()), b""
    while len(said) < 50:
        context = np.frombuffer(said[-8:].rjust(8), np.uint8)
        byte = int(compute(net, {"query": query[None], "context": context[None]})["next"][0, 0])
        assert byte in charset
        if byte == charset[-1] == 0:
            break
        said += bytes([byte])
    return said


def read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    found = dict(np.load(path, allow_pickle=False))
    return found, json.loads(str(found.pop("about")))


def read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["about"])  # noqa: SIM118


def read_pt(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    import torch

    found = torch.load(path, weights_only=True)
    return {name: tensor.numpy() for name, tensor in found["state_dict"].items()}, json.loads(found["about"])


ACTIVATIONS = {
    "relu": lambda y: np.maximum(y, 0), "tanh": np.tanh, "silu": lambda y: y / (1 + np.exp(-y)),
    "mish": lambda y: y * np.tanh(np.log1p(np.exp(y))), "gelu": lambda y: y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2,
}  # fmt: skip


def regression(arrays: dict[str, np.ndarray], about: dict[str, Any], real: np.ndarray) -> np.ndarray:
    """What the float net of a regression says of real inputs (N, I): numbers in their units, or logits."""
    mean, deviation, constant = (np.array([q[key] for q in about["inputs"]]) for key in ("mean", "deviation", "constant"))  # fmt: skip
    y = np.where(constant, 0.0, (real - mean) / deviation)
    layers = len(about["hidden"]) + 1
    for k in range(layers):
        y = y @ arrays[f"{2 * k}.weight"].T.astype(float) + arrays[f"{2 * k}.bias"]
        y = ACTIVATIONS[about["activation"]](y) if k < layers - 1 else y
    mean, deviation = (np.array([q[key] for q in about["outputs"]]) for key in ("mean", "deviation"))
    return y if about["classes"] else mean + deviation * y


def chat_logits(arrays: dict[str, np.ndarray], about: dict[str, Any], query: bytes, context: bytes) -> np.ndarray:
    """The logits of a float chat net, as it was trained: of a quantised variant on its grid."""
    name = about["variant"].rpartition("-")[2] if "step" in arrays else ""
    h = np.concatenate([ngrams(query, [3], 1, 0, 128), ngrams(context, [1, 2, 3], 0, 7, 128)]).astype(np.float32)
    layers = sum(key.endswith(".weight") for key in arrays)
    y = h
    for k in range(1, layers + 1):
        weight, gamma, beta, mean, var = (arrays[f"fc{k}.{part}"] for part in ("weight", "gamma", "beta", "mean", "var"))  # fmt: skip
        y = gamma * ((on_grid(weight, name) if name else weight) @ h - mean) / np.sqrt(var + 1e-5) + beta
        if k == layers:
            break
        step = arrays["step"][k - 1] if name else 1.0
        h = step * np.clip(np.floor(y / step + 0.5), 0, TOPS[name]) if name else np.maximum(y, 0)
    return y


def on_grid(weight: np.ndarray, name: str) -> np.ndarray:
    size = np.abs(weight).max(1) / ENDS[name][1] if name in ("int8", "int16") else MEANS[name] * np.abs(weight).mean(1)
    w = weight / size[:, None]
    if name == "binary":
        grid = np.where(w >= 0, 1, -1)
    elif name == "two_bit":
        grid = np.clip(2 * np.floor(w / 2) + 1, -3, 3)
    else:
        grid = np.clip(np.rint(w), *ENDS[name])
    return grid * size[:, None]
