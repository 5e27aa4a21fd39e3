"""Exports carry what their numbers mean: read with nothing but numpy or torch, they answer as Levsha does.  tests/strangers.py is the reader."""

import ast
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from levsha.applications import Chat
from levsha.applications.chat import charset_of
from levsha.cli import main
from levsha.data.pairs import text_rows
from levsha.export import EXPORTS, writer
from levsha.export.base import Source
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.meaning import Meaning, Quantity
from levsha.net import Net
from levsha.ops import Argmax, Conv, Dense
from levsha.recipes import find_recipe
from levsha.recipes.regression.net import Prepared, build_mlp
from levsha.recipes.tinychat.net import CONTEXT_NGRAMS, QUERY_NGRAMS
from levsha.recipes.tinychat.settings import top_of
from levsha.run import Run
from levsha.store import save_graph, stable
from levsha.train.files import load_mlp
from levsha.train.fit import predict
from levsha.train.mlp import Quantisation, calibrate, estimate_norm, forward, init_mlp
from tests import strangers
from tests.library import ODD, SANITIZERS, bare_net, build, chat_net, sensor_net
from tests.library import run as run_program
from tests.test_cli import BRIEF as CHAT_BRIEF
from tests.test_cli import GOOD
from tests.test_exact import EXAMPLES, inputs_of
from tests.test_sensor import APART, sensor_graph

FORMATS_PAGE = Path(__file__).parents[1] / "docs" / "formats.md"
FLOATS = {"npz": strangers.read_npz, "pt": strangers.read_pt, "safetensors": strangers.read_safetensors}
INTEGERS = {"json": strangers.read_json, "bin": strangers.read_bin}
BRIEF = ["--splits", "1", "--hidden", "12", "8", "--train.epochs", "12", "--vectors", "20", "--train.batch", "32", "--jobs", "1"]  # fmt: skip


