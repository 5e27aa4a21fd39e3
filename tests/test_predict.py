"""levsha predict: a row out for each row in, the chip's own integers, and a wrong file is named by line and column before anything is written."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from levsha.cli import main
from levsha.interpret import interpret
from levsha.run import Run
from levsha.targets import TARGETS

BRIEF = [
    "--splits",
    "1",
    "--jobs",
    "1",
    "--vectors",
    "20",
    "--hidden",
    "8",
    "--sensor-hidden",
    "12",
    "--train.rate",
    "1e-2",
    "--train.batch",
    "32",
]
CHIP = "host" if TARGETS["uno"].missing() else "uno"
TITLES = "Temp [°C];Druck [hPa];Licht"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of numbers: three inputs, two with units, and a target in g."""
    folder, rng = tmp_path_factory.mktemp("predict"), np.random.default_rng(0)
    x = np.column_stack([rng.uniform(-10, 30, 200), rng.uniform(980, 1040, 200), rng.integers(0, 1024, 200)])
    rows = [f"{a:.1f};{b:.1f};{c:.0f};{0.5 * a + 0.1 * b + 0.01 * c:.2f}" for a, b, c in x]
    (folder / "data.csv").write_text("\n".join([f"{TITLES};Wuchs [g]", *rows]))
    words = [
        "run",
        "regression",
        "--data",
        str(folder / "data.csv"),
        "--out",
        str(folder / "run"),
        "--target",
        CHIP,
        *BRIEF,
    ]
    assert main([*words, "--train.epochs", "20"]) == 0
    return folder / "run"


def table(path: Path, titles: str, *rows: str) -> Path:
    path.write_text("\n".join([titles, *rows]))
    return path


def predict(run: Path, data: Path, out: Path, *more: str) -> list[list[str]]:
    assert main(["predict", str(run), "--data", str(data), "--out", str(out), *more]) == 0
    with open(out, newline="") as file:
        return list(csv.reader(file))


