"""A run that starts from z80ai's net: as it is, fine-tuned, pruned, quantised; what does not fit together is named."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from levsha.cli import main
from levsha.data.pairs import read_pairs

WORDS = ("alpha", "beta", "gamma", "delta")
ROWS = "".join(f"{word} number {i}|{word[:3]}{i % 5}\n" for i in range(30) for word in WORDS)
BRIEF = [
    "--splits", "1", "--jobs", "1", "--vectors", "30", "--prompts", "4", "--target", "host", "--train.noisy-queries", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, and a net of random codes for their characters, as z80ai keeps it."""
    folder, rng = tmp_path_factory.mktemp("given"), np.random.default_rng(3)
    (folder / "pairs.txt").write_text(ROWS)
    save(folder / "model.npz", read_pairs(folder / "pairs.txt").charset, [20, 16], rng)
    return folder


def save(path: Path, charset: bytes, hidden: list[int], rng: np.random.Generator) -> None:
    widths = [256, *hidden, len(charset)]
    shape = {"input_size": 256, "hidden_sizes": hidden, "num_classes": len(charset)}
    arrays: dict[str, Any] = {
        "_architecture": np.array(json.dumps(shape).encode()),
        "_charset": np.array(charset.rstrip(b"\0") + b"\0"),
    }
    for k, (i, o) in enumerate(pairwise(widths), 1):
        arrays[f"fc{k}_weight"] = rng.permuted(np.tile(np.arange(i, dtype=np.int8) % 4 - 2, (o, 1)), axis=1)
        arrays[f"fc{k}_bias"] = rng.integers(200, 300, o).astype(np.int16)
    np.savez(path, **arrays)


def words(given: Path, out: Path, *more: str) -> list[str]:
    files = ["--data", str(given / "pairs.txt"), "--baseline", str(given / "model.npz")]
    return ["run", "tinychat", *files, "--from-baseline", "--out", str(out), *BRIEF, *more]


def variants_of(out: Path) -> dict[str, dict[str, Any]]:
    return {v["name"]: v for v in json.loads((out / "results.json").read_text())["variants"]}


def replies_of(out: Path, variant: str) -> list[str]:
    return [reply["said"][variant] for reply in json.loads((out / "results.json").read_text())["replies"]]


def test_before_any_training_the_float_net_is_the_given_one(given: Path, tmp_path: Path) -> None:
    assert (
        main(words(given, tmp_path / "run", "--hidden", "20", "16", "--train.epochs", "0", "--variants", "baseline"))
        == 0
    )
    made = variants_of(tmp_path / "run")
    assert list(made) == ["z80ai-two_bit_z80", "baseline"]
    as_it_is, untrained = made.values()
    for key in ("accuracy_samples", "accuracy_queries"):
        assert abs(as_it_is[key] - untrained[key]) < 4, "rounding apart: two of 60"
    given_says, untrained_says = (replies_of(tmp_path / "run", name) for name in made)
    assert len(set(given_says)) > 6, "a net that says one thing tests little"
    assert sum(a[:4] == b[:4] for a, b in zip(given_says, untrained_says, strict=True)) > 0.8 * len(given_says)
    assert as_it_is["parameters"] == untrained["parameters"] and as_it_is["mismatches"] == 0


def test_it_is_fine_tuned_pruned_and_quantised(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    epochs = [f"--{stage}.epochs=30" for stage in ("train", "prune", "quantise.int4")]
    made_of = ["--variants", "baseline", "pruned", "pruned-int8", "pruned-int4"]
    assert (
        main(
            words(
                given,
                tmp_path / "run",
                "--hidden",
                "20",
                "16",
                *epochs,
                "--train.rate",
                "3e-2",
                *made_of,
                "--accept-loss",
            )
        )
        == 0
    )
    made = variants_of(tmp_path / "run")
    assert list(made) == ["z80ai-two_bit_z80", "baseline", "pruned", "pruned-int8", "pruned-int4"]
    assert made["baseline"]["accuracy_queries"] > made["z80ai-two_bit_z80"]["accuracy_queries"] + 5
    charset = read_pairs(given / "pairs.txt").charset
    neurons = [256, 10, 8, len(charset)]
    assert made["pruned"]["parameters"] == sum(o * (i + 1) for i, o in pairwise(neurons))
    assert made["pruned-int8"]["mismatches"] == made["pruned-int4"]["mismatches"] == 0
    assert "model.npz as it is, on all of this data: next character" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--hidden", "16", "20"], "has hidden layers of 20 16; give --hidden 20 16 with --from-baseline"),
        ([], "has hidden layers of 20 16; give --hidden 20 16 with --from-baseline"),
        (["--hidden", "20"], "has hidden layers of 20 16; give --hidden 20 16"),
        (["--baseline", "none.npz"], "none.npz: cannot be read"),
    ],
)
def test_what_does_not_fit_the_given_net_is_named(
    more: list[str], said: str, given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(given, tmp_path / "run", *more)) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


def test_a_net_for_other_characters_is_named(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "other.npz", b" XYZ\0", [20, 16], np.random.default_rng(0))
    assert main(words(given, tmp_path / "run", "--hidden", "20", "16", "--baseline", str(tmp_path / "other.npz"))) == 2
    error = capsys.readouterr().err
    assert "has 5 characters" in error and "Give the data it was trained on with --data" in error


def test_to_start_from_a_net_one_must_be_given(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["run", "tinychat", "--data", str(given / "pairs.txt"), "--from-baseline", "--out", str(tmp_path / "run")])
        == 2
    )
    assert "--from-baseline: needs the net to start from; give its file with --baseline" in capsys.readouterr().err
