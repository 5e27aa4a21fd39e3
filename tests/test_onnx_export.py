"""An integer net as ONNX: plain integers alone, and in ONNX Runtime the interpreter's bits.

That also holds on processors that sum two products of bytes at 16 bits, which this one may not be:

    pytest -m campaign tests/test_onnx_export.py      # needs qemu-x86_64-static, Debian's qemu-user-static
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from levsha.arith import INT16_MAX, half
from levsha.errors import LevshaError
from levsha.export import writer
from levsha.export.base import Source
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, Op, Value
from levsha.meaning import Meaning
from levsha.net import Net
from levsha.ops import OPS, Add, Argmax, Conv, Dense, Lookup, MaxPool, NgramCounts, Requantize, SumPool
from levsha.store import graph_hash
from tests.library import APART, bare_net, chat_net, sensor_net
from tests.nets import small_chat_graph
from tests.test_exact import EXAMPLES, corners, inputs_of
from tests.test_windows import geometries

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.reference")
pytest.importorskip("onnxruntime")
from tests.onnx_runner import differing, run  # noqa: E402 (needs onnxruntime)

INTEGERS = {"UINT8", "INT8", "INT16", "INT32", "INT64"}


def exported(net: Net) -> bytes:
    ((name, content),) = writer("onnx")(Source("net", net)).items()
    assert name == "net.onnx"
    return content


def vectors(graph: Graph, count: int = 64) -> dict[str, np.ndarray]:
    """Random inputs and, of a single one of any magnitude, all corners of its range."""
    found = [inputs_of(graph, count, seed) for seed in range(3)]
    if len(graph.inputs) == 1 and all(value.total is None for value in graph.inputs.values()):
        found.append({name: corners(value) for name, value in graph.inputs.items()})
    return {name: np.concatenate([one[name] for one in found]) for name in graph.inputs}


def typed(graph: Graph, values: dict[str, np.ndarray], names: Any) -> dict[str, np.ndarray]:
    """Values in their narrowest types, which are those of the model's inputs and outputs."""
    return {name: values[name].astype(graph.values[name].dtype) for name in names}


def assert_equal(net: Net, inputs: dict[str, np.ndarray] | None = None) -> None:
    graph, inputs = net.graph, inputs or vectors(net.graph)
    want = typed(graph, interpret(graph, inputs), graph.outputs)
    assert differing(exported(net), typed(graph, inputs, graph.inputs), want) == []


def parts_of(graph: Any) -> list[Any]:
    """A graph and those inside its nodes."""
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [graph, *(part for one in inner for part in parts_of(one))]


def kinds_of(model: Any) -> dict[str, str]:
    """The type of every tensor of a model, of those too that only inference knows."""
    whole = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    kinds: dict[str, int] = {}
    for graph in parts_of(whole):
        kinds |= {
            info.name: info.type.tensor_type.elem_type for info in (*graph.input, *graph.output, *graph.value_info)
        }
        kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert {
        name for graph in parts_of(whole) for node in graph.node for name in (*node.input, *node.output)
    } <= kinds.keys()
    return {name: onnx.TensorProto.DataType.Name(kind) for name, kind in kinds.items()}


@pytest.mark.parametrize("graph", EXAMPLES)
def test_every_op_equals_the_interpreter(graph: Graph) -> None:
    assert_equal(bare_net(graph))


@pytest.mark.parametrize("graph", EXAMPLES)
def test_another_runtime_computes_the_same(graph: Graph) -> None:
    """The evaluator that comes with onnx, in numpy: what the file says is what the standard says."""
    evaluator = onnx.reference.ReferenceEvaluator(onnx.load_from_string(exported(bare_net(graph))))
    inputs = inputs_of(graph, 5)
    want = typed(graph, interpret(graph, inputs), graph.outputs)
    try:
        found = evaluator.run(list(graph.outputs), typed(graph, inputs, graph.inputs))
    except ValueError as error:
        if isinstance(graph.ops[-1], MaxPool) and "NaN" in str(error):
            pytest.skip("it has no MaxPool of integers over windows of this form")
        raise
    for y, name in zip(found, graph.outputs, strict=True):
        np.testing.assert_array_equal(y, want[name])
        assert y.dtype == want[name].dtype


