"""levsha.convert, levsha.fine_tune and Net from Python: every mistake is one sentence that names the argument."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import levsha
from levsha.errors import LevshaError
from levsha.evidence.remedies import remedies
from levsha.net import Net
from levsha.recipes.convert.settings import Convert
from levsha.targets import TARGETS, find_target

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8)).astype(np.float32)
Y = RNG.integers(0, 4, 60)


def linear(outputs: int = 4) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(8, outputs)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.fc = nn.Embedding(10, 4), nn.Linear(20, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.table(x.long()).flatten(1))


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gru, self.fc = nn.GRU(4, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.gru(x)[0][:, -1])


class Yes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = linear(1)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(4 * self.fc(x))


DATA = {  # arguments of both doors -> what is said
    "y text": ({"y": np.array(["a", "b"] * 30)}, r"^y: is text of shape \(60,\); numbers are needed\. Classes are given by number"),
    "y one number": ({"y": 3}, r"^y: is of shape \(\); one answer for each row"),
    "y nan": ({"y": np.full((60, 4), np.nan)}, r"^y: 60 of 60 rows hold NaN or infinity"),
    "y short": ({"y": Y[:9]}, r"^y: has 9 rows, x has 60"),
    "x ragged": ({"x": [[1, 2], [3]]}, r"^x: is no array of numbers"),
    "x without numbers": ({"x": X[:, :0]}, r"^x: is float32 of shape \(60, 0\)"),
    "test x alone": ({"test": X}, r"^test: is of type ndarray; give a pair"),
    "test y short": ({"test": (X, Y[:9])}, r"^test y: has 9 rows, test x has 60"),
    "test y text": ({"test": (X, ["a"] * 60)}, r"^test y: is text"),
    "test x shape": ({"test": (X[:, :5], Y)}, r"^test x: has rows of shape \(5,\), x of \(8,\)"),
    "test x nan": ({"test": (X * np.nan, Y)}, r"^test x: 60 of 60 rows hold NaN"),
    "layers": ({"layers": ["conv1"]}, r"^layers: is of type list; give formats by the pattern"),
    "no rows to calibrate": ({"calibration_rows": 0}, r"^calibration_rows: is 0; allowed are 1 to"),
    "rows less than none": ({"calibration_rows": -5}, r"^calibration_rows: is -5; allowed are 1 to"),
    "seed": ({"seed": -1}, r"^seed: is -1; allowed are 0 to"),
    "seed of text": ({"seed": "1"}, r"^seed: is '1'; a whole number is needed"),
    "state": ({"state": "net.pth"}, r"^state: is for a class in a Python file; a module holds its own weights"),
    "classes of text": ({"classes": "abcd"}, r"^classes: is of type str; give a list of names"),
    "classes too few": ({"classes": ["a", "b"]}, r"^classes: are 2 names, Linear has 4 outputs"),
    "no classes": ({"classes": []}, r"^classes: are 0 names, Linear has 4 outputs"),
    "model": ({"model": None}, r"^model: is of type NoneType; give an nn\.Module"),
}  # fmt: skip


@pytest.mark.parametrize("door", [levsha.convert, levsha.fine_tune])
@pytest.mark.parametrize("mistake", DATA)
def test_both_doors_refuse_in_the_words_of_python(door: Callable[..., Net], mistake: str) -> None:
    given, said = DATA[mistake]
    with pytest.raises(LevshaError, match=said) as found:
        door(**({"model": linear(), "x": X, "y": Y} | given))
    assert "--" not in str(found.value)


@pytest.mark.parametrize(
    "given, said",
    [
        ({"training": {"epochs": 3}}, r"^training: is of type dict; give levsha\.Training"),
        ({"epochs": 1.5}, r"^epochs: is 1\.5; a whole number is needed"),
        ({"distil": 2}, r"^distil: is 2; allowed are 0\.0 to 1\.0"),
    ],
)
def test_fine_tuning_refuses_settings(given: dict[str, Any], said: str) -> None:
    with pytest.raises(LevshaError, match=said):
        levsha.fine_tune(linear(), X, Y, **given)


def test_lists_and_tensors_are_data_too() -> None:
    plain = levsha.convert(linear(), X, Y, test=(X, Y)).about
    wants_gradient = torch.tensor(X, requires_grad=True)
    assert levsha.convert(linear(), wants_gradient, torch.tensor(Y), test=(X.tolist(), Y.tolist())).about == plain  # pyright: ignore[reportArgumentType]


def test_ten_rows_are_fine_tuned_in_one_batch() -> None:
    about = levsha.fine_tune(linear(), X[:10], Y[:10], "int8", epochs=1).about
    assert about["rows"] == {"calibrated": 8, "measured": 2} and about["fine_tuned"]["best_epoch"] == 1


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_other_widths_are_read_as_float32(kind: torch.dtype) -> None:
    model = linear().to(kind)
    about = levsha.convert(model, X).about
    assert any("they were read as float32" in notice for notice in about["notices"])
    assert about["integer"]["r2"] > 0.97 and model.weight.dtype is kind


def test_a_model_that_casts_for_itself_is_left_alone() -> None:
    class Casting(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input.double()).float()

    assert levsha.convert(Casting(8, 4).double(), X).about["integer"]["r2"] > 0.97


@pytest.mark.parametrize("shift", [5, -5])
@pytest.mark.parametrize("first", [0, 2])
def test_tokens_beyond_the_table(shift: int, first: int) -> None:
    tokens = RNG.integers(0, 10, (40, 5))
    tokens[:2], tokens[2:4] = 5, [[0], [9]]
    tokens[first:] += shift
    with pytest.raises(LevshaError, match=r"Its embedding has rows 0\.\.9, and x holds"):
        levsha.convert(Tokens(), tokens)


def test_tokens_beyond_the_table_among_those_that_measure() -> None:
    tokens = RNG.integers(0, 10, (40, 5))
    for wrong in (tokens + 5, tokens - 5):
        with pytest.raises(LevshaError, match=r"^data: holds numbers .*; the embedding of Tokens has rows 0\.\.9"):
            levsha.convert(Tokens(), tokens, test=(wrong, None))


def test_a_net_refuses_in_a_sentence(tmp_path: Path) -> None:
    net = levsha.convert(linear(), X)
    for mistake, said in {
        lambda: net(np.array([["a"] * 8])): "Linear: the input: is text",
        lambda: net("hello"): "Linear: the input: is text",
        lambda: net(np.full((1, 8), np.nan)): "Linear: input holds NaN or infinity",
        lambda: net(np.full((1, 8), np.inf)): "Linear: input holds NaN or infinity",
        lambda: net(3): r"Linear: the input has shape \(\); \(8,\) is needed",
        lambda: net.run(np.zeros((1, 7), int)): r"Linear: input has shape \(1, 7\); integers of shape \(rows, 8\)",
        lambda: net.run({"other": np.zeros((1, 8), int)}): "input 'input' is missing",
        lambda: net.integers("other", X): "Linear: has no value 'other'; its inputs are input",
        lambda: net.check("host", "10"): r"^vectors: is '10'; a whole number is needed",  # pyright: ignore[reportArgumentType]
        lambda: net.check("host", 10, -1): r"^seed: is -1; allowed are",
        lambda: net.export("other", tmp_path): r"^kind: there is no 'other'",
    }.items():
        with pytest.raises(LevshaError, match=said):
            mistake()


def test_a_net_takes_tensors_and_paths_as_text(tmp_path: Path) -> None:
    net = levsha.convert(linear(), X)
    assert (net(torch.tensor(X, requires_grad=True)) == net(X)).all()
    net.save(tmp_path / "net.safetensors")
    assert (Net.load(str(tmp_path / "net.safetensors"))(X) == net(X)).all()


def test_classes_are_of_one_vector() -> None:
    for model, x in ((linear(1), X), (linear(), X.reshape(12, 5, 8))):
        with pytest.raises(LevshaError, match="classes: are for a single output of two numbers or more"):
            levsha.convert(model, x, classes=["a", "b", "c", "d"])
    assert levsha.convert(linear(), X, classes=["a", "b", "c", "d"]).meaning.classes == {"class": ("a", "b", "c", "d")}


@pytest.mark.parametrize("keep_sigmoid", [False, True])
def test_a_probability_decides_at_a_half(keep_sigmoid: bool) -> None:
    model = Yes()
    y = (model(torch.tensor(X))[:, 0] > 0.5).numpy().astype(int)
    about = levsha.convert(model, X, y, keep_sigmoid=keep_sigmoid).about
    assert 0 < y.sum() < len(y) and about["float"]["accuracy"] == 100 and about["integer"]["accuracy"] > 90


def test_all_that_is_learnt_is_counted() -> None:
    gated = levsha.convert(Gated(), RNG.normal(size=(40, 6, 4)).astype(np.float32))
    assert gated.sizes.parameters == 3 * 16 * (4 + 16) + 16 * 3
    tokens = levsha.convert(Tokens(), RNG.integers(0, 10, (200, 5)))
    assert tokens.sizes.parameters == 10 * 4 + 20 * 3


def test_remedies_name_the_layer_that_takes_most() -> None:
    chip = next(find_target(name) for name in TARGETS if find_target(name).flash_bytes)

    class Large(Tokens):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9000, 4)

    text = remedies(levsha.convert(Large(), RNG.integers(0, 9000, (40, 5))).graph, chip)
    assert "most is in table_out (36 000 B). Ways: rows half as long in table_out come to about" in text


def test_weights_beside_an_onnx_file_decide_what_comes_out(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    keys = set()
    for k in range(2):
        weight = onnx.numpy_helper.from_array(np.full((4, 4), k, np.float32), "w")
        ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 4]) for name in "xy"]
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], "g", *[[e] for e in ends], [weight]
        )
        (tmp_path / "weights.bin").unlink(missing_ok=True)
        onnx.save(
            onnx.helper.make_model(graph), tmp_path / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
        )  # fmt: skip
        keys.add(Convert(model=str(tmp_path / "net.onnx"), data="d").key("digest"))
    assert len(keys) == 2
