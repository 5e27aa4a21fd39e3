"""A net as a file: what is written is what is read; a damaged or altered file is named; the exports can be read by others."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from levsha.applications import Chat
from levsha.errors import LevshaError
from levsha.export import writer
from levsha.export.base import Floats, Source
from levsha.export.outline import arrays_of
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph
from levsha.meaning import Meaning, Quantity
from levsha.net import Net
from levsha.packing import pack_content, unpack_content
from levsha.store import graph_hash, load_graph, save_graph
from levsha.train.files import load_mlp, save_mlp
from levsha.train.mlp import estimate_norm, init_mlp
from tests import strangers
from tests.nets import small_chat_graph
from tests.test_exact import EXAMPLES, inputs_of


@pytest.mark.parametrize("graph", EXAMPLES)
def test_round_trip(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    digest = save_graph(graph, path, {"note": "x"})
    again, about = load_graph(path)
    assert about == {"note": "x"} and graph_hash(again) == digest
    inputs = inputs_of(graph, 5)
    for name in graph.outputs:
        np.testing.assert_array_equal(interpret(again, inputs)[name], interpret(graph, inputs)[name])


def test_one_changed_weight_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_graph(small_chat_graph("int4"), path)
    content, digest, arrays = unpack_content(load_file(path)["net"].tobytes())
    arrays["fc2.weight_OI"][0, 0] += 1 if arrays["fc2.weight_OI"][0, 0] < 0 else -1
    packed = pack_content(content, digest, arrays, {"fc2.weight_OI": FORMATS["int4"]})
    save_file({"net": np.frombuffer(packed, np.uint8)}, path, {"kind": "levsha-net-2"})
    with pytest.raises(LevshaError, match="hash does not match"):
        load_graph(path)


@pytest.mark.parametrize("at", [0, 31, 40, 300, -1])
def test_one_changed_byte_is_noticed(at: int, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_graph(small_chat_graph("ternary"), path)
    packed = load_file(path)["net"].copy()
    packed[at] ^= 4
    save_file({"net": packed}, path, {"kind": "levsha-net-2"})
    with pytest.raises(LevshaError, match=r"net\.safetensors: its (hash does not match|header is damaged)"):
        load_graph(path)


@pytest.mark.parametrize("graph", [small_chat_graph("two_bit"), EXAMPLES[-1].values[0]], ids=["chat", "example"])
def test_files_of_older_versions_are_read(graph: Graph, tmp_path: Path) -> None:
    """They held a tensor for each array, and two JSON texts beside."""
    path = tmp_path / "net.safetensors"
    digest = save_graph(graph, path, {"note": "x"})
    content, _, arrays = unpack_content(load_file(path)["net"].tobytes())
    texts = {key: json.dumps(content[key]) for key in ("graph", "about")}
    save_file(arrays, path, {"kind": "levsha-net-1", "hash": digest, **texts})
    again, about = load_graph(path)
    assert graph_hash(again) == digest and about == {"note": "x"}


@pytest.mark.parametrize("damage", [b"", b"not a net", b"\xff" * 200])
def test_damaged_files_are_named(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(damage)
    with pytest.raises(LevshaError, match=r"net\.safetensors: is no sound"):
        load_graph(path)


def test_a_truncated_file_and_a_float_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_graph(small_chat_graph("binary"), path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(LevshaError, match="is no sound"):
        load_graph(path)
    save_mlp(estimate_norm(init_mlp([4, 3, 2], 0), torch.randn(9, 4)), path, {})
    with pytest.raises(LevshaError, match="an integer net"):
        load_graph(path)


def exported(graph: Graph, to: str) -> bytes:
    net = Net(graph, Meaning("a net", {"logits": (Quantity("A"),)}), Chat(), "test")
    (content,) = writer(to)(Source("net", net)).values()
    return content


@pytest.mark.parametrize("weights", FORMATS)
def test_binary_export_holds_every_array_and_nothing_else(weights: str, tmp_path: Path) -> None:
    graph = small_chat_graph(weights)
    (tmp_path / "net.bin").write_bytes(exported(graph, "bin"))
    found = strangers.read_bin(tmp_path / "net.bin")
    assert found["sha256"] == graph_hash(graph)
    for op, want in zip(found["ops"], graph.ops, strict=True):
        for field, array in arrays_of(want).items():
            np.testing.assert_array_equal(op[field], array)


def test_json_export_is_the_whole_net() -> None:
    graph = small_chat_graph("ternary")
    net = json.loads(exported(graph, "json"))
    fc2 = next(op for op in net["ops"] if op["name"] == "fc2")
    want = next(op for op in graph.ops if op.name == "fc2")
    np.testing.assert_array_equal(fc2["weight_OI"], want.weight_OI)  # type: ignore[attr-defined]
    assert [i["name"] for i in net["inputs"]] == ["query", "context"] and [o["name"] for o in net["outputs"]] == [
        "logits",
        "next",
    ]


def test_float_nets_go_out_to_torch_and_numpy(tmp_path: Path) -> None:
    mlp = estimate_norm(init_mlp([6, 5, 3], 0), torch.randn(20, 6))
    save_mlp(mlp, tmp_path / "m.safetensors", {"a": 1})
    again, about = load_mlp(tmp_path / "m.safetensors")
    assert about == {"a": 1} and torch.equal(again.weight_OI[1], mlp.weight_OI[1])
    floats = Floats({name: tensor.numpy() for name, tensor in mlp.tensors().items()}, {"unit": "µm"})
    for to in ("pt", "npz", "safetensors"):
        for name, content in writer(to)(Source("m", floats=floats)).items():
            (tmp_path / f"out-{name}").write_bytes(content)
    found = torch.load(tmp_path / "out-m.pt", weights_only=True)
    arrays = dict(np.load(tmp_path / "out-m.npz", allow_pickle=False))
    assert json.loads(found["about"]) == json.loads(str(arrays.pop("about"))) == {"unit": "µm"}
    assert (
        set(found["state_dict"]) == set(arrays) == set(mlp.tensors()) == set(load_file(tmp_path / "out-m.safetensors"))
    )
    np.testing.assert_array_equal(found["state_dict"]["fc1.weight"].numpy(), arrays["fc1.weight"])