@pytest.mark.parametrize("graph", EXAMPLES)
def test_all_tensors_are_integers(graph: Graph) -> None:
    model = onnx.load_from_string(exported(bare_net(graph)))
    assert set(kinds_of(model).values()) <= INTEGERS
    kinds = {attribute.type for part in parts_of(model.graph) for node in part.node for attribute in node.attribute}
    assert kinds <= {onnx.AttributeProto.INT, onnx.AttributeProto.INTS, onnx.AttributeProto.GRAPH}


@pytest.mark.parametrize("weights", FORMATS)
def test_a_chat_answers_from_bytes_to_byte(weights: str) -> None:
    net = chat_net(weights)
    assert_equal(net, inputs_of(net.graph, 200))
    line, answer = "who are you", ""
    query = np.zeros((1, 60), np.uint8)
    query[0, : len(line)] = list(line.encode())
    context, model = b" " * 8, exported(net)
    for _ in range(6):
        outputs = run(model, {"query": query, "context": np.frombuffer(context, np.uint8)[None]}, "optimised")
        byte = int(outputs["next"][0, 0])
        if not byte:
            break
        answer, context = answer + chr(byte), context[1:] + bytes([byte])
    assert net.application.expected(net.graph, line).startswith(answer) and answer


def test_a_text_may_end_anywhere() -> None:
    net = chat_net()
    rng = np.random.default_rng(3)
    query = rng.integers(1, 256, (61, 60))
    query[np.arange(60) >= np.arange(61)[:, None]] = 0
    behind = np.where(np.arange(60) > np.arange(61)[:, None], rng.integers(1, 256, (61, 60)), query)
    for text in (query, behind):
        assert_equal(net, {"query": text, "context": rng.integers(0, 256, (61, 8))})


@pytest.mark.parametrize("sizes", [(), (0,), (0, 9), (1, 255)])
def test_ngrams_of_odd_sizes(sizes: tuple[int, ...]) -> None:
    op = NgramCounts(name="y", inputs=("text",), sizes=sizes, pad=2, position_seed=255, buckets=64)
    assert_equal(bare_net(Graph({"text": Value((5,), 0, 255)}, (op,))))


def test_a_sensor_model_answers_with_its_names() -> None:
    net = sensor_net()
    assert_equal(net)
    model = onnx.load_from_string(exported(net))
    about = {prop.key: prop.value for prop in model.metadata_props}
    assert about["title"] == net.title and about["sha256"] == graph_hash(net.graph)
    assert Meaning.from_json(json.loads(about["meaning"])) == net.meaning
    assert json.loads(about["inputs"])[0]["ranges"] == [list(ends) for ends in APART]
    assert model.producer_name == "Levsha" and model.doc_string == net.meaning.about
    (readings,), texts = model.graph.input, {info.name: info.doc_string for info in model.graph.output}
    assert "Übergröße" in readings.doc_string and "°C" in readings.doc_string
    assert f"{APART[0][0]}..{APART[0][1]}" in readings.doc_string
    assert list(texts) == list(net.graph.outputs) and 'no "\\' in texts["class"] and "kg" not in texts["class"]


def test_older_runtimes_read_it() -> None:
    model = onnx.load_from_string(exported(sensor_net()))
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)] and model.ir_version == 8


def test_inputs_and_outputs_keep_their_types_and_take_any_batch() -> None:
    net = sensor_net()
    model = onnx.load_from_string(exported(net))
    for info in (*model.graph.input, *model.graph.output):
        kind, value = info.type.tensor_type, net.graph.values[info.name]
        assert onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) == value.dtype
        sizes = [size.dim_param or size.dim_value for size in kind.shape.dim]
        assert sizes == ["N", *value.shape]
    for count in (1, 2, 17):
        assert_equal(net, inputs_of(net.graph, count))


def test_values_bear_their_names() -> None:
    model = onnx.load_from_string(exported(chat_net()))
    made = {name for node in model.graph.node for name in node.output}
    assert {"act1", "act2", "logits", "next"} <= made
    assert {"act1", "act2"} <= {info.name for info in model.graph.value_info}


def test_the_same_net_gives_the_same_file() -> None:
    assert exported(chat_net()) == exported(chat_net())