def exported(run: Path, to: str, *more: str) -> Path:
    path = run.parent / f"{run.name}{''.join(more)}.{to}"
    if not path.exists():
        assert main(["export", str(run), "--to", to, "--file", str(path), *more]) == 0
    return path


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regression of numbers, by the data that come with it."""
    out = tmp_path_factory.mktemp("numbers") / "run"
    assert main(["run", "regression", "--out", str(out), "--samples", "400", "--target", "host", *BRIEF]) == 0
    return out


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of someone's own, with odd names, a constant column, large offsets, and classes in words; its nets have tables."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("classes")
    lines = ['Temp, °C;Tür "offen";Lage, m;Druck, Pa;Wetter']
    for _ in range(300):
        t, door, pressure = rng.uniform(-5, 30), rng.random() < 0.3, rng.normal(101_300, 40)
        sky = "heiß \\ 'sonnig'" if t > 18 and not door else "kalt*/" if t < 5 else "mild"
        lines.append(f"{t:.2f};{int(door)};412;{pressure:.1f};{sky}")
    (folder / "wetter.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ["--data", str(folder / "wetter.csv"), "--activation", "tanh", "--target", "host", "--accept-loss"]
    assert main(["run", "regression", "--out", str(folder / "run"), *words, *BRIEF]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    (folder / "good.txt").write_text(GOOD)
    words = ["--data", str(folder / "good.txt"), "--target", "host", "--accept-loss", "--variants", "baseline", "pruned-two_bit"]  # fmt: skip
    assert main(["run", "tinychat", "--out", str(folder / "run"), *CHAT_BRIEF, *words, "--jobs", "1"]) == 0
    return folder / "run"


def test_the_reader_knows_nothing_of_levsha() -> None:
    tree = ast.walk(ast.parse(Path(strangers.__file__).read_text()))
    roots = {name.split(".")[0] for node in tree for name in names_in(node)}
    assert roots == {"json", "math", "zlib", "pathlib", "typing", "numpy", "safetensors", "torch"}


def names_in(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def table_of(run: Path) -> Prepared:
    return Prepared(find_recipe("regression").kept(Run(run)), 0)


@pytest.mark.parametrize("variant", ["baseline", "sensor", "sensor-int8"])
@pytest.mark.parametrize("kind", ["numbers", "classes"])
@pytest.mark.parametrize("to", FLOATS)
def test_a_float_regression_predicts_elsewhere(to: str, kind: str, variant: str, request) -> None:
    run: Path = request.getfixturevalue(kind)
    arrays, about = FLOATS[to](exported(run, to, "--variant", variant))
    prepared, source = table_of(run), variant.removesuffix("-int8")
    table, x_NI = prepared.table, prepared.table.x_NI[prepared.test]
    widths = [len(table.features), *([12, 8] if variant == "baseline" else [24, 12]), len(table.outputs)]
    model = build_mlp(widths, about["activation"], 0, prepared.x.constant_C)
    weights = run / "training" / "split-0" / source / "model.safetensors"
    model.load_state_dict({k: torch.from_numpy(a) for k, a in safetensors.numpy.load_file(weights).items()})
    want = prepared.real(predict(model, prepared.standardise(x_NI)))
    said = strangers.regression(arrays, about, x_NI)
    spread = prepared.y.std_C.max()
    np.testing.assert_allclose(said, want, rtol=1e-4, atol=1e-4 * spread)
    assert [q["name"] for q in about["inputs"]] == list(table.features) and about["variant"] == source
    assert [q["unit"] for q in about["inputs"]] == list(table.units)
    if kind == "classes":
        assert about["classes"] == ["heiß \\ 'sonnig'", "kalt*/", "mild"] and (said.argmax(1) == want.argmax(1)).all()
        assert [q["constant"] for q in about["inputs"]] == [False, False, True, False]
        changed = x_NI + np.array([0, 0, 99, 0])
        np.testing.assert_array_equal(strangers.regression(arrays, about, changed), said)
    else:
        assert about["outputs"][0]["unit"] == "m" and about["classes"] is None


@pytest.mark.parametrize("to", FLOATS)
def test_float_weights_load_into_a_module_as_they_are(to: str, numbers: Path) -> None:
    arrays, about = FLOATS[to](exported(numbers, to))
    layers = [torch.nn.Linear(a, b) for a, b in ((12, 24), (24, 12), (12, 1))]
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    assert about["hidden"] == [24, 12] and about["activation"] == "relu"


def to_integers(net: dict[str, Any], x_NI: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which rows lie inside every range, and all readings as integers."""
    readings = strangers.to_integers(net, "readings", x_NI)
    ends = np.array(net["inputs"][0]["ranges"])
    return np.all((readings >= ends[:, 0]) & (readings <= ends[:, 1]), axis=1), readings


@pytest.mark.parametrize("kind", ["numbers", "classes"])
@pytest.mark.parametrize("to", INTEGERS)
def test_an_integer_regression_answers_elsewhere(to: str, kind: str, request, capsys) -> None:
    run: Path = request.getfixturevalue(kind)
    net, x_NI = INTEGERS[to](exported(run, to)), table_of(run).table.x_NI
    capsys.readouterr()
    inside, readings = to_integers(net, x_NI)
    assert inside.mean() > 0.9
    values = strangers.compute(net, {"readings": readings[inside]})
    own = Run(run).net("sensor-int8")
    want = interpret(own.graph, {"readings": readings[inside]})
    for output in net["outputs"]:
        np.testing.assert_array_equal(values[output["name"]], want[output["name"]])
    for n in range(3):  # in words, as a person asks
        assert main(["ask", str(run), "--values", *map(repr, x_NI[inside][n].tolist())]) == 0
        said = capsys.readouterr().out.strip()
        if kind == "classes":
            assert said == net["meaning"]["classes"]["class"][values["class"][n, 0]]
        else:
            (quantity,) = net["meaning"]["quantities"]["result"]
            real = strangers.to_real(net, "result", values["result"])[n, 0]
            assert said == f"{quantity['name']}: {real:.10g} {quantity['unit']}"


