"""Situations of real users, from their file to the chip: what was read is said, what was lost is small, what cannot be answered is refused by name."""

import io
import json
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from levsha.cli import main
from levsha.data.csv import read_table
from levsha.data.pairs import read_pairs
from levsha.interpret import interpret
from levsha.recipes.regression.integer import lower_net
from levsha.recipes.regression.net import Prepared, build_mlp
from levsha.run import Run
from levsha.targets import TARGETS
from levsha.train.fit import fit, predict
from levsha.train.settings import Training

BRIEF = [
    "--splits", "1", "--jobs", "1", "--vectors", "40", "--hidden", "16", "--sensor-hidden", "16", "8", "--train.rate", "5e-3",
    "--train.batch", "32",
]  # fmt: skip
INTEGER = "sensor-int8"
CHIP = "host" if TARGETS["uno"].missing() else "uno"


def run_table(path: Path, out: Path, *more: str) -> int:
    return main(["run", "regression", "--data", str(path), "--out", str(out), "--target", CHIP, *BRIEF, *more])


def write_table(path: Path, titles: str, rows: Sequence[Sequence[Any]]) -> Path:
    path.write_text("".join(f"{line}\n" for line in (titles, *(",".join(map(str, row)) for row in rows))))
    return path


def results_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "results.json").read_text())


def by_name(out: Path) -> dict[str, dict[str, Any]]:
    return {v["name"]: v for v in results_of(out)["variants"]}


def said_by_chip(out: Path, lines: Sequence[str], target: str = CHIP) -> list[str]:
    """Integers typed into the firmware itself."""
    with Run(out).talk(INTEGER, TARGETS[target]) as talk:
        return [talk.say(line).text for line in lines]


def typed(out: Path, *values: float) -> str:
    """A line for the firmware: each value counted in its input's steps."""
    quantities = Run(out).net(INTEGER).meaning.quantities["readings"]
    return " ".join(f"{(x - q.zero) / q.step:.0f}" for x, q in zip(values, quantities, strict=True))


def in_one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def everywhere(out: Path, shown: str, *sentences: str) -> None:
    """What was noticed stands in the terminal, in the report and in the results."""
    report, kept = in_one_line((out / "report.md").read_text()).replace("\\|", "|"), results_of(out)["notices"]
    for sentence in sentences:
        assert sentence in in_one_line(shown), sentence
        assert sentence in report, sentence
        assert any(sentence in notice for notice in kept), sentence


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("levsha: ") and error.count("\n") == 1, error
    return error


def pump_rows(rows: int, share: float, seed: int) -> list[list[Any]]:
    """A 16-bit level, a valve that is open in a share of the rows, a voltage in mV, and the flow they make."""
    rng = np.random.default_rng(seed)
    level, millivolts = rng.integers(200, 31_000, rows), rng.integers(3300, 4200, rows)
    valve = (rng.random(rows) < share).astype(int)
    valve[:3] = 1
    flow = 2 + level / 500 * (1 + 0.1 * np.sin(level / 7000)) + 14 * valve + 0.004 * (millivolts - 3700)
    return [[*row[:3], f"{row[3]:.3f}"] for row in zip(level, valve, millivolts, flow, strict=True)]


def test_a_rare_flag_beside_a_wide_counter_costs_next_to_nothing(tmp_path: Path) -> None:
    """Each input has its own step and shift: a flag 20 deviations from its mean takes nothing from the counter beside it."""
    path, out = (
        write_table(tmp_path / "pump.csv", "level,valve,battery_mV,flow_l", pump_rows(900, 0.004, 1)),
        tmp_path / "run",
    )
    assert run_table(path, out, "--sensor-hidden", "32", "16", "--train.epochs", "30") == 0
    made = by_name(out)
    assert made["sensor"]["test_r2"] > 0.97
    assert made[INTEGER]["test_r2"] > made["sensor"]["test_r2"] - 0.01
    assert made[INTEGER]["mismatches"] == 0
    answers = [int(text) for text in said_by_chip(out, ["3000 0 3700", "15000 0 3700", "28000 0 3700", "15000 1 3700"])]
    assert answers == sorted(answers[:3]) + answers[3:] and len(set(answers)) == 4, "each input still moves the answer"
    assert answers[3] > answers[1]