def test_weights_take_a_byte_each() -> None:
    for value in (Value((256,), 0, 255), Value((256,), -300, 300)):
        weight_OI = np.random.default_rng(0).choice(FORMATS["int8"].grid, (128, 256))
        dense = Dense(name="y", inputs=("x",), weight_OI=weight_OI, format=FORMATS["int8"])
        assert len(exported(bare_net(Graph({"x": value}, (dense,))))) < 128 * 256 + 2000


def test_an_output_may_be_an_input_and_a_value_may_be_both_inner_and_output() -> None:
    x = Value((4,), -300, 300)
    ops = (Add(name="y", inputs=("x", "x")), Add(name="z", inputs=("y", "x")), Argmax(name="best", inputs=("y",)))
    assert_equal(bare_net(Graph({"x": x}, ops, ("x", "y", "z", "best"))))


def test_an_op_that_changes_nothing() -> None:
    one = np.array([1])
    op = Requantize(
        name="y", inputs=("x",), multiplier_O=one, bias_O=one * 0, bias_shift=0, shift=0, rounding=0, lo=-9, hi=900
    )
    for x in (Value((4,), 0, 200), Value((4,), -9, 300), Value((4,), -9, 3)):
        assert_equal(bare_net(Graph({"x": x}, (op,), ("x", "y"))))
        twice = (op, Argmax(name="z", inputs=("y",)), replace(op, name="w", inputs=("y",)))
        assert_equal(bare_net(Graph({"x": x}, twice, ("y", "z", "w"))))


def test_names_that_the_builder_would_give() -> None:
    x = Value((4,), -100, 100)
    ops = (Add(name="y", inputs=("y.Add", "y.Add.Cast")), Add(name="y.constant", inputs=("y", "y.Add")))
    assert_equal(bare_net(Graph({"y.Add": x, "y.Add.Cast": x}, ops, ("y", "y.constant"))))


def ends_of(graph: Graph) -> dict[str, np.ndarray]:
    """The smallest input and the largest."""
    (x,) = graph.inputs.values()
    return {"x": np.stack([np.full(x.shape, x.lo), np.full(x.shape, x.hi)])}


