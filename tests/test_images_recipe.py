"""The recipe images end to end: digits in, a float net and exact integers out, compared; and every mistake in one line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from levsha.cli import main
from levsha.recipes.images.learn import train_split
from levsha.recipes.images.recipe import RECIPE
from levsha.recipes.images.settings import preset
from levsha.targets import TARGETS

SPEED = ["--vectors", "20", "--target", "host"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("images") / "run"
    assert main(["run", "images", "--out", str(out), *SPEED, "--weights", "int8"]) == 0
    return out


def test_a_run_trains_quantises_and_compares(finished: Path) -> None:
    found = json.loads((finished / "results.json").read_text())
    assert (
        found["accuracy_fp32"] > 90 and found["accuracy_int8"] > found["accuracy_fp32"] - 1 and found["agreement"] > 98
    )
    float_file, packed = finished / "exports/float.pt", finished / "exports/float-int8/net.bin"
    assert found["size_fp32_kb"] == float_file.stat().st_size / 1024
    assert found["size_int8_kb"] == packed.stat().st_size / 1024
    assert found["compression_ratio"] == found["size_fp32_kb"] / found["size_int8_kb"]
    assert found["notes"] and not list(finished.rglob("*.tmp"))
    chip = found["variants"][1]
    assert chip["accuracy_interval"][0] < chip["accuracy"] < chip["accuracy_interval"][1]
    assert set(chip["us"]) == {"1", "64"} and chip["onnx_mismatches"] == 0
    if not TARGETS["host"].missing():
        assert (chip["mismatches"], chip["vectors"], chip["net_sha256"] != "") == (0, 20, True)
    for name in ("bits.png", "confusion.png", "decisions.png", "report.md"):
        assert (finished / name).stat().st_size > 300


def test_a_teacher_and_warped_images_train_the_net_and_its_rounding(tmp_path: Path) -> None:
    ways = {"warped": 2, "teacher": (12, 16), "batches": 100, "fine_tune": 2, "weights": ("binary",)}
    settings, said = replace(preset("quick"), out=tmp_path, **ways), list[str]()
    variants = RECIPE.variants(settings)
    found = train_split(settings, RECIPE.read(settings), variants, 0, lambda stage, text, stays: said.append(text))
    assert found["float"]["accuracy"] > 80 and found["float-binary"]["accuracy"] > found["float"]["accuracy"] - 10
    assert any(text.startswith("teacher of") for text in said) and any("fine-tuning  epoch 2" in text for text in said)
    assert not list(tmp_path.rglob("pool")), "it is large, and nothing needs it any more"


def test_repeating_the_command_makes_nothing_again(finished: Path) -> None:
    kept = [p for room in ("training", "measurements") for p in (finished / room).rglob("*") if p.is_file()]
    kept = [p for p in kept if not p.name.startswith("float")]
    before, nets = {p: p.stat().st_mtime_ns for p in kept}, {p: p.read_bytes() for p in finished.rglob("nets/*")}
    assert main(["run", "images", "--out", str(finished), *SPEED, "--weights", "int8"]) == 0
    assert {p: p.read_bytes() for p in finished.rglob("nets/*")} == nets
    assert {p: p.stat().st_mtime_ns for p in kept if p.parent.name == "measurements"} == {
        p: t for p, t in before.items() if p.parent.name == "measurements"
    }