def test_what_a_rare_flag_makes_large_is_not_clipped_away(tmp_path: Path) -> None:
    """In its own few rows too the integers say what the float net says."""
    table = read_table(write_table(tmp_path / "pump.csv", "level,valve,battery_mV,flow_l", pump_rows(900, 0.008, 4)))
    prepared = Prepared(table, 0)
    training = Training(epochs=40, rate=5e-3, batch=32)
    model = build_mlp([3, 64, 32, 1], "relu", 0)
    model.load_state_dict(
        fit(model, prepared.pair(prepared.train), prepared.pair(prepared.validation), training).model.state_dict()
    )
    lowered, meaning = lower_net(model, prepared)
    readings = meaning.to_integers("readings", table.x_NI)
    value = lowered.graph.inputs["readings"]
    integers = interpret(lowered.graph, {"readings": readings.clip(value.lows, value.highs)})["result"]
    apart = (meaning.to_real("result", integers) - prepared.real(predict(model, prepared.standardise(table.x_NI))))[
        :, 0
    ]
    is_open = table.x_NI[:, 1] == 1
    assert np.abs(apart[is_open]).mean() < 4 * np.abs(apart[~is_open]).mean()


@pytest.fixture(scope="module")
def fan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fan that is always off and a heater at 12 V: two columns that say nothing."""
    rng, folder = np.random.default_rng(2), tmp_path_factory.mktemp("fan")
    rows = [[0, 12, f"{t:.2f}", f"{3 + 0.4 * t + 0.01 * t * t:.3f}"] for t in rng.uniform(5, 40, 300)]
    assert (
        run_table(
            write_table(folder / "fan.csv", "fan,heater_V,temp_C,flow", rows), folder / "run", "--train.epochs", "25"
        )
        == 0
    )
    return folder


def test_constant_inputs_cost_nothing(fan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The net is as exact as one that never saw them."""
    assert run_table(fan / "fan.csv", tmp_path / "run", "--train.epochs", "25", "--drop", "fan", "heater_V") == 0
    everywhere(tmp_path / "run", capsys.readouterr().out, "Left out by --drop: fan, heater_V.")
    ratio = by_name(fan / "run")[INTEGER]["test_rmse"] / by_name(tmp_path / "run")[INTEGER]["test_rmse"]
    assert abs(ratio - 1) < 0.03


