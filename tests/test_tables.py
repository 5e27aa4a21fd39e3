"""Tables: the three that come along, the CSV reader and all it refuses, the split, what needs no training."""

import csv
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from levsha.data.tables import TABLES, Table, load_table, sphere_gravity, split_table
from levsha.errors import LevshaError
from levsha.evidence.trivial import trivial_predictions

GOOD = "a,b,y\n" + "".join(f"{n},{n * n},{n % 7}\n" for n in range(30))


def write(folder: Path, text: str | bytes) -> str:
    path = folder / "table.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def read(folder: Path, text: str | bytes, target: str | None = None) -> Table:
    return load_table(write(folder, text), 0, 0.0, 0, target)


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


def test_bundled_tables() -> None:
    pytest.importorskip("sklearn")
    diabetes, digits = load_table("diabetes", 10**9, -1.0, -1), load_table("digits", 5, 0.0, 0)
    for table in (diabetes, digits):
        check_form(table)
    assert diabetes.x_NI.shape == (442, 10) and diabetes.x_NI[0, :4].tolist() == [59, 2, 32.1, 101]
    assert diabetes.y_NO[0, 0] == 151 and diabetes.features[4] == "s1 total cholesterol"
    assert digits.x_NI.shape == (1797, 64) and digits.image == (8, 8) and digits.is_classes
    assert digits.x_NI.min() == 0 and digits.x_NI.max() == 16 and digits.outputs == tuple("0123456789")


@pytest.mark.parametrize("name", ["diabetes", "digits"])
def test_missing_scikit_learn_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(LevshaError, match="pip install scikit-learn"):
        load_table(name, 100, 0.0, 0)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(LevshaError, match=r"'gravitty'.*gravity, diabetes, digits"):
        load_table("gravitty", 100, 0.0, 0)
    for name in TABLES:
        with pytest.raises(LevshaError, match="--target-column: is 'age'"):
            load_table(name, 100, 0.0, 0, "age")
    for samples, noise, seed, flag in [(19, 0.0, 0, "samples"), (99, float("nan"), 0, "noise"), (99, 0.0, -1, "seed")]:
        with pytest.raises(LevshaError, match=f"--{flag}: is"):
            load_table("gravity", samples, noise, seed)


numbers = st.floats(-1e30, 1e30)
names = st.lists(
    st.text("abc ,;é\"'_1", min_size=1).map(lambda t: "n" + t.strip()), min_size=2, max_size=5, unique=True
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], np.ndarray]:
    columns = draw(names)
    values = draw(hnp.arrays(np.float64, (draw(st.integers(20, 30)), len(columns)), elements=numbers))
    values[:, -1] = np.arange(len(values))
    return columns, values


@given(tables(), st.data())
@settings(max_examples=60, deadline=None)
def test_csv_comes_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[list[str], np.ndarray], data: st.DataObject
) -> None:
    columns, values = table
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    end, blank, delimiter = (data.draw(st.sampled_from(some)) for some in (["\n", "\r\n", "\r"], ["", "  "], ",;\t"))
    every, encoding = data.draw(st.booleans()), data.draw(st.sampled_from(["utf-8", "utf-8-sig"]))
    with path.open("w", newline="", encoding=encoding) as file:
        quoting = csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end + blank + end)
        writer.writerows([columns, *values.tolist()])
    found = load_table(str(path), 0, 0.0, 0)
    check_form(found)
    assert (*found.features, *found.outputs) == tuple(columns)
    assert np.array_equal(np.hstack([found.x_NI, found.y_NO]), values) and found.name == "t.csv"


def test_csv_target_is_any_column(tmp_path: Path) -> None:
    table = read(tmp_path, GOOD, "a")
    assert read(tmp_path, GOOD.replace("b", '"b;,;"')).features == ("a", "b;,;")
    assert table.features == ("b", "y") and table.outputs == ("a",) and table.y_NO[3, 0] == 3 and table.x_NI[3, 0] == 9
    assert len({table.digest, read(tmp_path, GOOD).digest, read(tmp_path, GOOD.replace("b", "c")).digest}) == 3