def refused(capsys: pytest.CaptureFixture[str], *words: Any) -> str:
    capsys.readouterr()
    assert main(["predict", *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("levsha: ") and error.count("\n") == 1, error
    return error


def random_rows(count: int) -> list[str]:
    rng = np.random.default_rng(1)
    return [f"{rng.uniform(-10, 30):.1f};{rng.uniform(980, 1040):.1f};{rng.integers(0, 1024)}" for _ in range(count)]


def test_rows_out_are_the_rows_in_and_equal_interpreter_firmware_and_ask(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = random_rows(150)
    data = table(tmp_path / "new.csv", TITLES, *rows)
    titles, *answers = predict(run, data, tmp_path / "out.csv")
    assert titles == ["line", "Wuchs, g"] and [int(line) for line, _ in answers] == list(range(2, 152))
    assert capsys.readouterr().out == f"{tmp_path / 'out.csv'}: 150 answers by the interpreter\n"
    assert predict(run, data, tmp_path / "chip.csv", "--target", CHIP) == [titles, *answers]
    assert capsys.readouterr().out == f"{tmp_path / 'chip.csv'}: 150 answers by the firmware on {CHIP}\n"
    net = Run(run).net("sensor-int8")
    x = np.array([[float(cell) for cell in row.split(";")] for row in rows])
    y = interpret(net.graph, {"readings": net.meaning.to_integers("readings", x)})["result"]
    np.testing.assert_allclose([float(a) for _, a in answers], net.meaning.to_real("result", y)[:, 0], rtol=1e-9)
    assert main(["ask", str(run), "--values", *rows[7].split(";")]) == 0
    assert capsys.readouterr().out == f"Wuchs: {answers[7][1]} g\n"
    true = 0.5 * x[:, 0] + 0.1 * x[:, 1] + 0.01 * x[:, 2]
    assert np.corrcoef(true, [float(a) for _, a in answers])[0, 1] > 0.95


def test_columns_are_found_by_name_in_any_order_with_or_without_units(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    want = predict(run, table(tmp_path / "a.csv", TITLES, "20;1000;512", "-3.5;1020;7"), tmp_path / "a.out")
    for n, (titles, *rows) in enumerate([
        ("Licht;Druck;Temp", "512;1000;20", "7;1020;-3.5"),
        ("Druck [hPa],Licht,Temp (°C)", "1000,512,20", "1020,7,-3.5"),
        ("Temp, °C;Druck;Licht", "20,0;1000;512", "-3,5;1020;7"),
    ]):  # fmt: skip
        assert predict(run, table(tmp_path / f"{n}.csv", titles, *rows), tmp_path / f"{n}.out") == want
    capsys.readouterr()
    extra = table(tmp_path / "b.csv", "name;Licht;Druck;Temp;Wuchs [g]", "first;512;1000;20;?", "second;7;1020;-3.5;")
    assert predict(run, extra, tmp_path / "b.out") == want
    warned = capsys.readouterr().err
    assert warned.startswith("levsha: warning: b.csv: ") and warned.count("\n") == 1
    assert "2 columns are not used: name, Wuchs [g]." in warned
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    assert predict(run, tmp_path / "c.csv.gz", tmp_path / "c.out") == want


def test_answers_are_packed_where_their_name_says_so(run: Path, tmp_path: Path) -> None:
    data = table(tmp_path / "a.csv", TITLES, "20;1000;512")
    predict(run, data, tmp_path / "a.out")
    assert main(["predict", str(run), "--data", str(data), "--out", str(tmp_path / "a.csv.gz")]) == 0
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == (tmp_path / "a.out").read_bytes()


def test_lines_are_those_of_the_file(run: Path, tmp_path: Path) -> None:
    """Comments and blank lines are no rows, but they count as lines."""
    data = table(tmp_path / "a.csv", "# of today", TITLES, "", "20;1000;512", "", "20;1000;512")
    assert [row[0] for row in predict(run, data, tmp_path / "a.out")] == ["line", "4", "6"]


@pytest.mark.parametrize(
    ("titles", "rows", "said"),
    [
        ("Temp;Licht", ["20;512"], "has no column 'Druck'; its columns are Temp, Licht"),
        ("Temp;Druk;Licht", ["20;1000;512"], "has no column 'Druck'; did you mean 'Druck'? ".replace("'Druck'?", "'Druk'?")),
        ("Temp;Druck [Pa];Licht", ["20;1000;512"], "column 2 'Druck [Pa]': is in Pa; Druck is wanted in hPa"),
        (TITLES, ["20;1000;512", "21;;500"], "line 3, column 2 'Druck [hPa]': is empty; fill it in or delete the line"),
        (TITLES, ["20;1000;512", "NA;1000;500"], "line 3, column 1 'Temp [°C]': is NA; fill it in"),
        (TITLES, ["20;1000;512", "21;1000;x"], "line 3, column 3 'Licht': is 'x'"),
        (TITLES, ["20;1000;512", "21;100;512"], "line 3: Druck is 100; the net takes 9"),
        (TITLES, ["20;1000;512", "21;1000;9999"], "line 3: Licht is 9999; the net takes 0 to 1"),
        (TITLES, ["20;1000;512", "21;1000"], "line 3: has 2 cells, the header has 3"),
        (TITLES, [], "has no rows below the header"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_answered_is_named_by_line_and_nothing_is_written(
    titles: str, rows: list[str], said: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = table(tmp_path / "new.csv", titles, *rows), tmp_path / "out.csv"
    for target in ([], ["--target", CHIP]):
        error = refused(capsys, run, "--data", data, "--out", out, *target)
        assert f"{data}" in error and said in error
        assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv"]
    out.write_text("of yesterday")
    refused(capsys, run, "--data", data, "--out", out)
    assert out.read_text() == "of yesterday"


def test_places_that_cannot_be_written_and_the_file_it_reads_from(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = table(tmp_path / "new.csv", TITLES, "20;1000;512")
    before = data.read_bytes()
    (tmp_path / "link.csv").symlink_to(data)
    for same in (data, tmp_path / "link.csv", tmp_path / "." / "new.csv"):
        assert "is the file that --data is read from; give another name" in refused(
            capsys, run, "--data", data, "--out", same
        )
    assert "is a folder; give the name of a file" in refused(capsys, run, "--data", data, "--out", tmp_path)
    assert "is a file; give a folder" in refused(capsys, run, "--data", data, "--out", data / "out.csv")
    assert data.read_bytes() == before and (tmp_path / "link.csv").is_symlink()
    assert "No such file" in refused(capsys, run, "--data", tmp_path / "none.csv", "--out", tmp_path / "out.csv")
    assert "target 'uno2': unknown" in refused(
        capsys, run, "--data", data, "--out", tmp_path / "o.csv", "--target", "uno2"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "new.csv"]


def test_a_run_of_another_recipe_or_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(tmp_path / "new.csv", TITLES, "20;1000;512")
    assert "is no finished run" in refused(capsys, tmp_path / "none", "--data", data, "--out", tmp_path / "o.csv")
    (tmp_path / "results.json").write_text(json.dumps({"format": 2, "recipe": "tinychat", "variants": []}))
    error = refused(capsys, tmp_path, "--data", data, "--out", tmp_path / "o.csv")
    assert "is a run of tinychat; this command needs one of regression" in error
    assert not (tmp_path / "o.csv").exists()


def test_classes_are_answered_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(2)
    names, label = ["still, at rest", "wave", 'the "third"'], rng.integers(0, 3, 300)
    x = np.array([[0, 0], [4, -4], [-4, 4]])[label] + rng.normal(0, 0.4, (300, 2))
    with open(tmp_path / "moves.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [["ax", "ay", "move"], *([*np.round(row, 2), names[k]] for row, k in zip(x, label, strict=True))]
        )
    out = tmp_path / "run"
    words = ["run", "regression", "--data", str(tmp_path / "moves.csv"), "--out", str(out), "--target", CHIP, *BRIEF]
    assert main([*words, "--train.epochs", "40"]) == 0
    rows = [titles, *answers] = predict(out, tmp_path / "moves.csv", tmp_path / "moves.out")
    assert titles[0] == "line" and len(answers) == 300
    assert np.mean([answer == names[k] for (_, answer), k in zip(answers, label, strict=True)]) > 0.95
    assert predict(out, tmp_path / "moves.csv", tmp_path / "chip.out", "--target", CHIP) == rows
    assert "1 column is not used: move." in capsys.readouterr().err
