"""The parts of the recipe regression: nets become exact integers, wherever their inputs lie; scores, the kept table, explanations."""

from pathlib import Path

import numpy as np
import pytest

from levsha.applications import Sensor
from levsha.data.table import Table
from levsha.data.table_file import keep_table, kept_table
from levsha.data.tables import load_table
from levsha.errors import LevshaError
from levsha.evidence.check import compare
from levsha.evidence.regression import r_squared
from levsha.net import Net
from levsha.recipes.explain import Explain
from levsha.recipes.regression import explain
from levsha.recipes.regression.integer import lower_net
from levsha.recipes.regression.learn import integer_answer, score, train_net
from levsha.recipes.regression.net import Prepared, build_mlp, parameters
from levsha.recipes.regression.recipe import RECIPE
from levsha.recipes.regression.settings import ACTIVATIONS, Regression, TableTraining
from levsha.targets import TARGETS
from levsha.train.fit import predict


def test_parameters_of_the_lesson() -> None:
    assert parameters(build_mlp([784, 512, 256, 128, 32, 10], "relu", 0)) == 570_602


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("data", ["gravity", "digits"])
def test_every_activation_becomes_exact_integers(activation: str, data: str, tmp_path: Path, need) -> None:
    """Host and chip equal the interpreter on every vector; the integers lose little against the float net they come from."""
    need(TARGETS["uno"])
    table = load_table(data, samples=1000, noise=2.0, seed=0)
    training = TableTraining(epochs=40, batch=32, rate=5e-3)
    settings = Regression(
        out=tmp_path, data=data, samples=1000, activation=activation, train=training, sensor_hidden=(16, 10)
    )
    prepared = Prepared(table, 0)
    model = train_net(settings, prepared, "sensor").model
    lowered, meaning = lower_net(model, prepared)  # type: ignore[arg-type]
    graph = lowered.graph
    vectors = RECIPE.vectors(table, Net(graph, meaning, Sensor(meaning), "test"), 200, seed=1)
    for target in TARGETS.values():
        (tmp_path / target.name).mkdir()
        outcome = compare(graph, target.run(graph, vectors, tmp_path / target.name), vectors)
        assert (outcome.vectors, outcome.mismatches) == (200, 0)
    x = table.x_NI[prepared.test]
    inputs = prepared.inputs(prepared.test)
    by_float = score(prepared, prepared.test, prepared.real(model(inputs).detach()))
    by_integer = score(prepared, prepared.test, integer_answer(Net(graph, meaning, Sensor(meaning), "test"), x))
    figure, floor, loss = ("r2", 0.45, 0.06) if data == "gravity" else ("accuracy", 85, 4)
    assert by_float[figure] > floor and by_integer[figure] > by_float[figure] - loss


def test_r_squared_of_a_constant_is_a_small_number() -> None:
    constant = np.full((5, 1), 0.1)
    assert r_squared(constant, constant) == 1.0 and r_squared(constant, constant + 1e-9) == 0.0
    assert r_squared(np.column_stack([constant, np.arange(5.0)]), np.zeros((5, 2))) == -1.0


def test_inputs_far_from_zero_lose_nothing_as_integers(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    near, far = rng.uniform(-2, 2, (500, 2)), np.rint(20_000 + rng.normal(0, 3, (500, 2)))
    x = np.column_stack([near, far, np.full(500, 30_000.0)])
    y = 2 * near[:, :1] - near[:, 1:] ** 2 + 0.5 * (far[:, :1] - 20_000)
    names = ("a", "b", "c", "d", "constant")
    prepared = Prepared(Table("own", "A table.", x, y, names, ("",) * 5, ("y",), ""), 0)
    training = TableTraining(epochs=60, batch=32, rate=1e-2)
    model = train_net(Regression(out=tmp_path, train=training, sensor_hidden=(16,)), prepared, "sensor").model
    lowered, meaning = lower_net(model, prepared)  # type: ignore[arg-type]
    graph = lowered.graph
    target = prepared.table.y_NO[prepared.test]
    by_float = r_squared(target, prepared.real(predict(model, prepared.inputs(prepared.test))))
    by_integer = r_squared(target, integer_answer(Net(graph, meaning, Sensor(meaning), "test"), x[prepared.test]))
    assert by_float > 0.9 and by_integer > by_float - 0.03


@pytest.mark.parametrize("output", [None, 3])
def test_a_class_asked_for_is_explained(
    output: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Regression(out=tmp_path, hidden=(8,), train=TableTraining(epochs=1))
    table = load_table("digits")
    train_net(settings, Prepared(table, 0), "baseline")
    monkeypatch.setattr(explain, "settings_of", lambda _: settings)
    monkeypatch.setattr(explain, "kept_table", lambda _: table)
    assert explain.explain_run(Explain(tmp_path, output=output)) == 0
    assert ("the chosen class's logit" if output is None else "the logit of class 3") in capsys.readouterr().out


def test_the_kept_table_is_the_table(tmp_path: Path) -> None:
    for name in ("gravity", "digits", "diabetes"):
        table = load_table(name, samples=50, noise=1.0, seed=3)
        keep_table(table, tmp_path)
        kept = kept_table(tmp_path)
        assert kept.digest == table.digest and kept.features == table.features and kept.image == table.image


def test_a_missing_tensorboard_is_named_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LevshaError, match="--log tensorboard: needs the package tensorboard"):
        Regression(out=tmp_path / "run", log="tensorboard").check()