def test_an_integer_regression_says_which_readings_it_takes(classes: Path) -> None:
    net = strangers.read_json(exported(classes, "json"))
    (readings,), quantities = net["inputs"], net["meaning"]["quantities"]["readings"]
    assert [(q["name"], q["unit"]) for q in quantities] == [("Temp", "°C"), ('Tür "offen"', ""), ("Lage", "m"), ("Druck", "Pa")]  # fmt: skip
    value = Run(classes).net("sensor-int8").graph.inputs["readings"]
    assert readings["ranges"] == [list(ends) for ends in value.ranges or ()] and readings["ranges"][1] == [0, 1]
    assert (readings["lo"], readings["hi"]) == (value.lo, value.hi) == (
        min(lo for lo, _ in readings["ranges"]), max(hi for _, hi in readings["ranges"])
    )  # fmt: skip
    low, high = (quantities[3]["zero"] + quantities[3]["step"] * end for end in readings["ranges"][3])
    assert 101_000 < low < 101_250 and 101_350 < high < 101_700
    assert net["application"] == {"name": "sensor"} and "wetter.csv" in net["title"]


def test_a_regression_as_onnx_answers_as_the_page_says(
    numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(numbers), "--to", "onnx"]) == 0
    own, x_NI = Run(numbers).net("sensor-int8"), table_of(numbers).table.x_NI
    readings, integers = own.graph.inputs["readings"], own.meaning.to_integers("readings", x_NI)
    inside = ((integers >= readings.lows) & (integers <= readings.highs)).all(1)
    (code,) = re.findall(r"## ONNX.*?```python\n(.*?)```", FORMATS_PAGE.read_text(), re.DOTALL)
    found: dict[str, Any] = {"onnxruntime": onnxruntime, "json": json, "numpy": np, "reals": x_NI[inside]}
    exec(compile(code, str(FORMATS_PAGE), "exec"), found)
    want = interpret(own.graph, {"readings": integers[inside]})["result"]
    np.testing.assert_array_equal(found["result"], want)
    assert inside.sum() > 100 and len(np.unique(want)) > 50


@pytest.mark.parametrize("to", INTEGERS)
def test_an_integer_chat_answers_elsewhere(to: str, chat: Path) -> None:
    net, own = INTEGERS[to](exported(chat, to)), Run(chat).net("pruned-two_bit")
    for line in ("alpha number 3", "GAMMA Number 17", "x", "beta number 29"):
        assert strangers.chat(net, line.encode()).decode() == own.application.expected(own.graph, line)
    assert bytes(net["ops"][-1]["table"].tolist()) == charset_of(own.graph)
    assert net["application"] == {"name": "chat", "folds": False}
    assert {"query", "context", "next"} <= set(net["meaning"]["notes"])
    rows = inputs_of(own.graph, 20)
    values, want = strangers.compute(net, rows), interpret(own.graph, rows)
    np.testing.assert_array_equal(strangers.to_real(net, "logits", values["logits"]), own.meaning.to_real("logits", want["logits"]))  # fmt: skip


@pytest.mark.parametrize("variant", ["baseline", "pruned-two_bit"])
@pytest.mark.parametrize("to", FLOATS)
def test_a_float_chat_says_its_logits_elsewhere(to: str, variant: str, chat: Path) -> None:
    arrays, about = FLOATS[to](exported(chat, to, "--variant", variant))
    mlp, _ = load_mlp(chat / "splits" / "queries-0" / f"{variant}.safetensors")
    weights = Quantisation(FORMATS["two_bit"], 127) if variant.endswith("two_bit") else None
    for query, context in ((b"alpha number 3", b"     ALP"), (b"Beta", b"        ")):
        counts = [op.run(text_rows([text], width).astype(np.int64)) for op, text, width in ((QUERY_NGRAMS, query, 60), (CONTEXT_NGRAMS, context, 8))]  # fmt: skip
        x = torch.from_numpy(np.concatenate(counts, 1)).float()
        want = forward(mlp, x, weights)[-1][0].numpy()
        np.testing.assert_allclose(strangers.chat_logits(arrays, about, query, context), want, rtol=1e-4, atol=1e-4)
    assert bytes(about["charset"]) == charset_of(Run(chat).net("pruned-two_bit").graph)


