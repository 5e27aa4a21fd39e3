"""Tables: the three that come along, the split, what needs no training."""

import dataclasses
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levsha.data.table import Table, split_table
from levsha.data.tables import TABLES, load_table, sphere_gravity
from levsha.errors import LevshaError
from levsha.evidence.trivial import trivial_predictions


def r2(want: np.ndarray, got: np.ndarray) -> float:
    return 1 - float(((want - got) ** 2).sum() / ((want - want.mean()) ** 2).sum())


def check_form(table: Table) -> None:
    rows, inputs = table.x_NI.shape
    assert table.x_NI.dtype == np.float64 and np.isfinite(table.x_NI).all()
    assert len(table.features) == len(table.units) == inputs and len(set(table.features)) == inputs
    assert len(table.y_NO) == rows and table.about.endswith(".") and len(table.digest) == 64
    if table.is_classes:
        assert table.y_NO.dtype == np.int64 and set(table.y_NO.tolist()) == set(range(len(table.outputs)))
    else:
        assert table.y_NO.dtype == np.float64 and table.y_NO.shape == (rows, len(table.outputs))


def test_gravity_is_the_formula() -> None:
    """Over the centre G M / z^2, half of it at 0.766 z to either side (depth = 1.305 half-widths), less far away."""
    depth, mass, half = 30.0, 4e6, (4 ** (1 / 3) - 1) ** 0.5
    stations = np.array([5.0, 5 + half * depth, 5 - half * depth, 1e6])
    g = sphere_gravity(np.array([mass]), np.array([5.0]), np.array([depth]), stations)[0]
    assert np.allclose(g[:3], 6.6743e-11 * mass / depth**2 * 1e8 * np.array([1, 0.5, 0.5]))
    assert abs(1 / half - 1.305) < 5e-4 and 0 < g[3] < 1e-9


@given(st.integers(20, 200), st.sampled_from([0.0, 0.5, 2.0]), st.integers(0, 2**32 - 1))
def test_gravity_is_a_function_of_its_arguments(samples: int, noise: float, seed: int) -> None:
    table, again = load_table("gravity", samples, noise, seed), load_table("gravity", samples, noise, seed)
    check_form(table)
    assert table.digest == again.digest != load_table("gravity", samples, noise, seed ^ 1).digest
    more, quiet = load_table("gravity", samples + 7, noise, seed), load_table("gravity", samples, 0.0, seed)
    assert np.array_equal(more.x_NI[:samples], table.x_NI) and np.array_equal(more.y_NO[:samples], table.y_NO)
    assert np.array_equal(quiet.y_NO, table.y_NO) and (quiet.x_NI > 0).all()
    assert ((table.y_NO >= 20) & (table.y_NO < 60)).all()


def test_gravity_readings_are_noisy_spheres() -> None:
    noisy, quiet = load_table("gravity", 20000, 2.0, 3), load_table("gravity", 20000, 0.0, 3)
    noise = noisy.x_NI - quiet.x_NI
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 2) < 0.02 and "2 uGal" in noisy.about
    assert noisy.features[0] == "g(-110 m)" and noisy.units == ("uGal",) * 12 and noisy.output_unit == "m"
    excess = quiet.x_NI.max(1) * quiet.y_NO[:, 0] ** 2 / 6.6743e-3  # at most the mass, at the station over the centre
    assert excess.max() <= 4 / 3 * np.pi * 20**3 * 800


def test_gravity_is_worth_learning() -> None:
    table = load_table("gravity", 4000, 2.0, 0)
    train, _, test = split_table(4000, 0)
    found = trivial_predictions(table.x_NI[train], table.y_NO[train], table.x_NI[test])
    score = {name: r2(table.y_NO[test], y) for name, y in found.items()}
    assert abs(score["mean"]) < 0.05 and 0.3 < score["linear"] < 0.6 and score["nearest_15"] > score["linear"] + 0.1


def test_digests_stay() -> None:
    """Trainings that were kept are found again by the digest of their table."""
    x, y = np.array([[1.0, 7.0], [2.5, 7.0]]), np.array([[3.0], [-4.0]])
    table = Table("own", "A table.", x, y, ("a", "b"), ("m", ""), ("y",), "s")
    assert table.digest == "c2ec0b48dba6a236dd43abdfe67a116a704dd9500d8a8b154f22ce985a84205e"
    noticed = dataclasses.replace(table, name="other", notices=("Something.",))
    assert noticed.digest == table.digest and not table.notices and table.constant_I.tolist() == [False, True]