BAD = {
    "": "is empty",
    "\n \n": "is empty",
    '""': "is empty",
    "1,2\n" * 30: "line 1: no header: first line must hold names",
    "\n\n1.5;-2e3\n": "line 3: no header",
    "y\n" + "1\n" * 30: "line 1: has 1 column, 'y'",
    GOOD.replace("a,b", "a,", 1): "line 1, column 2: the name is ''",
    GOOD.replace("a,b", '"a\nb",b', 1): r"line 1, column 1: the name is 'a\nb'",
    GOOD.replace("a,b", "y,b", 1): "line 1, column 3: 'y' names column 1 too",
    GOOD.replace("9,81,2", "9,81"): "line 11: has 2 cells, the header has 3",
    GOOD.replace("9,81,2", "9,81,2,"): "line 11: has 4 cells, the header has 3",
    GOOD.replace("9,81,2", "\n\n9,x y,2"): "line 13, column 2 'b': is 'x y'",
    GOOD.replace("9,81,2", "9,,2"): "line 11, column 2 'b': is empty",
    GOOD.replace("9,81,2", "9,nan,2"): "line 11, column 2 'b': is 'nan'",
    GOOD.replace("9,81,2", "9,-inf,2"): "line 11, column 2 'b': is '-inf'",
    GOOD.replace("9,81,2", "9,1e999,2"): "line 11, column 2 'b': is '1e999'",
    GOOD.replace("9,81,2", "9,1e31,2"): "at most 1e+30 in size",
    GOOD.replace("9,81,2", "9,8_1,2"): "line 11, column 2 'b': is '8_1'",
    GOOD.replace(",", ";").replace("9;81;2", "9;8,1;2"): "line 11, column 2 'b': is '8,1'",
    GOOD.replace("9,81,2", '9,"81,2'): "line 11: is not CSV",
    GOOD.replace("9,81,2", '9,"81"x,2'): "line 11: is not CSV",
    GOOD[: GOOD.index("19,")]: "has 19 rows below the header; at least 20",
    "a,y\n" + "".join(f"{n},3\n" for n in range(30)): "column 2 'y', the target, is 3 in every row",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_bad_csv_says_where_and_what(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(LevshaError) as caught:
        load_table(path, 0, 0.0, 0)
    assert BAD[text] in str(caught.value) and str(caught.value).startswith(path)


def test_bad_files_say_what(tmp_path: Path) -> None:
    with pytest.raises(LevshaError, match="No such file"):
        load_table(str(tmp_path / "none.csv"), 0, 0.0, 0)
    with pytest.raises(LevshaError, match="is a folder"):
        load_table(str(tmp_path), 0, 0.0, 0)
    with pytest.raises(LevshaError, match="line 3: byte 0xe9 is not UTF-8"):
        read(tmp_path, GOOD.encode().replace(b"1,1,1", b"\xe9", 1))
    with pytest.raises(LevshaError, match="zero byte"):
        read(tmp_path, GOOD.encode("utf-16"))
    with pytest.raises(LevshaError, match="no column 'z' for --target-column; its columns are a, b, y"):
        read(tmp_path, GOOD, "z")


def test_csv_of_100000_rows_is_read_soon(tmp_path: Path) -> None:
    text = "a,b,c,d,y\n" + "".join(f"{n}.25,{n},-1e-3,4.5,{n % 10}\n" for n in range(100_000))
    begin = time.process_time()
    assert len(read(tmp_path, text).x_NI) == 100_000
    assert time.process_time() - begin < 10  # takes 0.5 s


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


def test_trivial_classes() -> None:
    rng = np.random.default_rng(0)
    label = rng.choice(3, 400, p=[0.2, 0.5, 0.3])
    x = np.eye(3)[label] * 6 + rng.normal(size=(400, 3))
    found = trivial_predictions(x[:300], label[:300], x[300:])
    assert list(found) == ["commonest", "linear", "nearest_15"]
    assert all(v.shape == (100,) and v.dtype == np.int64 for v in found.values())
    assert (found["commonest"] == 1).all() and (found["linear"] == label[300:]).mean() > 0.95
    assert (found["nearest_15"] == label[300:]).mean() > 0.95