@pytest.mark.parametrize("weights", FORMATS)
def test_float_weights_of_every_format_are_computed_as_they_were_trained(weights: str) -> None:
    x = torch.rand(200, 256, generator=torch.Generator().manual_seed(1)).mul(2).floor()
    quantisation = Quantisation(FORMATS[weights], top_of(FORMATS[weights]))
    mlp = estimate_norm(init_mlp([256, 20, 12, 9], 0), x)
    mlp = estimate_norm(calibrate(mlp, x, quantisation.top, 99.0), x, quantisation)
    arrays = {name: tensor.numpy() for name, tensor in mlp.tensors().items()}
    for query, context in ((b"who are you", b"  I AM A"), (b"tea", b"YES     ")):
        counts = np.concatenate([strangers.ngrams(query, [3], 1, 0, 128), strangers.ngrams(context, [1, 2, 3], 0, 7, 128)])  # fmt: skip
        want = forward(mlp, torch.from_numpy(counts)[None].float(), quantisation)[-1][0].numpy()
        said = strangers.chat_logits(arrays, {"variant": f"pruned-{weights}"}, query, context)
        np.testing.assert_allclose(said, want, rtol=1e-3, atol=1e-3)


def written(net: Net, to: str, folder: Path) -> Path:
    ((name, content),) = writer(to)(Source("net", net)).items()
    (folder / name).write_bytes(content)
    return folder / name


def large_graph() -> Graph:
    """A layer whose weights are packed in parts."""
    weight_OI = np.random.default_rng(0).choice(FORMATS["int8"].grid, (301, 200))
    dense = Dense(name="fc", inputs=("x",), weight_OI=weight_OI, format=FORMATS["int8"])
    return Graph({"x": Value((200,), -9, 9)}, (dense, Argmax(name="best", inputs=("fc",))), ("fc", "best"))


def large_windows() -> Graph:
    """Channels of their own, then groups of them, whose weights are packed in parts."""
    rng, own, one = np.random.default_rng(0), {"shape": (1, 9, 4_000), "groups": 4_000}, (1, 9)
    taps = Conv(
        name="a", inputs=("x",), kernel=one, weight_OI=rng.integers(-7, 8, (4_000, 9)), format=FORMATS["int8"], **own
    )  # type: ignore[arg-type]
    own = {"shape": (1, 1, 4_000), "kernel": (1, 1), "groups": 40}
    groups = Conv(name="b", inputs=("a",), weight_OI=rng.integers(-7, 8, (400, 100)), format=FORMATS["int8"], **own)  # type: ignore[arg-type]
    return Graph({"x": Value((9, 4_000), -9, 9)}, (taps, groups), ("a", "b"))


NETS = [
    *(pytest.param(bare_net(example.values[0]), id=str(example.id)) for example in EXAMPLES),  # type: ignore[arg-type]
    *(pytest.param(chat_net(weights), id=f"chat-{weights}") for weights in FORMATS),
    pytest.param(sensor_net(), id="sensor"), pytest.param(bare_net(large_graph()), id="parts"),
    pytest.param(bare_net(large_windows()), id="windows-parts"),
]  # fmt: skip


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("to", INTEGERS)
def test_every_op_and_format_computes_the_same_elsewhere(to: str, net: Net, tmp_path: Path) -> None:
    found = INTEGERS[to](written(net, to, tmp_path))
    inputs = inputs_of(net.graph, 6)
    values, want = strangers.compute(found, inputs), interpret(net.graph, inputs)
    for output in found["outputs"]:
        name, value = output["name"], net.graph.values[output["name"]]
        np.testing.assert_array_equal(values[name], want[name])
        assert (output["lo"], output["hi"], output["shape"]) == (value.lo, value.hi, list(value.shape))
    for about, (name, value) in zip(found["inputs"], net.graph.inputs.items(), strict=True):
        assert (about["name"], about["lo"], about["hi"]) == (name, value.lo, value.hi)
        assert (about["shape"], about["total"]) == (list(value.shape), value.total)
        assert about.get("ranges") == (None if value.ranges is None else [list(ends) for ends in value.ranges])