def extreme_graphs() -> dict[str, Graph]:
    """Every product at its largest: where kernels that keep 16 bits, or sums of 32 bits that wrap, would fail."""
    found = {}
    for lo in (0, -128):
        for count in (2, 64, 40_000):
            largest_OI = np.full((2, count), 127)
            largest_OI[1] = -127
            dense = Dense(name="y", inputs=("x",), weight_OI=largest_OI, format=FORMATS["int8"])
            found[f"dense-{count}-{lo}"] = Graph({"x": Value((count,), lo, lo + 255)}, (dense,))
        for groups in (1, 2, 16):
            largest_OI = np.full((32, 9 * 16 // groups), 127)
            largest_OI[::2] = -127
            conv = Conv(
                name="y", inputs=("x",), shape=(6, 7, 16), kernel=(3, 3), pads=(1, 0, 2, 1), groups=groups,
                pad_I=np.full(16, lo + 255) if groups == 2 else None, weight_OI=largest_OI, format=FORMATS["int8"],
            )  # fmt: skip
            found[f"conv-{groups}-{lo}"] = Graph({"x": Value((6, 7, 16), lo, lo + 255)}, (conv,))
    return found


@pytest.mark.parametrize("graph", [pytest.param(graph, id=name) for name, graph in extreme_graphs().items()])
def test_sums_at_their_ends(graph: Graph) -> None:
    assert_equal(bare_net(graph), ends_of(graph))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_convolution(data: st.DataObject) -> None:
    geometry, rng = data.draw(geometries()), np.random.default_rng(data.draw(st.integers(0, 999)))
    channels, taps = geometry["shape"][2], geometry["kernel"][0] * geometry["kernel"][1]
    groups = data.draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    lo, hi = data.draw(st.sampled_from([(0, 255), (-128, 127), (-300, 4000)]))
    pad_I = data.draw(st.sampled_from([None, np.full(channels, 7), rng.integers(lo, hi, channels, endpoint=True)]))
    weight_OI = rng.integers(-127, 128, (groups * data.draw(st.integers(1, 3)), taps * (channels // groups)))
    conv = Conv(
        name="y", inputs=("x",), groups=groups, weight_OI=weight_OI, pad_I=pad_I, format=FORMATS["int8"], **geometry
    )
    graph = Graph({"x": Value(conv.shape, lo, hi)}, (conv,))
    assert_equal(bare_net(graph), inputs_of(graph, 4))


def image_graph() -> Graph:
    """A classifier of images of bytes: convolutions, one of them by channel, a branch that is added, pools, a mean, a class."""
    rng, int8 = np.random.default_rng(0), FORMATS["int8"]

    def conv(
        name: str, source: str, shape: tuple[int, int, int], outputs: int, groups: int = 1
    ) -> tuple[Conv, Requantize]:
        weight_OI = rng.integers(-127, 128, (outputs, 9 * shape[2] // groups))
        m, b = rng.integers(300, 700, outputs), rng.integers(-999, 999, outputs)
        sums = Conv(
            name=f"{name}_sums", inputs=(source,), shape=shape, kernel=(3, 3), pads=(1, 1, 1, 1), groups=groups,
            weight_OI=weight_OI, format=int8,
        )  # fmt: skip
        return sums, Requantize(
            name=name,
            inputs=(sums.name,),
            multiplier_O=m,
            bias_O=b,
            bias_shift=8,
            shift=18,
            rounding=1 << 17,
            lo=0,
            hi=255,
        )

    ops: list[Op] = [
        *conv("a", "image", (12, 10, 3), 8), *conv("b", "a", (12, 10, 8), 8, groups=8), Add(name="both", inputs=("a", "b")),
        MaxPool(name="largest", inputs=("both",), shape=(12, 10, 8), kernel=(2, 2), strides=(2, 2)),
        *conv("c", "largest", (6, 5, 8), 16),
        MaxPool(name="peaks", inputs=("c",), shape=(6, 5, 16), kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        SumPool(name="sums", inputs=("peaks",), shape=(3, 3, 16), kernel=(3, 3)),
        Dense(name="logits", inputs=("sums",), weight_OI=rng.integers(-127, 128, (4, 16)), format=int8),
        Argmax(name="class", inputs=("logits",)),
    ]  # fmt: skip
    return Graph({"image": Value((12, 10, 3), 0, 255)}, tuple(ops), ("logits", "class"))


def test_a_classifier_of_images() -> None:
    graph = image_graph()
    inputs = inputs_of(graph, 50)
    values = interpret(graph, inputs)
    assert len(np.unique(values["class"])) > 1 and all(len(np.unique(values[name])) > 40 for name in ("a", "b", "c"))
    assert_equal(bare_net(graph), inputs)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_pool(data: st.DataObject) -> None:
    pool, geometry = data.draw(st.sampled_from([MaxPool, SumPool])), data.draw(geometries(small_pads=True))
    op = pool(name="y", inputs=("x",), **geometry)
    for lo, hi in ((0, 255), (-128, 127), (-300, 4000)):
        try:
            graph = Graph({"x": Value(op.shape, lo, hi)}, (op,))
        except LevshaError:  # a window lies in the padding alone
            return
        assert_equal(bare_net(graph), inputs_of(graph, 4))


@st.composite
def requantizations(draw: st.DrawFn) -> Graph:
    """Any Requantize that the graph allows."""
    lo, hi = sorted(
        draw(st.tuples(*[st.integers(-(1 << draw(st.integers(1, 31))), 1 << draw(st.integers(1, 30)))] * 2))
    )
    pre_shift, shift, bias_shift = (draw(st.integers(0, most)) for most in (16, 30, 30))
    reach = (max(abs(lo), abs(hi)) >> pre_shift) + 1
    most = max(1, min(INT16_MAX, (1 << 30) // reach))
    m = draw(st.lists(st.integers(-most, most), min_size=3, max_size=3))
    extra = draw(st.none() | st.lists(st.integers(0, 30 - shift), min_size=3, max_size=3))
    largest = min(INT16_MAX, (1 << 28) >> (bias_shift + max(extra or [0])))
    b = draw(st.lists(st.integers(-largest, largest), min_size=3, max_size=3))
    ends = sorted(draw(st.tuples(*[st.sampled_from([-(1 << 31), -32768, -127, -5, 0, 3, 255, 32767, 2**31 - 1])] * 2)))
    op = Requantize(
        name="y", inputs=("x",), multiplier_O=np.array(m), bias_O=np.array(b), bias_shift=bias_shift, shift=shift,
        rounding=draw(st.sampled_from([0, half(shift)])), lo=ends[0], hi=ends[1], pre_shift=pre_shift,
        extra_O=None if extra is None else np.array(extra),
    )  # fmt: skip
    value = Value((3,), lo, hi)
    if draw(st.booleans()):
        value = Value.of_ranges([(lo, hi), (lo, lo), (min(hi, 0) if lo <= 0 else lo, hi)])
    return Graph({"x": value}, (op,))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_requantisation(data: st.DataObject) -> None:
    try:
        graph = data.draw(requantizations())
    except LevshaError:
        return
    value, rng = graph.inputs["x"], np.random.default_rng(0)
    near = rng.integers(-40, 41, (200, 3)).clip(value.lows, value.highs)
    assert_equal(bare_net(graph), {"x": np.concatenate([vectors(graph)["x"], near])})


def test_every_op_has_a_form_of_its_own() -> None:
    assert all(op.onnx is not Op.onnx for op in OPS.values())


@dataclass(frozen=True, kw_only=True, eq=False)
class Foreign(Lookup):
    """An op that someone added without a form in ONNX."""

    onnx = Op.onnx


def test_an_op_without_a_form_is_named() -> None:
    op = Foreign(name="odd", inputs=("x",), table=np.arange(4))
    with pytest.raises(LevshaError, match=r"odd \(Foreign\): has no form in ONNX; export the net to c or json\."):
        exported(bare_net(Graph({"x": Value((4,), 0, 3)}, (op,))))


def test_without_the_package_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(LevshaError, match=r"--to onnx: needs the package onnx.*pip install onnx"):
        exported(sensor_net())


def saturating() -> bytes:
    """A layer whose bytes have a sign on one side, as others export it."""
    helper, types = onnx.helper, onnx.TensorProto
    weights = onnx.numpy_helper.from_array(np.full((64, 4), 127, np.int8), "w")
    x, y = helper.make_tensor_value_info("x", types.UINT8, ["N", 64]), helper.make_tensor_value_info("y", types.INT32, ["N", 4])  # fmt: skip
    graph = helper.make_graph([helper.make_node("MatMulInteger", ["x", "w"], ["y"])], "net", [x], [y], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.campaign
def test_the_same_on_a_processor_that_saturates(tmp_path: Path) -> None:
    """The whole matrix and whole nets on an emulated Haswell, which has AVX2 and no VNNI."""
    emulator = shutil.which("qemu-x86_64-static")
    if not emulator:
        pytest.skip("qemu-x86_64-static is not installed")
    nets = {str(example.id): bare_net(example.values[0]) for example in EXAMPLES}  # type: ignore[arg-type]
    nets |= {f"chat-{weights}": bare_net(small_chat_graph(weights, (128, 96, 64))) for weights in FORMATS}
    nets |= {"sensor": sensor_net(), "image": bare_net(image_graph())}
    cases = {name: (net, vectors(net.graph)) for name, net in nets.items()}
    cases |= {name: (bare_net(graph), ends_of(graph)) for name, graph in extreme_graphs().items()}
    for name, (net, inputs) in cases.items():
        (tmp_path / f"{name}.onnx").write_bytes(exported(net))
        want = typed(net.graph, interpret(net.graph, inputs), net.graph.outputs)
        arrays = {f"in.{key}": x for key, x in typed(net.graph, inputs, net.graph.inputs).items()}
        np.savez(tmp_path / f"{name}.npz", allow_pickle=False, **arrays, **{f"out.{key}": y for key, y in want.items()})
    (tmp_path / "saturates.model").write_bytes(saturating())
    runner = Path(__file__).with_name("onnx_runner.py")
    command = [emulator, "-cpu", "Haswell-v4", sys.executable, str(runner), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    assert done.stdout.splitlines() == ["saturates", f"{len(cases)} models compared"], done.stdout + done.stderr[-2000:]
    assert done.returncode == 0
