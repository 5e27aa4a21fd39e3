"""The reader of users' CSV files: every dialect reads back as written, and all that is refused, noticed or left out."""

import csv
import gzip
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from levsha.data.csv import read_inputs, read_table
from levsha.data.table import Table
from levsha.data.tables import load_table
from levsha.errors import LevshaError, LevshaWarning

GOOD = "a,b,y\n" + "".join(f"{n},{n * n},{n % 7}\n" for n in range(30))
REAL = "a;b;y\n" + "".join(f"{n}.5;{n * n};{n * 3}.25\n" for n in range(30))
WORDS = "a,b,kind\n" + "".join(f"{n * 7 % 5},{n * n},{('left', 'right', 'up')[n % 3]}\n" for n in range(30))


def write(folder: Path, text: str | bytes) -> str:
    path = folder / "table.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def read(folder: Path, text: str | bytes, target: str | None = None, drop: tuple[str, ...] = (), classes: bool = False) -> Table:  # fmt: skip
    return load_table(write(folder, text), target=target, drop=drop, classes=classes)


def said(table: Table) -> str:
    return " | ".join(table.notices)


def refusal(folder: Path, text: str | bytes, target: str | None = None, drop: tuple[str, ...] = (), classes: bool = False) -> str:  # fmt: skip
    with pytest.raises(LevshaError) as caught:
        read(folder, text, target, drop, classes)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(folder))
    return str(caught.value)


# numbers whose differences are in the range that is allowed
numbers = st.floats(-1e30, 1e30).map(lambda value: value if abs(value) > 1e-20 else 0.0)
names = st.lists(
    st.text("abc,;|é\"'_1", min_size=1).map(lambda t: "n" + t.strip()), min_size=2, max_size=5, unique=True
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], np.ndarray]:
    columns = draw(names)
    values = draw(hnp.arrays(np.float64, (draw(st.integers(20, 30)), len(columns)), elements=numbers))
    values[:, :-1] += 0.0  # no -0
    values[:, -1] = np.arange(len(values)) + 0.5
    return columns, values


def written(columns: list[str], values: np.ndarray, draw: st.DataObject) -> bytes:
    """Write a table as some program might."""
    pick = lambda *some: draw.draw(st.sampled_from(some))  # noqa: E731
    end, blank, delimiter = pick("\n", "\r\n", "\r"), pick("", "  "), pick(*",;\t|")
    decimal = "." if delimiter == "," else pick(".", ",")
    out = io.StringIO(newline="")
    writer = csv.writer(
        out,
        delimiter=delimiter,
        quoting=pick(csv.QUOTE_ALL, csv.QUOTE_MINIMAL),
        lineterminator=pick(end, end + blank + end, f"{end}# it's 3\" long, {delimiter}{end}"),
    )
    writer.writerow(columns)
    writer.writerows([[repr(float(cell)).replace(".", decimal) for cell in row] for row in values])
    text = pick("", f"sep={delimiter}{end}", f"# logger{end}#{end}") + out.getvalue()
    raw = text.encode(pick("utf-8", "utf-8-sig", "utf-16", "cp1252"))
    return gzip.compress(raw) if pick(False, True) else raw


@pytest.mark.filterwarnings("ignore::levsha.errors.LevshaWarning")
@given(tables(), st.data())
@settings(max_examples=100, deadline=None)
def test_every_dialect_comes_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[list[str], np.ndarray], data: st.DataObject
) -> None:
    columns, values = table
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(written(columns, values, data))
    found = load_table(str(path))
    assert (*found.features, *found.outputs) == tuple(columns) and found.name == "t.csv"
    assert np.array_equal(np.hstack([found.x_NI, found.y_NO]), values)
    again, lines = read_inputs(path, columns)
    assert np.array_equal(again, values) and (np.diff(lines) > 0).all()


