"""A net that became much worse on its way to integers is never shipped in silence: it is red, named with layer and cause, and stops a script."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from levsha.cli import main
from levsha.evidence.table import collapses, rich_tables
from levsha.formats import FORMATS
from levsha.recipes import find_recipe
from levsha.recipes.base import Figure
from levsha.recipes.collect import collect
from levsha.recipes.variant import Variant

ROWS = "".join(
    f"{word} number {i}|{word[:3]}{i % 5}!\n" for i in range(30) for word in ("alpha", "beta", "gamma", "delta")
)
CHAT = [
    "--hidden", "24", "16", "--jobs", "1", "--splits", "1", "--vectors", "20", "--prompts", "4", "--train.epochs", "70",
    "--train.noisy-queries", "1", "--variants", "baseline-int8", "baseline-binary", "--quantise.binary.epochs", "1", "--target", "host",
]  # fmt: skip
TABLE = [
    "--hidden", "16", "--sensor-hidden", "16", "8", "--jobs", "1", "--splits", "1", "--vectors", "20", "--train.batch", "32",
    "--train.rate", "0.02", "--target", "host",
]  # fmt: skip


def told(words: list[str]) -> tuple[int, str]:
    """Status, and what the terminal shows, its lines joined."""
    with redirect_stdout(StringIO()) as shown:
        status = main(words)
    return status, re.sub(r"\s+", " ", shown.getvalue())


def results_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "results.json").read_text())


def is_said_everywhere(out: Path, shown: str, variant: str, cause: str) -> None:
    """In the terminal, in the report and in results.json, with layer and cause, and red in the table."""
    results = results_of(out)
    lost = {v["name"]: v["collapse"] for v in results["variants"] if v.get("collapse")}
    assert list(lost) == [variant]
    assert re.search(cause, lost[variant]), lost
    assert f"{variant}: {lost[variant]}" in shown
    assert f"- {variant}: {lost[variant]}" in (out / "report.md").read_text()
    assert results["recommended"] != variant
    (table,) = rich_tables(results, find_recipe(results["recipe"]).columns(results), 300)
    red = [v["name"] for v, row in zip(results["variants"], table.rows, strict=False) if row.style == "red"]
    assert red == [variant]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], int, str]]:
    """A chat whose 1-bit variant had one epoch to get used to its weights."""
    folder = tmp_path_factory.mktemp("chat")
    (folder / "pairs.txt").write_text(ROWS)
    words = ["run", "tinychat", "--data", str(folder / "pairs.txt"), "--out", str(folder / "run"), *CHAT]
    yield words, *told(words)


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], int, str]]:
    """A flow that is the small difference of two large pressures: 8 bits an input are too few for it."""
    folder, rng = tmp_path_factory.mktemp("flow"), np.random.default_rng(0)
    rows = [
        f"{a:.2f},{a + d:.2f},{2 * d + 7:.3f}\n"
        for a, d in zip(rng.uniform(900, 1100, 500), rng.uniform(-3, 3, 500), strict=True)
    ]
    (folder / "flow.csv").write_text("before_hPa,after_hPa,flow\n" + "".join(rows))
    words = ["run", "regression", "--data", str(folder / "flow.csv"), "--out", str(folder / "run"), *TABLE]
    yield words, *told(words)


RUNS = {
    "chat": ("baseline-binary", r"^\d\d\.\d % where its float source has \d\d\.\d % on held-out queries: more is lost than binary is expected to cost\. Lost in all layers: weights: trained again with binary weights the net reaches \d\d\.\d %, before"),
    "flow": ("sensor-int8", r"^R2 0\.\d\d\d where its float source has R2 0\.\d\d\d: more is lost than int8 is expected to cost\. Lost in x: step: one step is 0\.0\d+, "),
}  # fmt: skip


@pytest.mark.parametrize("kind", RUNS)
def test_a_collapse_is_named_and_ends_with_status_3(kind: str, request: pytest.FixtureRequest) -> None:
    words, status, shown = request.getfixturevalue(kind)
    out = Path(words[words.index("--out") + 1])
    assert status == 3
    is_said_everywhere(out, shown, *RUNS[kind])


@pytest.mark.parametrize("kind", RUNS)
def test_it_is_said_again_and_can_be_accepted(kind: str, request: pytest.FixtureRequest) -> None:
    """Whatever was trained is used again; the collapse is not forgotten with it."""
    words, _, _ = request.getfixturevalue(kind)
    out = Path(words[words.index("--out") + 1])
    status, shown = told([*words, "--accept-loss"])
    assert status == 0
    is_said_everywhere(out, shown, *RUNS[kind])
    status, shown = told(words)
    assert status == 3
    is_said_everywhere(out, shown, *RUNS[kind])


def test_the_margin_is_that_of_this_run_not_of_the_one_that_trained(
    chat: tuple[list[str], int, str], tmp_path: Path
) -> None:
    words, (old, new) = list(chat[0]), (Path(chat[0][chat[0].index("--out") + 1]), tmp_path / "run")
    words[words.index("--out") + 1] = str(new)
    shutil.copytree(
        old, new, ignore=shutil.ignore_patterns("splits")
    )  # trained anew, with a margin that takes anything
    status, shown = told([*words, "--loss-margin", "100"])
    assert status == 0 and "expected to cost" not in shown
    status, shown = told(words)
    assert status == 3
    is_said_everywhere(new, shown, *RUNS["chat"])


@pytest.mark.parametrize("kind", RUNS)
def test_whoever_uses_a_collapsed_net_is_told(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, _, _ = request.getfixturevalue(kind)
    out, name = words[words.index("--out") + 1], RUNS[kind][0]
    asked = (
        ["chat", out, "--variant", name, "--say", "alpha number 3"]
        if kind == "chat"
        else ["ask", out, "--values", "1000", "1002"]
    )
    exported = ["export", out, "--variant", name, "--to", "json", "--file", str(tmp_path / "net.json")]
    for command in (asked, exported):
        assert main(command) == 0
        assert re.search(f"^levsha: warning: {name}: .* more is lost than", capsys.readouterr().err)


class TwoSplits:
    """As much of a recipe as `collect` asks for: one float net, two formats, judged by accuracy on two splits."""

    name, split_kinds, shipped = "twice", ("split",), "split"

    def variants(self, _: Any) -> list[Variant]:
        return [
            Variant("net"),
            Variant("net", FORMATS["int8"]),
            Variant("net", FORMATS["binary"]),
            Variant("given", FORMATS["int8"]),
        ]

    def figures(self, _: Any) -> tuple[Figure, ...]:
        return (Figure("right", "split", "accuracy"), Figure("agreement", "split", "agreement"))

    def judged_by(self, _: Any) -> tuple[tuple[str, ...], str]:
        return ("right",), "accuracy"

    def about_data(self, *_: Any) -> dict[str, Any]:
        return {}

    def notices(self, _: Any) -> list[str]:
        return ["read"]

    def training_key(self, *_: Any) -> str:
        return "key"

    def more(self, *_: Any) -> dict[str, Any]:
        return {"extra": 1}

    def choose(self, found: dict[str, Any]) -> str | None:
        return next((v["name"] for v in found["variants"] if v["format"] != "float32" and not v.get("collapse")), None)

    def sentences(self, _: Any) -> list[str]:
        return ["One.", "", "Two."]


def collected(int8: tuple[float, float], binary: tuple[float, float], margin: float = 2.0) -> dict[str, Any]:
    settings = SimpleNamespace(seed=4, seeds=range(4, 6), preset="quick", target="host", margin=lambda kind: margin)
    trained = {
        f"split-{4 + k}": {
            "references": {"chance": {"accuracy": 10.0}},
            "net": {"accuracy": 90.0 + 2 * k, "parameters": 7},
            "net-int8": {"accuracy": int8[k], "agreement": 99.0, "finding": f"fc{k}: step: too coarse."},
            "net-binary": {"accuracy": binary[k]},
            "given-int8": {"accuracy": 1.0},
        }
        for k in range(2)
    }  # fmt: skip
    return collect(TwoSplits(), settings, None, trained, {})  # type: ignore[arg-type]


def test_figures_are_means_over_the_splits_with_each_beside_them() -> None:
    found = collected((90, 92), (80, 90))
    by_name = {v["name"]: v for v in found["variants"]}
    assert by_name["net"]["right"] == 91 and by_name["net"]["right_each"] == [90.0, 92.0]
    assert by_name["net-binary"]["right"] == 85 and "agreement" not in by_name["net"]
    assert found["references"] == {"chance": {"right": 10.0, "right_each": [10.0, 10.0]}}
    assert found["summary"] == "One. Two." and found["recommended"] == "net-int8" and found["extra"] == 1
    assert by_name["net"]["flash_bytes"] is None, "what no chip measured is there, and unknown"


@pytest.mark.parametrize(
    ("int8", "binary", "margin", "lost"),
    [
        ((90, 92), (80, 90), 2, []),
        ((88.5, 88.5), (64, 64), 2, []),  # just what is expected and the margin: 2.5 and 27 points
        ((88.4, 88.4), (64, 64), 2, ["net-int8"]),
        ((88.5, 88.5), (63.9, 63.9), 2, ["net-binary"]),
        ((90, 92), (66, 66), 0, []),
        ((90, 92), (65.9, 65.9), 0, ["net-binary"]),
        ((100, 76), (91, 91), 2, ["net-int8"]),  # the mean counts, not the first split
        ((80, 97), (91, 91), 2, []),
    ],
)
def test_what_is_much_worse_than_its_source_is_marked(
    int8: tuple[float, float], binary: tuple[float, float], margin: float, lost: list[str]
) -> None:
    found = collected(int8, binary, margin)
    assert [v["name"] for v in found["variants"] if v.get("collapse")] == lost, "a net given as integers has no source"
    assert found["recommended"] not in lost
    for text in collapses(found):
        if "int8" in text:
            assert (
                text
                == f"net-int8: {sum(int8) / 2:.1f} % where its float source has 91.0 %: more is lost than int8 is expected to cost. Lost in fc0: step: too coarse."
            )
        else:
            assert text.endswith("more is lost than binary is expected to cost. No single layer explains it.")