@pytest.mark.parametrize("to", INTEGERS)
def test_names_come_out_as_they_went_in(to: str, tmp_path: Path) -> None:
    net = INTEGERS[to](written(sensor_net(), to, tmp_path))
    for name, quantities in ODD.quantities.items():
        found = [Quantity(**q) for q in net["meaning"]["quantities"][name]]
        assert found == list(quantities)
    assert net["meaning"]["classes"] == {"class": list(ODD.classes["class"])} and net["meaning"]["about"] == ODD.about
    real = np.array([[21.5, 1.0, 100.0]])
    assert strangers.to_integers(net, "readings", real).tolist() == [[150, 1, 200]]
    assert net["inputs"][0]["ranges"] == [list(ends) for ends in APART]


@pytest.mark.parametrize("extra", range(9))
def test_tensors_begin_at_a_multiple_of_eight_bytes(extra: int, tmp_path: Path) -> None:
    """Readers map the file into memory: the header is padded whatever its length is."""
    save_graph(sensor_graph(0), tmp_path / "net.safetensors", {"note": "x" * extra})
    floats = stable(safetensors.numpy.save({"a": np.arange(3.0)}, {"note": "y" * extra}))
    (tmp_path / "float.safetensors").write_bytes(floats)
    for name in ("net", "float"):
        data = (tmp_path / f"{name}.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        assert length % 8 == 0 and list(header) == sorted(header)
        ends = max(about["data_offsets"][1] for key, about in header.items() if key != "__metadata__")
        assert 8 + length + ends == len(data)
        assert safetensors.numpy.load(data).keys() == header.keys() - {"__metadata__"}
    np.testing.assert_array_equal(safetensors.numpy.load(floats)["a"], np.arange(3.0))


@pytest.mark.parametrize("kind", ["numbers", "classes", "chat"])
def test_the_library_of_a_run_passes_its_self_test(kind: str, request, tmp_path: Path) -> None:
    run: Path = request.getfixturevalue(kind)
    variant = ["--variant", "pruned-two_bit"] if kind == "chat" else []
    assert main(["export", str(run), "--to", "c", "--prefix", "mine", "--folder", str(tmp_path), *variant]) == 0
    main_c = '#include <stdio.h>\n#include "mine.h"\nint main(void)\n{\n    static mine_state net;\n    printf("%d\\n", mine_self_test(&net));\n    return 0;\n}\n'
    (tmp_path / "main.c").write_text(main_c)
    for compiler in ("gcc-c99", "g++-c++17"):
        flags = (*SANITIZERS, "-DMINE_SELF_TEST", "-DMINE_FLOAT")
        assert run_program(build(tmp_path, ["main.c", "mine.c"], compiler, *flags)) == "0\n"
    assert (tmp_path / "mine.c").read_text().count("mine_test_") >= 2
    assert main(["export", str(run), "--to", "arduino", "--prefix", "mine", "--folder", str(tmp_path), *variant]) == 0
    assert (tmp_path / "mine" / "library.properties").is_file()


def test_every_export_is_described() -> None:
    page = FORMATS_PAGE.read_text()
    assert all(f"--to {name}" in page or f"`.{name}`" in page for name in EXPORTS)


def test_what_a_chat_folds_is_told(tmp_path: Path) -> None:
    net = chat_net()
    folding = Net(net.graph, Meaning(), Chat(folds=True), "test")
    assert strangers.read_json(written(folding, "json", tmp_path))["application"] == {"name": "chat", "folds": True}