def test_bundled_tables() -> None:
    pytest.importorskip("sklearn")
    diabetes, digits = load_table("diabetes", 10**9, -1.0, -1), load_table("digits", 5, 0.0, 0)
    for table in (diabetes, digits):
        check_form(table)
    assert diabetes.x_NI.shape == (442, 10) and diabetes.x_NI[0, :4].tolist() == [59, 2, 32.1, 101]
    assert diabetes.y_NO[0, 0] == 151 and diabetes.features[4] == "s1 total cholesterol"
    assert digits.x_NI.shape == (1797, 64) and digits.image == (8, 8) and digits.is_classes
    assert digits.x_NI.min() == 0 and digits.x_NI.max() == 16 and digits.outputs == tuple("0123456789")


def test_missing_scikit_learn_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(LevshaError, match="pip install scikit-learn"):
        load_table("diabetes", 100, 0.0, 0)
    assert load_table("digits").x_NI.shape == (1797, 64), "they come along"


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(LevshaError, match=r"'gravitty'.*gravity, diabetes, digits"):
        load_table("gravitty", 100, 0.0, 0)
    for name in TABLES:
        with pytest.raises(LevshaError, match="--target-column: is 'age'"):
            load_table(name, 100, 0.0, 0, "age")
        with pytest.raises(LevshaError, match=r"--drop: is 'age'.*leave --drop out"):
            load_table(name, 100, drop=("age",))
        with pytest.raises(LevshaError, match="--classes: is True"):
            load_table(name, 100, classes=True)
    for samples, noise, seed, flag in [(19, 0.0, 0, "samples"), (99, float("nan"), 0, "noise"), (99, 0.0, -1, "seed")]:
        with pytest.raises(LevshaError, match=f"--{flag}: is"):
            load_table("gravity", samples, noise, seed)


@given(st.integers(20, 3000), st.integers(0, 2**32 - 1))
def test_split_is_a_permutation_in_three(count: int, seed: int) -> None:
    parts = split_table(count, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    assert len(parts[1]) == len(parts[2]) and abs(len(parts[1]) - 0.15 * count) <= 0.5
    assert all(np.array_equal(a, b) for a, b in zip(parts, split_table(count, seed), strict=True))


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 3), st.integers(0, 999))
def test_trivial_numbers_are_their_definition(count: int, inputs: int, outputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(5, [1e-3, 1, 1e3, 7][:inputs], (count, inputs)), rng.normal(size=(count, outputs))
    x_test = rng.normal(5, 1, (6, inputs))
    found = trivial_predictions(x, y, x_test)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("levsha.evidence.trivial.BLOCK_CELLS", 3 * count)
        assert np.allclose(trivial_predictions(x, y, x_test)["nearest_15"], found["nearest_15"])
    assert list(found) == ["mean", "linear", "nearest_15"] and all(v.shape == (6, outputs) for v in found.values())
    assert np.allclose(found["mean"], y.mean(0))
    scale = x.std(0) + (count == 1)
    for row, got in zip(x_test, found["nearest_15"], strict=True):
        order = np.argsort(((x - row) ** 2 / scale**2).sum(1))[:15]
        assert np.allclose(got, y[order].mean(0))
    exact = x @ np.ones((inputs, outputs)) + 3
    if count > inputs + 1:
        assert np.allclose(trivial_predictions(x, exact, x_test)["linear"], x_test @ np.ones((inputs, outputs)) + 3)


def test_trivial_numbers_bear_constant_inputs() -> None:
    x = np.column_stack([np.full(50, 0.1), np.arange(50.0)])
    found = trivial_predictions(x, 2 * x[:, 1:] + 1, np.array([[0.1, 60.0], [0.1, 10.0]]))
    assert np.allclose(found["linear"], [[121], [21]]) and np.allclose(found["nearest_15"][1], 21)


@pytest.mark.parametrize("scale", [1e-165, 1e-300, 1e160])
def test_trivial_numbers_bear_any_scale(scale: float) -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    y = x[:, :1] - 2
    for inputs, target in ((x * [scale, 1], y), (x, y * scale)):
        found = trivial_predictions(inputs[:50], target[:50], inputs[50:])
        assert np.allclose(found["linear"] / target[50:], 1) and np.isfinite(found["nearest_15"]).all()


def test_trivial_classes() -> None:
    rng = np.random.default_rng(0)
    label = rng.choice(3, 400, p=[0.2, 0.5, 0.3])
    x = np.eye(3)[label] * 6 + rng.normal(size=(400, 3))
    found = trivial_predictions(x[:300], label[:300], x[300:])
    assert list(found) == ["commonest", "linear", "nearest_15"]
    assert all(v.shape == (100,) and v.dtype == np.int64 for v in found.values())
    assert (found["commonest"] == 1).all() and (found["linear"] == label[300:]).mean() > 0.95
    assert (found["nearest_15"] == label[300:]).mean() > 0.95