@given(
    st.text("a1,;\t|\"'#.-\n\r é\xa0=sep", max_size=60),
    st.lists(st.text("a1,;\t|\"'#.- é\n", max_size=12), min_size=1, max_size=4),
    st.integers(0, 40),
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, head: str, rows: list[str], count: int
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text("\n".join([head, *(rows[n % len(rows)] for n in range(count))]), newline="")
    try:
        table = load_table(str(path))
    except LevshaError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(table.x_NI).all() and len(table.x_NI) == len(table.y_NO) >= 20


def test_target_is_any_column(tmp_path: Path) -> None:
    table = read(tmp_path, GOOD, "a")
    assert read(tmp_path, GOOD.replace("b", '"b;,;"')).features == ("a", "b;,;")
    assert table.features == ("b", "y") and table.outputs == ("a",) and table.y_NO[3, 0] == 3 and table.x_NI[3, 0] == 9
    assert len({table.digest, read(tmp_path, GOOD).digest, read(tmp_path, GOOD.replace("b", "c")).digest}) == 3
    assert table.about == "The file table.csv: 30 rows of 2 inputs and the target a."


BAD = {
    "": "is empty",
    "\n \n": "is empty",
    '""': "is empty",
    "# nothing\n": "is empty",
    "1,2\n" * 30: "line 1: no header: first line must hold names",
    "\n\n1.5;-2e3\n": "line 3: no header",
    "y\n" + "1\n" * 30: "line 1: has 1 column, 'y'",
    GOOD.replace("a,b", "a,", 1): "line 1, column 2: the name is ''",
    GOOD.replace("a,b", ",b", 1).replace("\n9,", "\n8,"): "line 1, column 1: the name is ''",
    GOOD.replace("a,b", '"a\nb",b', 1): r"line 1, column 1: the name is 'a\nb'",
    GOOD.replace("a,b", "y,b", 1): "line 1, column 3: 'y' names column 1 too",
    GOOD.replace("9,81,2", "9,81"): "line 11: has 2 cells, the header has 3",
    GOOD.replace("9,81,2", "9,81,2,"): "line 11: has 4 cells, the header has 3",
    GOOD.replace("9,81,2", "9,81,2,5,6,7"): "line 11: has 6 cells, the header has 3",
    GOOD.replace("a,b", '"a",b').replace("8,64,1\n9,81,2", '"8",64,1\n9,81,2,1'): "line 11: has 4 cells",
    GOOD.replace("9,81,2", "\n\n9,x y,2"): "line 13, column 2 'b': is 'x y'",
    GOOD.replace("3,9,3", "3,12:5,3").replace("9,81,2", "9,x y,2"): "is '12:5' (and 1 more cells of this column",
    GOOD.replace("9,81,2", "9,-inf,2"): "line 11, column 2 'b': is '-inf'",
    GOOD.replace("9,81,2", "9,1e999,2"): "line 11, column 2 'b': is '1e999'",
    GOOD.replace("9,81,2", "9,1e31,2"): "at most 1e+30 in size",
    GOOD.replace("9,81,2", "9,8_1,2"): "line 11, column 2 'b': is '8_1'",
    GOOD.replace("9,81,2", "9,81,two"): "line 11, column 3 'y': is 'two'",
    GOOD.replace("9,81,2", '9,"8,1",2'): "line 11, column 2 'b': is '8,1'",
    GOOD.replace(
        "9,81,2", '9,"1,234.5",2'
    ): "is '1,234.5'; allowed are finite numbers with a decimal point, without marks",
    REAL.replace("9.5;81", "9.5;8,1"): "line 11, column 2 'b': is '8,1'",
    REAL.replace("9.5;81", "9.5;1.234,5"): "line 11, column 2 'b': is '1.234,5'",
    REAL.replace(".", ",").replace(
        "9,5;81", "9,5;8.1"
    ): "line 11, column 2 'b': is '8.1'; allowed are finite numbers with a decimal comma",
    GOOD.replace(",", ";").replace("9;81;2", "9;1,234;2"): "is '1,234': a thousand or a decimal comma?",
    GOOD.replace("9,81,2", '9,"81,2'): "line 11: is not CSV",
    GOOD.replace("9,81,2", '9,"81"x,2'): "line 11: is not CSV",
    GOOD[: GOOD.index("19,")]: "has 19 rows below the header; at least 20",
    "a,y\n" + "".join(f"{n},3\n" for n in range(30)): "column 2 'y', the target, is 3 in every row",
    "a,y\n" + "".join(f"{n},up\n" for n in range(30)): "the target, is 'up' in every row: nothing to learn",
    "a,y\n" + "".join(f"{n}e-170,{n}\n" for n in range(30)): "column 1 'a': its values differ by 2.9e-169 at most",
    "a,y\n" + "".join(f"{n},{n}e-170\n" for n in range(30)): "column 2 'y': its values differ by 2.9e-169 at most",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_bad_csv_says_where_and_what(text: str, tmp_path: Path) -> None:
    assert BAD[text] in refusal(tmp_path, text)


def test_bad_files_say_what(tmp_path: Path) -> None:
    with pytest.raises(LevshaError, match="No such file"):
        load_table(str(tmp_path / "none.csv"))
    with pytest.raises(LevshaError, match="is a folder"):
        load_table(str(tmp_path))
    assert "zero byte" in refusal(tmp_path, GOOD.encode("utf-16-le"))
    assert "begins as UTF-16 and is not" in refusal(tmp_path, GOOD.encode("utf-16")[:-1])
    assert "is damaged gzip" in refusal(tmp_path, gzip.compress(GOOD.encode())[:-9])
    assert "no column 'z' for --target-column; its columns are a, b, y" in refusal(tmp_path, GOOD, "z")


def test_delimiter_is_what_cuts_the_rows_alike(tmp_path: Path) -> None:
    header = "Temp, °C;Wind, from, to;Sun, kW/m2;Yield, kg, dry, a year\n"
    table = read(tmp_path, header + "".join(f"{n},5;{n % 3},25;0,{n};{n * n},75\n" for n in range(30)))
    assert table.x_NI.shape == (30, 3) and table.x_NI[4].tolist() == [4.5, 1.25, 0.4] and table.y_NO[4, 0] == 16.75
    assert "separated by semicolons, with decimal commas." in said(table)
    two = "a, b, c\tkind\n" + "".join(f"{n},5\t{'on' if n % 2 else 'off'}\n" for n in range(30))
    assert read(tmp_path, two).features == ("a, b, c",) and read(tmp_path, two).x_NI[7, 0] == 7.5
    assert read(tmp_path, GOOD.replace(",", " | ")).features == ("a", "b")
    # in Excel's first line it is named
    assert read(tmp_path, f"\ufeffsep=;\r\n{REAL}").digest == read(tmp_path, REAL).digest
    lone = GOOD.replace(",", ";").replace("9;81;2", "9;8,1;2")
    assert read(tmp_path, lone).x_NI[9, 1] == 8.1 and "with decimal commas" in said(read(tmp_path, lone))


def test_comments_and_blank_lines_are_counted_and_left_out(tmp_path: Path) -> None:
    text = '# logger 3, "north\n\n' + GOOD.replace("9,81,2", "\n  # moved, by hand\n9,81,2\n,,\n") + "#end"
    table = read(tmp_path, text)
    assert table.digest == read(tmp_path, GOOD).digest
    assert "Comments, lines that begin with #, are left out: 3, first line 1." in table.notices
    assert "line 15, column 2 'b': is 'x'" in refusal(tmp_path, text.replace("9,81,2", "9,x,2"))
    rows = "".join(f'{n},{n % 5},"moved\n# by hand",{n}\n' for n in range(30))
    quoted = f"a,b,note,y\n{rows}".replace("\n9,", "\nx,")
    assert "line 20, column 1 'a': is 'x'" in refusal(tmp_path, quoted, drop=("note",)), "a quoted # is no comment"


def test_a_header_in_a_comment_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "numpy.csv"
    values = np.random.default_rng(0).normal(size=(30, 3))
    np.savetxt(path, values, delimiter=",", header="made by me\na,b,y", fmt="%.18g")
    table = load_table(str(path))
    assert table.features == ("a", "b") and np.array_equal(np.hstack([table.x_NI, table.y_NO]), values)
    assert "Line 2, a comment, was read as the header: a,b,y." in table.notices


def test_old_encodings_are_read_and_named(tmp_path: Path) -> None:
    text = GOOD.replace("a,b", "Größe,b", 1)
    assert read(tmp_path, b"\xef\xbb\xbf" + text.encode("cp1252")).features[0] == "Größe", "a BOM that lies"
    for encoding in ("utf-8-sig", "utf-16"):
        assert read(tmp_path, text.encode(encoding)).features[0] == "Größe"
    old = read(tmp_path, text.encode("cp1252"))
    assert old.features[0] == "Größe" and "line 1: byte 0xf6 is not UTF-8; the file was read as cp1252" in said(old)
    assert "read as latin-1" in said(read(tmp_path, text.encode("cp1252") + b"#\x81"))


def test_rows_with_missing_cells_are_counted_and_left_out(tmp_path: Path) -> None:
    text = GOOD
    for row, cell in (
        ("9,81,2", ""),
        ("11,121,4", "NaN"),
        ("12,144,5", "n/a"),
        ("13,169,6", "-"),
        ("14,196,0", "NULL"),
    ):
        text = text.replace(row, row.replace(row.split(",")[1], cell))
    table = read(tmp_path, text)
    assert len(table.x_NI) == len(table.y_NO) == 25 and 9 not in table.x_NI[:, 0]
    assert table.notices[0] == "table.csv: 25 of 30 rows and 3 of 3 columns are used, separated by commas."
    assert "5 of 30 rows are left out: a cell is empty or stands for no value; first line 11, column 2 'b'." in said(
        table
    )
    assert len(read(tmp_path, GOOD.replace("9,81,2", "9,81,")).x_NI) == 29, "a missing target too"
    assert len(read(tmp_path, text, drop=("b",)).x_NI) == 30, "a column that is left out may have holes"
    fewer = refusal(tmp_path, "\n".join(text.split("\n")[:25]))
    assert "too many, 5 of 24 rows are left out" in fewer
    holes = "a,b,y\n" + "".join(f"{n},{'' if n % 3 else 5},{n}\n" for n in range(90))
    assert "most in column 2 'b', 60 rows: fill them in, or leave it out: --drop b." in refusal(tmp_path, holes)


def test_text_says_which_column_to_drop(tmp_path: Path) -> None:
    days = "the day,a,y\n" + "".join(f"2024-03-{n + 1:02} 10:00,{n * 7 % 11},{n * n}\n" for n in range(30))
    assert "column 1 'the day': looks like a time ('2024-03-01 10:00' in line 2)" in refusal(tmp_path, days)
    assert refusal(tmp_path, days).endswith("leave it out: --drop 'the day'.")
    table = read(tmp_path, days, drop=("the day",))
    assert table.features == ("a",) and "Left out by --drop: the day." in table.notices
    assert "2 of 3 columns" in table.notices[0]
    assert "column 3 'kind': is text ('left' in line 2)" in refusal(tmp_path, WORDS, "a")
    for clock in ("3.4.24", "12:30:01", "2024-01-02T03:04:05Z", "1/2/2024"):
        assert "looks like a time" in refusal(tmp_path, days.replace("2024-03-01 10:00", clock)), clock
    assert "is text" in refusal(tmp_path, days.replace("2024-03-", "v"))


def test_drop_and_target_find_their_columns(tmp_path: Path) -> None:
    text = GOOD.replace("a,b,y", '"Temp, °C","Temp, °F",yield')
    error = refusal(tmp_path, text, drop=("Tmp, °C",))
    assert "no column 'Tmp, °C' for --drop; did you mean 'Temp, °C'" in error and error.endswith("yield.")
    assert "'Temp' may be Temp, °C, Temp, °F; write it whole" in refusal(tmp_path, text, drop=("Temp",))
    assert read(tmp_path, text, drop=("Temp, °F",)).features == ("Temp",)
    assert read(tmp_path, GOOD.replace("a,b", "a,b [m]"), "b").output_unit == "m"
    assert read(tmp_path, GOOD, drop=("y",)).outputs == ("b",)
    assert "'y' is the target and in --drop" in refusal(tmp_path, GOOD, "y", ("y",))
    assert "no column is left to learn from beside the target 'y'" in refusal(tmp_path, GOOD, None, ("a", "b"))
    assert "no column is left" in refusal(tmp_path, GOOD, "b", ("a", "y"))


def test_units_come_from_the_header(tmp_path: Path) -> None:
    units = {"Temp, °C": ("Temp", "°C"), "Sun [kW/m2]": ("Sun", "kW/m2"), "T(°C)": ("T", "°C"), "p (hPa)": ("p", "hPa")}
    names = [*units, "f(x)", "a,b", "lag (1)"]
    rows = "".join(";".join(str(n * k % 31) for k in range(1, len(names) + 2)) + "\n" for n in range(31))
    table = read(tmp_path, ";".join([*names, "Ertrag, kg"]) + "\n" + rows)
    assert table.features == (*(name for name, _ in units.values()), "f(x)", "a,b", "lag (1)")
    assert table.units == (*(unit for _, unit in units.values()), "", "", "")
    assert table.outputs == ("Ertrag",) and table.output_unit == "kg" and table.about.endswith("the target Ertrag.")
    two = read(tmp_path, GOOD.replace("a,b", "T [C],T [F]"))
    assert two.features == ("T [C]", "T [F]") and two.units == ("", "")


def test_indexes_are_noticed(tmp_path: Path) -> None:
    text = GOOD.replace("a,b", ",b", 1)
    table = read(tmp_path, text)
    assert (
        table.features == ("b",) and "Column 1, '', is an index, as pandas writes it: it is left out." in table.notices
    )
    assert read(tmp_path, text.replace(",b", "Unnamed: 0,b", 1)).features == ("b",)
    shuffled = text.replace("\n9,", "\n99,")
    assert read(tmp_path, shuffled).features == ("b",)
    named = read(tmp_path, GOOD)
    assert (
        named.features == ("a", "b") and "a grows by one from row to row" in said(named) and "--drop a." in said(named)
    )
    assert "grows" not in said(read(tmp_path, GOOD.replace("\n9,", "\n9.5,")))


def test_values_that_may_stand_for_none_are_noticed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    far = (-9999, 65535, 1e30, -127.5, 5)
    columns = rng.normal(20, 5, (200, 5)).round(2)
    columns[[3, 70, 90]] = far
    text = "a,b,c,d,e,y\n" + "".join(f"{','.join(f'{v:.10g}' for v in row)},{row[0] % 17}\n" for row in columns)
    table = read(tmp_path, text)
    for name, value in zip("abcd", ("-9999", "65535", "1e+30", "-127.5"), strict=True):
        assert f"{name} is {value} in 3 of 200 rows, far from its other values" in said(table)
    assert "e is" not in said(table) and len(table.x_NI) == 200, "nothing is left out without being asked"
    rare = "flag,n,y\n" + "".join(f"{int(n == 30)},{n * 37 % 101},{n * n}\n" for n in range(200))
    assert "far from" not in said(read(tmp_path, rare)), "a flag is no such value"
    spread = "a,y\n" + "".join(f"{n * 999},{n}.5\n" for n in range(80))
    assert "far from" not in said(read(tmp_path, spread)), "9990 and 79920 lie among the others"


def test_constant_inputs_are_noticed(tmp_path: Path) -> None:
    table = read(tmp_path, "fan,heater_V,t,y\n" + "".join(f"0,5,{n % 9},{n * n}\n" for n in range(30)))
    assert table.constant_I.tolist() == [True, True, False]
    assert "heater_V is 5 in every row: it has no influence." in table.notices


def test_words_are_classes(tmp_path: Path) -> None:
    table = read(tmp_path, WORDS.replace("kind", "kind [way]"))
    assert table.is_classes and table.outputs == ("left", "right", "up") and table.output_unit == ""
    assert table.y_NO.dtype == np.int64 and table.y_NO[:4].tolist() == [0, 1, 2, 0]
    assert "kind, the target, is learnt as 3 classes: left (10 rows), right (10 rows), up (10 rows)." in table.notices
    assert "Just capitals tell apart UP, up." in said(read(tmp_path, WORDS.replace(",up", ",UP", 4)))
    truth = "a,y\n" + "".join(f"{n},{('True', 'FALSE', 'false')[n % 3]}\n" for n in range(30))
    assert read(tmp_path, truth).outputs == ("false", "true") and read(tmp_path, truth).y_NO[:3].tolist() == [1, 0, 0]
    odd = WORDS.replace("729,left", "729,odd").replace("784,right", "784,odd")
    assert "line 29, column 3 'kind': the class 'odd' has 2 rows; at least 3 are needed" in refusal(tmp_path, odd)
    assert r"the class 'u\tp' has no printable name" in refusal(tmp_path, WORDS.replace("up", "u\tp"))
    names = "a,y\n" + "".join(f"{n},name {n}\n" for n in range(30))
    assert "is to be classes, with 30 different values in 30 rows" in refusal(tmp_path, names)
    assert "looks like a time" in refusal(tmp_path, names.replace("name ", "12:0"))


def test_whole_numbers_are_classes_when_asked(tmp_path: Path) -> None:
    text = "a,y\n" + "".join(f"{n}.5,{(2, 10, -1)[n % 3]}\n" for n in range(30))
    number, table = read(tmp_path, text), read(tmp_path, text, classes=True)
    assert not number.is_classes and "holds just -1, 2, 10: if they stand for classes, add --classes." in said(number)
    assert table.outputs == ("-1", "2", "10") and table.y_NO[:3].tolist() == [1, 2, 0]
    assert table.digest != number.digest
    assert read(tmp_path, text.replace(",2", ",2.0"), classes=True).digest == table.digest
    wrong = refusal(tmp_path, text.replace("3.5,2", "3.5,2.5"), classes=True)
    assert "line 5, column 2 'y': is '2.5'; classes are words or whole numbers" in wrong
    assert "the class '7' has 1 rows" in refusal(tmp_path, text.replace("3.5,2", "3.5,7"), classes=True)
    assert "--classes" not in said(read(tmp_path, "a,y\n" + "".join(f"{n},{n % 13}\n" for n in range(30))))


def test_true_and_false_are_inputs_too(tmp_path: Path) -> None:
    table = read(tmp_path, "open,a,y\n" + "".join(f"{n % 3 == 0},{n * 7 % 5},{n * n}\n" for n in range(30)))
    assert table.x_NI[:4, 0].tolist() == [1, 0, 0, 1] and "open: true was read as 1, false as 0." in table.notices


def test_inputs_are_read_by_name(tmp_path: Path) -> None:
    path = Path(write(tmp_path, '# now\nnote;"b, m";y;a [s]\nx;"1,5";1;2\n\ny;3;2;4,25\n'))
    with pytest.warns(LevshaWarning, match=r"2 of 2 rows and 2 of 4.*decimal commas.*2 columns are not used: note, y"):
        x, lines = read_inputs(path, ("a", "b"), ("s", "m"))
    assert x.tolist() == [[2, 1.5], [4.25, 3]] and lines.tolist() == [3, 5]
    with pytest.warns(LevshaWarning):
        assert read_inputs(path, ("a (s)", "b, m"))[0].tolist() == x.tolist()
    for features, units, wrong in (
        (("aa", "b"), (), "has no column 'aa'; its columns are note, b, m, y, a [s]."),
        (("nota", "b"), (), "did you mean 'note'?"),
        (("a", "b"), ("min", "m"), "column 4 'a [s]': is in s; a is wanted in min."),
        (("note",), (), "line 3, column 1 'note': is 'x' (and 1 more cells of this column are no numbers)"),
    ):
        with pytest.raises(LevshaError) as caught:
            read_inputs(path, features, units)
        assert wrong in str(caught.value)


def test_inputs_may_not_be_missing(tmp_path: Path) -> None:
    for row, wrong in (
        ("1,,3", "line 3, column 2 'b': is empty"),
        ("1,NA,3", "is NA; fill it in or delete"),
        ("1,2", "has 2 cells"),
    ):
        path = Path(write(tmp_path, f"a,b,c\n1,2,3\n{row}\n"))
        with pytest.raises(LevshaError) as caught:
            read_inputs(path, ("a", "b"))
        assert wrong in str(caught.value)
    with pytest.raises(LevshaError, match="has no rows below the header"):
        read_inputs(Path(write(tmp_path, "a,b\n")), ("a",))
    assert read_inputs(Path(write(tmp_path, "a\n1\n2\n")), ["a"])[0].tolist() == [[1], [2]]


def test_inputs_may_be_alike(tmp_path: Path) -> None:
    assert read_inputs(Path(write(tmp_path, "a\n1e-40\n2e-40\n")), ["a"])[0].tolist() == [[1e-40], [2e-40]]
    with pytest.warns(LevshaWarning, match="true was read as 1"):
        assert read_inputs(Path(write(tmp_path, "a\nTrue\nfalse\n")), ["a"])[0].tolist() == [[1], [0]]


def test_columns_without_name_and_cells_are_left_out(tmp_path: Path) -> None:
    wide = "".join(f"{line},,\n" for line in GOOD.splitlines()).replace("a,b", "a,\xa0b\xa0c")
    table = read(tmp_path, wide)
    assert (
        table.features == ("a", "b c") and "2 empty columns without a name, at the end, are left out." in table.notices
    )
    assert "line 11, column 2 'b c': is 'x'" in refusal(tmp_path, wide.replace("9,81,2", "9,x,2"))


def test_pandas_is_imported_only_for_a_file(tmp_path: Path) -> None:
    code = "import sys; from levsha.data.tables import load_table; import levsha.data.csv; load_table('gravity', 50); sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ)).returncode == 0


def test_csv_of_100000_rows_is_read_soon(tmp_path: Path) -> None:
    text = "a,b,c,d,y\n" + "".join(f"{n}.25,{n},-1e-3,4.5,{n % 10}\n" for n in range(100_000))
    read(tmp_path, GOOD)
    begin = time.process_time()
    assert len(read(tmp_path, text).x_NI) == 100_000
    assert time.process_time() - begin < 10  # takes 0.5 s


def test_read_table_is_load_table(tmp_path: Path) -> None:
    path = Path(write(tmp_path, WORDS))
    assert read_table(path).digest == load_table(str(path)).digest