def test_constant_inputs_have_no_influence_and_it_is_said(
    fan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentences = [f"{name} in every row: it has no influence." for name in ("fan is 0", "heater_V is 12")]
    assert run_table(fan / "fan.csv", fan / "run", "--train.epochs", "25") == 0, "said again when the run is repeated"
    everywhere(fan / "run", capsys.readouterr().out, *sentences)
    for variant in ("baseline", "sensor"):
        assert main(["explain", str(fan / "run"), "--variant", variant, "--file", str(tmp_path / "why")]) == 0
        told = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
        assert "mean size 0 " in told["fan"] and "mean size 0 " in told["heater_V"]
        assert "mean size 0 " not in told["temp_C"]


def test_a_constant_input_that_changes_is_refused(fan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(fan / "run")
    assert main(["ask", out, "--values", "0", "12", "20"]) == 0
    for target in ([], ["--target", CHIP]):
        error = refused(["ask", out, "--values", "0", "24", "20", *target], capsys)
        assert "heater_V is 24; the net takes" in error
        assert "fan is 1; the net takes only 0" in refused(["ask", out, "--values", "1", "12", "20", *target], capsys)
    said = said_by_chip(
        fan / "run", [typed(fan / "run", *x) for x in ((0, 12, 20), (0, 24, 20), (1, 12, 20), (0, -12, 20))]
    )
    assert re.fullmatch(r"\d+", said[0])
    assert said[1] == said[3] and re.fullmatch(r"\? heater_V: \d+\.\.\d+", said[1])
    assert said[2] == "? fan: 0..0"


def weather_rows(rows: int = 240) -> list[list[float]]:
    rng = np.random.default_rng(3)
    columns = rng.uniform(-5, 30, rows), rng.uniform(20, 95, rows), rng.uniform(980, 1040, rows)
    growth = 2 + 0.3 * columns[0] - 0.05 * columns[1] + 0.02 * (columns[2] - 1010) + 3
    return np.round(np.column_stack([*columns, growth]), 2).tolist()


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Semicolons, decimal commas, units in the titles, a line for Excel in front."""
    folder = tmp_path_factory.mktemp("weather")
    lines = ["sep=;", "Temp, °C;Feuchte, %;Druck, hPa;Wuchs, mm"]
    lines += [";".join(str(x).replace(".", ",") for x in row) for row in weather_rows()]
    (folder / "weather.csv").write_text("\r\n".join(lines))
    assert run_table(folder / "weather.csv", folder / "run", "--train.epochs", "40") == 0
    return folder


def test_a_spreadsheet_with_decimal_commas_and_units_is_read(weather: Path) -> None:
    (notice,) = results_of(weather / "run")["notices"]
    assert (
        notice
        == "weather.csv: 240 of 240 rows and 4 of 4 columns are used, separated by semicolons, with decimal commas."
    )
    assert results_of(weather / "run")["data"]["unit"] == "mm" and by_name(weather / "run")[INTEGER]["test_r2"] > 0.9


def test_every_input_is_refused_by_its_own_range(weather: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A humidity of 600 is one a pressure may well have, and a pressure of 0 a temperature."""
    out = str(weather / "run")
    assert main(["ask", out, "--values", "10", "60", "1010"]) == 0
    assert capsys.readouterr().out.startswith("Wuchs: ")
    ranges = {}
    for values, name in (
        ("10 600 1010", "Feuchte"),
        ("10 60 0", "Druck"),
        ("1010 60 1010", "Temp"),
        ("-40 60 1010", "Temp"),
    ):
        error = refused(["ask", out, "--values", *values.split()], capsys)
        found = re.search(rf"{name} is \S+; the net takes (\S+) to (\S+) (°C|%|hPa): ", error)
        assert found, error
        ranges[name] = float(found[1]), float(found[2]), found[3]
    assert ranges["Feuchte"][0] < 20.5 and 94.5 < ranges["Feuchte"][1] < 120 and ranges["Feuchte"][2] == "%"
    assert 900 < ranges["Druck"][0] < 981 and 1039 < ranges["Druck"][1] < 1100 and ranges["Druck"][2] == "hPa"
    assert -20 < ranges["Temp"][0] < -4.5 and 29.5 < ranges["Temp"][1] < 45 and ranges["Temp"][2] == "°C"


@pytest.mark.parametrize("target", [t for t in TARGETS.values() if t.name == CHIP or t.flash_bytes is None], ids=lambda t: t.name)  # fmt: skip
def test_the_firmware_itself_refuses_an_input_by_its_own_range(weather: Path, target, need) -> None:
    need(target)
    net = Run(weather / "run").net(INTEGER)
    value = net.graph.inputs["readings"]
    lines = []
    for k, (low, high) in enumerate(zip(value.lows.tolist(), value.highs.tolist(), strict=True)):
        for outside in (low - 1, high + 1):
            middle = ((value.lows + value.highs) // 2).tolist()
            lines.append(" ".join(str(outside if i == k else m) for i, m in enumerate(middle)))
    said = said_by_chip(weather / "run", lines, target.name)
    names = ("Temp", "Feuchte", "Druck")
    want = [f"? {n}: {lo}..{hi}" for n, lo, hi in zip(names, value.lows, value.highs, strict=True) for _ in range(2)]
    assert said == want


def test_index_time_comment_and_stand_ins_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pandas file of a logger: its index is left out, its time has to be, and -9999 is pointed at with its count."""
    rows = [[n, f"2023-11-{n // 24 + 1:02} {n % 24:02}:00", *row] for n, row in enumerate(weather_rows())]
    for n in (3, 30, 77, 150):
        rows[n][3] = -9999
    path = write_table(tmp_path / "log.csv", "# logger of the cellar\n,time,temperature,humidity,pressure,growth", rows)
    error = refused(["run", "regression", "--data", str(path), "--out", str(tmp_path / "run"), *BRIEF], capsys)
    assert (
        "column 2 'time': looks like a time ('2023-11-01 00:00' in line 3)" in error
        and "leave it out: --drop time" in error
    )
    assert not (tmp_path / "run").exists()
    assert run_table(path, tmp_path / "run", "--drop", "time", "--train.epochs", "3") in (0, 3)
    everywhere(
        tmp_path / "run", capsys.readouterr().out, "Column 1, '', is an index, as pandas writes it: it is left out.",
        "Left out by --drop: time.", "Comments, lines that begin with #, are left out: 1, first line 1.",
        "humidity is -9999 in 4 of 240 rows, far from its other values, 2",
    )  # fmt: skip


CENTRES = ((0, 0, 1), (2, -1, 1), (-2, 1, 2))


def gesture_rows(names: Sequence[Any]) -> list[list[Any]]:
    rng = np.random.default_rng(5)
    label = rng.integers(0, 3, 240)
    return [
        [*np.round(x, 2), names[k]]
        for x, k in zip(np.array(CENTRES)[label] + rng.normal(0, 0.4, (240, 3)), label, strict=True)
    ]


CLASSES = {
    "words": (["at rest", "wave", "shake ✓"], [], "is learnt as 3 classes: at rest ("),
    "numbers": ([0, 1, 2], ["--classes"], "is learnt as 3 classes: 0 ("),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_names_of_classes_come_out_on_the_chip(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names, flags, notice = CLASSES[kind]
    path, out = write_table(tmp_path / "moves.csv", "ax,ay,az,move", gesture_rows(names)), tmp_path / "run"
    assert run_table(path, out, "--train.epochs", "25", *flags) == 0
    everywhere(out, capsys.readouterr().out, f"move, the target, {notice}")
    assert by_name(out)[INTEGER]["test_accuracy"] > 90
    assert said_by_chip(out, [typed(out, *row) for row in CENTRES]) == [str(name) for name in names]
    for target in ([], ["--target", CHIP]):
        assert main(["ask", str(out), "--values", "2", "-1", "1", *target]) == 0
        assert capsys.readouterr().out.split("  [")[0].strip() == str(names[1])


def test_whole_numbers_that_may_be_classes_are_pointed_at(tmp_path: Path) -> None:
    path = write_table(tmp_path / "moves.csv", "ax,ay,az,move", gesture_rows([0, 1, 2]))
    assert (
        read_table(path).notices[-1]
        == "move, the target, is learnt as a number and holds just 0, 1, 2: if they stand for classes, add --classes."
    )


@pytest.mark.parametrize("scale", [1e-165, 1e-300, 3e-29])
def test_columns_of_a_tiny_scale_end_in_an_answer_or_an_error(
    scale: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(6)
    rows = [[repr(a * scale), b, a + b] for a, b in rng.uniform(1, 2, (60, 2)).tolist()]
    path, out = write_table(tmp_path / "tiny.csv", "charge,other,y", rows), tmp_path / "run"
    if scale < 1e-30:
        error = refused(["run", "regression", "--data", str(path), "--out", str(out), *BRIEF], capsys)
        assert "column 1 'charge': its values differ by" in error and "larger scale" in error
        return
    assert run_table(path, out, "--train.epochs", "60") == 0
    assert by_name(out)[INTEGER]["test_r2"] > 0.8
    capsys.readouterr()
    assert main(["ask", str(out), "--values", repr(1.5 * scale), "1.5", "--target", CHIP]) == 0
    assert 2.5 < float(capsys.readouterr().out.split()[1]) < 3.5


ROOMS = ("kitchen", "cellar", "attic", "garage", "stable", "chapel", "pantry", "office")
PAIRS = [f"{verb} the {room}|{verb.upper()} {room[:4].upper()}" for room in ROOMS for verb in ("open", "close")]
CHAT = [
    "--hidden", "24", "--splits", "1", "--jobs", "1", "--vectors", "30", "--prompts", "4", "--train.epochs", "60",
    "--train.noisy-queries", "1", "--variants", "baseline-int8", "--accept-loss",
]  # fmt: skip


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of 33 lines: 24 pairs, two of them in other scripts, three with what some take for ends of lines, and 7 lines of no use."""
    folder = tmp_path_factory.mktemp("chat")
    odd = ["close it all|SHUT\u2028NOW", "close the door|SHUT\x85UP", "close the lid|SHUT\x0bLID"]
    folded = ["Закрой ДВЕРЬ|ДВЕРЬ", "ÖFFNE das Tor|TOR"]
    useless = ["open the barn\tOPEN BARN"] * 4 + ["close the barn;SHUT"] * 2 + ["x|TOO SHORT"]
    lines = ["# my farm", *PAIRS, *odd, *folded, "", *useless, "long|" + "A" * 60, *PAIRS[:2]]
    (folder / "pairs.txt").write_bytes("\n".join(lines).encode())
    with redirect_stdout(io.StringIO()) as shown:
        assert (
            main(
                [
                    "run",
                    "tinychat",
                    "--data",
                    str(folder / "pairs.txt"),
                    "--out",
                    str(folder / "run"),
                    *CHAT,
                    "--target",
                    CHIP,
                ]
            )
            == 0
        )
    return folder / "run", shown.getvalue()


def test_every_line_of_a_pairs_file_is_accounted_for(chat: tuple[Path, str]) -> None:
    everywhere(
        *chat, "24 of 33 lines used; 7 ignored (6 no |, 1 query under 2 characters), the first: line 24",
        "most hold one tab: write", "1 comment; 1 blank", "cut: 1 reply longer than 50 bytes, the first: line 31",
    )  # fmt: skip


def test_lines_end_where_people_end_them(chat: tuple[Path, str]) -> None:
    replies = {
        b: r
        for b, r in zip(
            read_pairs(chat[0] / "pairs.txt").queries, read_pairs(chat[0] / "pairs.txt").responses, strict=True
        )
    }
    assert replies[b"close it all"] == "SHUT\u2028NOW".encode() and replies[b"close the door"] == "SHUT\x85UP".encode()
    assert replies[b"close the lid"] == b"SHUT\x0bLID"


def test_capitals_are_the_same_query_on_the_chip(chat: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the query's case and script, the answer is one."""
    answers = []
    for target in ([], ["--target", CHIP]):
        for queries in (
            ("закрой дверь", "ЗАКРОЙ ДВЕРЬ", "Закрой Дверь"),
            ("öffne das tor", "ÖFFNE DAS TOR"),
            ("open the attic", "OPEN THE Attic"),
        ):
            said = set()
            for query in queries:
                assert main(["chat", str(chat[0]), "--variant", "baseline-int8", "--say", query, *target]) == 0
                said.add(capsys.readouterr().out.splitlines()[0])
            assert len(said) == 1, said
            answers += said
    assert answers[:3] == answers[3:] and len(set(answers)) > 1
