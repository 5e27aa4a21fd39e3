"""The command line: every mistake is one line and status 2, nothing is lost; a run continues; help answers at once."""

import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from levsha.cli import main
from levsha.run import Run
from levsha.targets import TARGETS

GOOD = "".join(
    f"{word} number {i}|{word[:3]}{i % 5}!\n" for i in range(30) for word in ("alpha", "beta", "gamma", "delta")
)
BRIEF = [
    "--hidden",
    "24",
    "16",
    "--jobs",
    "2",
    "--vectors",
    "60",
    "--prompts",
    "6",
    "--train.epochs",
    "3",
    "--train.noisy-queries",
    "2",
    "--prune.epochs",
    "2",
    "--quantise.two-bit.epochs",
    "3",
    "--quantise.binary.epochs",
    "3",
]
VARIANTS = ["baseline", "pruned", "pruned-two_bit", "pruned-binary"]
LEVSHA = [sys.executable, "-m", "levsha.cli"]


def run_words(data: Path, out: Path, *more: str) -> list[str]:
    return ["run", "tinychat", "--data", str(data), "--out", str(out), *BRIEF, "--variants", *VARIANTS, *more]


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run, and require status 2 with exactly one line of error."""
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("levsha: ") and error.count("\n") == 1, error
    return error


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "good.txt"
    path.write_text(GOOD)
    return path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.txt", None, "No such file"),
        ("empty.txt", b"", "is empty"),
        ("nobar.txt", b"hello\nworld\n", "no line of the form query|response"),
        ("junk.bin", bytes(range(256)), "is binary"),
        ("latin.txt", b"caf\xe9|YES\n" * 30, "is not UTF-8"),
        ("cut.gz", gzip.compress(GOOD.encode())[:-20], "truncated .gz"),
    ],
)
def test_bad_data(
    name: str, content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / name, tmp_path / "out"
    if content is not None:
        path.write_bytes(content)
    error = refused(run_words(path, out), capsys)
    assert name in error and said in error
    assert not out.exists()


def test_data_is_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is a directory" in refused(run_words(tmp_path, tmp_path / "out"), capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sed", "3"], "Unrecognized options: --sed, 3. Perhaps you meant --seed."),
        (["--seed", "three"], "--seed"),
        (["--seed", "-1"], "--seed: is -1; allowed are 0 to"),
        (
            ["--variants", "pruned-int5"],
            "variant 'pruned-int5': unknown; write baseline or pruned, and with a dash one of",
        ),
        (["--target", "uno2"], "target 'uno2': unknown; there are host, uno"),
        (["--preset", "slow"], "quick"),
        (["--prune.keep", "0"], "--prune.keep: is 0.0; allowed is more than 0"),
        (["--train.batch", "0"], "--train.batch: is 0; allowed are 2 to"),
        (["--quantise.binary.rate", "-1"], "--quantise.binary.rate: is -1.0"),
        (
            ["--quantise.binary.distil", "0", "--quantise.binary.recombined", "0.2"],
            "only a teacher can label such queries",
        ),
        (["--train.distil", "0.5"], "--train.teachers is 1, give 2 or more"),
        (["--train.teachers", "0"], "--train.teachers: is 0"),
        (["--train.clean", "2"], "--train.clean: is 2.0"),
        (["--quantise.percentile", "0"], "--quantise.percentile: is 0.0"),
        (["--variants", "pruned", "pruned"], "one is named twice"),
        (["--hidden", "1"], "--hidden: is 1; give one or more layers"),
        (["--vectors", "0"], "--vectors: is 0"),
        (["--baseline", "none.npz"], "none.npz: cannot be read"),
    ],
)
def test_bad_flags(words: list[str], said: str, data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert said in refused(["run", "tinychat", "--data", str(data), "--out", str(tmp_path / "o"), *words], capsys)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["fly"],
            "command 'fly': unknown; there are run, convert, train, chat, ask, see, predict, check, explain, export, targets, formats",
        ),
        (["run", "chess"], "recipe 'chess': unknown; there are tinychat, images, convert, regression"),
        (["targets", "x"], "takes no arguments"),
        (["check"], "The folder of a run. (required)"),
        (["check", "nowhere"], "nowhere: is no finished run"),
        (["chat", "nowhere", "--say", "hi"], "nowhere: is no finished run"),
        (["export", "nowhere", "--to", "elf"], "--to: there is no 'elf'"),
        (["check", "nowhere", "--seed", "-1"], "--seed: is -1"),
    ],
)
def test_bad_commands(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(words, capsys)


def z80ai_arrays(**changes: object) -> dict:
    rng = np.random.default_rng(0)
    shape = json.dumps({"input_size": 256, "hidden_sizes": [8], "num_classes": 4}).encode()
    arrays: dict = {"_architecture": np.array(shape), "_charset": np.array(b" AB\0")}
    for k, (o, i) in enumerate(((8, 256), (4, 8)), 1):
        arrays |= {f"fc{k}_weight": rng.integers(-2, 2, (o, i)).astype(np.int8), f"fc{k}_bias": np.zeros(o, np.int16)}
    return {key: value for key, value in (arrays | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fc2_bias": None}, "'fc2_bias' is missing"),
        ({"_charset": None}, "'_charset' is missing"),
        ({"_architecture": np.array(b"{")}, "is no model of z80ai"),
        ({"fc1_weight": np.zeros((3, 3), np.int8)}, "fc1_weight is int8 (3, 3)"),
        ({"fc1_weight": np.full((8, 256), 5, np.int8)}, "z80ai's codes are -2..1"),
        ({"fc1_weight": np.zeros((8, 256), np.float32)}, "of integers are needed"),
        ({"_charset": np.array(b" A\0")}, "as many characters as classes"),
        ({"_architecture": np.array(b'{"input_size": 256, "hidden_sizes": [0], "num_classes": 4}')}, "at least 1"),
        ({"fc1_weight": np.array([{}], dtype=object)}, "pickled content is never loaded"),
    ],
)
def test_bad_baseline(changes: dict, said: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "model.npz", **z80ai_arrays(**changes))
    assert said in refused(run_words(data, tmp_path / "out", "--baseline", str(tmp_path / "model.npz")), capsys)


def test_junk_as_baseline(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.npz").write_bytes(b"junk" * 50)
    assert "is no sound .npz" in refused(run_words(data, tmp_path, "--baseline", str(tmp_path / "model.npz")), capsys)


def test_an_output_folder_that_cannot_be_made(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot be written" in refused(run_words(data, data / "inside-a-file"), capsys)


def test_help_loads_nothing_heavy() -> None:
    """make bench-start prints how quick it is."""
    heavy = {"torch", "numpy", "tyro", "matplotlib", "rich"}
    code = f"import sys; from levsha.cli import main; main(['--help']); sys.exit(bool({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "check RUN" in done.stdout


def test_help_of_a_recipe_explains_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "tinychat", "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    for flag in ("--train.epochs", "--prune.keep", "--data", "--out", "--seed", "--preset", "--variants", "--baseline"):
        assert flag in text


def test_targets_and_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets"]) == 0 and main(["formats"]) == 0
    text = capsys.readouterr().out
    assert "ATmega328P" in text and "5 weights a byte" in text


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run on a small file."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "good.txt").write_text(GOOD)
    done = subprocess.run(
        [*LEVSHA, *run_words(folder / "good.txt", folder / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_results_have_the_promised_shape(finished: Path) -> None:
    results = json.loads((finished / "out" / "results.json").read_text())
    assert {"recipe", "data", "seeds", "variants"} <= set(results)
    assert [v["name"] for v in results["variants"]] == VARIANTS
    keys = {
        "name", "format", "keep", "parameters", "weight_bytes", "accuracy_samples", "accuracy_queries", "perplexity", "exact_seen",
        "exact_unseen", "flash_bytes", "sram_bytes", "ms", "fits", "vectors", "mismatches",
    }  # fmt: skip
    for variant in results["variants"]:
        assert keys <= set(variant)
        if variant["format"] != "float32" and not TARGETS["uno"].missing():
            assert (variant["fits"], variant["mismatches"], variant["vectors"]) == (True, 0, 60)
            ms = variant["ms"]
            assert 0 < ms["min"] <= ms["mean"] <= ms["max"]
    for name in ("loss.png", "loss.svg", "accuracy-flash.png", "accuracy-flash.svg", "report.md"):
        assert (finished / "out" / name).stat().st_size > 100


def test_repeating_the_command_makes_nothing_again(finished: Path) -> None:
    out = finished / "out"
    before = {
        p: p.stat().st_mtime_ns
        for d in ("splits", "firmware", "measurements")
        for p in (out / d).rglob("*")
        if p.is_file()
    }
    results = (out / "results.json").read_bytes()
    assert main(run_words(finished / "good.txt", out)) == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert (out / "results.json").read_bytes() == results


def test_check_chat_and_export(finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(finished / "out")
    for target in TARGETS.values():
        if target.missing():
            continue
        assert main(["check", out, "--target", target.name, "--vectors", "40"]) == 0
        assert capsys.readouterr().out.count("0 mismatches in 40 vectors") == 2
        certificate = json.loads((finished / "out" / "certificates" / f"pruned-binary-{target.name}.json").read_text())
        assert certificate["mismatches"] == 0 and certificate["vectors"] == 40 and len(certificate["net_sha256"]) == 64
    assert main(["chat", out, "--say", "alpha number 3"]) == 0
    said = capsys.readouterr().out
    if not TARGETS["uno"].missing():
        assert main(["chat", out, "--say", "alpha number 3", "--target", "uno"]) == 0
        simulated = capsys.readouterr().out
        assert simulated.splitlines()[0] == said.splitlines()[0] and "ms in all" in simulated
    for kind in ("json", "bin", "pt", "npz", "safetensors"):
        assert main(["export", out, "--to", kind, "--file", str(tmp_path / f"net.{kind}")]) == 0
        assert (tmp_path / f"net.{kind}").stat().st_size > 200
    assert "give --folder and --prefix" in refused(["export", out, "--to", "c", "--file", "x.h"], capsys)
    assert "--prefix: is 'a-b'" in refused(["export", out, "--to", "c", "--prefix", "a-b"], capsys)
    assert "there is no 'elf'; there are c, arduino" in refused(["export", out, "--to", "elf"], capsys)
    capsys.readouterr()
    assert "has no integer variant 'pruned'" in refused(["chat", out, "--variant", "pruned", "--say", "x"], capsys)
    assert "target 'z80': unknown" in refused(["chat", out, "--target", "z80", "--say", "x"], capsys)


def test_preset_full_means_full_however_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("levsha.recipes.pipeline.run_recipe", lambda recipe, settings, *_: seen.append(settings) or 0)
    for words in (
        ["--preset", "full"],
        ["--preset=full"],
        ["--preset", "quick", "--preset=full"],
        ["--preset=quick"],
        [],
    ):
        assert main(["run", "tinychat", *words]) == 0
    assert [(s.preset, s.splits, s.train.teachers) for s in seen] == [("full", 3, 6)] * 3 + [("quick", 1, 1)] * 2


def test_queries_need_no_noise(data: Path, tmp_path: Path) -> None:
    words = run_words(data, tmp_path / "out", "--train.noisy-queries", "0", "--target", "host")
    assert main(words) == 0


def test_long_russian_lines_can_be_checked(tmp_path: Path, need, capsys: pytest.CaptureFixture[str]) -> None:
    """Cut at 60 bytes, which is in the middle of a letter: the run must be able to read what it kept."""
    need(TARGETS["host"])
    lines = [f"{i} я{'длинныйвопрос' * 4}|ответ {i % 3}" for i in range(40)]
    (tmp_path / "ru.txt").write_text("\n".join(lines))
    assert main(run_words(tmp_path / "ru.txt", tmp_path / "out", "--target", "host")) == 0
    assert main(["check", str(tmp_path / "out"), "--target", "host", "--vectors", "20"]) == 0
    assert "0 mismatches in 20 vectors" in capsys.readouterr().out


def test_a_run_of_float_nets_has_nothing_to_check(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = run_words(data, tmp_path / "out")
    assert main([*words[: words.index("--variants")], "--variants", "baseline"]) == 0
    capsys.readouterr()
    assert "nothing was checked" in refused(["check", str(tmp_path / "out")], capsys)
    assert "has no integer net" in refused(["chat", str(tmp_path / "out"), "--say", "x"], capsys)


def test_a_second_run_takes_nothing_from_the_first(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_flight, foreign = finished / "out" / "splits" / ".a.safetensors.1.tmp", finished / "out" / ".mine.tmp"
    with Run(finished / "out").writing():
        in_flight.touch()
        foreign.touch()
        refused(run_words(finished / "good.txt", finished / "out"), capsys)
        assert in_flight.exists()
    with Run(finished / "out").writing():
        assert not in_flight.exists() and foreign.exists()
    foreign.unlink()


def test_bad_input_leaves_an_earlier_run_intact(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.read_bytes() for p in (finished / "out").rglob("*") if p.is_file()}
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe|x\n")
    refused(run_words(tmp_path / "bad.txt", finished / "out"), capsys)
    assert {p: p.read_bytes() for p in before} == before


def test_a_damaged_net_is_named(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(finished / "out", tmp_path / "out")
    path = Run(tmp_path / "out").folder / "nets" / "pruned-binary.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    assert "pruned-binary.safetensors: is no sound" in refused(
        ["chat", str(tmp_path / "out"), "--variant", "pruned-binary", "--say", "x"], capsys
    )


def test_damaged_files_of_an_earlier_run_are_made_again(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "out", tmp_path / "out")
    results = (tmp_path / "out" / "results.json").read_text()
    for path in (
        "splits/samples-0/pruned.safetensors",
        "splits/queries-0/pruned-binary.net.safetensors",
        "splits/samples-0/references.json",
        "measurements/pruned-binary.json",
    ):
        (tmp_path / "out" / path).write_bytes(b"damaged")
    assert main(run_words(finished / "good.txt", tmp_path / "out")) == 0
    assert (tmp_path / "out" / "results.json").read_text() == results


def test_a_full_disk_is_one_line_and_what_was_there_stays(finished: Path, tmp_path: Path) -> None:
    """No file may grow beyond 4 KB: the first larger one fails as it does on a full disk."""
    shutil.copytree(finished / "out", tmp_path / "out")
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name != ".lock"}

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    words = [*LEVSHA, *run_words(finished / "good.txt", tmp_path / "out", "--train.epochs", "4")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "cannot be written" in done.stderr
    assert {p: p.read_bytes() for p in before} == before
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_ctrl_c_keeps_what_is_finished_and_the_next_start_continues(data: Path, tmp_path: Path) -> None:
    words = [*LEVSHA, *run_words(data, tmp_path / "out", "--quantise.binary.epochs", "4000")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wanted = [tmp_path / "out" / "splits" / f"{by}-0" / "pruned-two_bit.safetensors" for by in ("samples", "queries")]
    deadline = time.time() + 120
    while not all(p.exists() for p in wanted):
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "repeat the command to continue" in error and "Traceback" not in error
    stamps = {p: p.stat().st_mtime_ns for p in wanted}
    assert main(run_words(data, tmp_path / "out")) == 0
    assert {p: p.stat().st_mtime_ns for p in wanted} == stamps


def test_a_killed_run_ends_with_the_same_bytes(finished: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for seconds in (4.0, 6.0):
        process = subprocess.Popen([*LEVSHA, *run_words(data, out)], stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert main(run_words(data, out)) == 0
    for folder in ("splits", "nets"):
        for path in (finished / "out" / folder).rglob("*.safetensors"):
            assert (out / path.relative_to(finished / "out")).read_bytes() == path.read_bytes(), path
    assert not list(out.rglob("*.checkpoint.safetensors")) and not list(out.rglob("*.tmp"))


def test_two_runs_in_one_folder_are_kept_apart(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Run(finished / "out").writing():
        assert "another levsha run is at work" in refused(run_words(finished / "good.txt", finished / "out"), capsys)


def test_without_a_toolchain_it_trains_and_says_what_was_not_measured(data: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PATH": str(tmp_path)}
    words = [*LEVSHA, *run_words(data, tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "not measured: avr-gcc" in done.stdout and "apt-get install gcc-avr" in done.stdout
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert all(v["flash_bytes"] is None and v["mismatches"] is None for v in results["variants"])
    assert main(["chat", str(tmp_path / "out"), "--say", "beta number 2"]) == 0


def test_a_firmware_of_another_net_never_answers(
    finished: Path, tmp_path: Path, need, capsys: pytest.CaptureFixture[str]
) -> None:
    need(TARGETS["uno"])
    out = tmp_path / "out"
    shutil.copytree(finished / "out", out)
    firmware = out / "firmware"
    shutil.rmtree(firmware / "pruned-two_bit")
    shutil.copytree(firmware / "pruned-binary", firmware / "pruned-two_bit")
    for words in (["check", str(out), "--vectors", "9"], ["chat", str(out), "--target", "uno", "--say", "x"]):
        assert "is the firmware of another net than the one in this run" in refused(
            [*words, "--variant", "pruned-two_bit"], capsys
        )
    (firmware / "pruned-two_bit" / "firmware.json").unlink()
    assert "make it with levsha run tinychat" in refused(["check", str(out), "--variant", "pruned-two_bit"], capsys)


def test_an_older_firmware_is_removed_even_where_no_new_one_can_be_built(finished: Path, tmp_path: Path, need) -> None:
    """Other nets, and a target that builds none, or no toolchain: what the old nets left must not answer in the new ones' name."""
    need(TARGETS["uno"])
    for more, environment in (
        (["--target", "host"], os.environ), ([], os.environ | {"PATH": str(tmp_path)})
    ):  # fmt: skip
        out = tmp_path / f"out{len(more)}"
        shutil.copytree(finished / "out", out)
        assert (out / "firmware" / "pruned-binary" / "firmware.elf").exists()
        words = [*LEVSHA, *run_words(finished / "good.txt", out, "--quantise.binary.epochs", "4", *more)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        assert not (out / "firmware" / "pruned-binary").exists()
        assert not (out / "certificates" / "pruned-binary-uno.json").exists()


def test_a_mismatch_is_reported_with_status_1(
    finished: Path, tmp_path: Path, need, capsys: pytest.CaptureFixture[str]
) -> None:
    """An image of another net, forged with its manifest: every vector differs, and the certificate says so."""
    need(TARGETS["uno"])
    shutil.copytree(finished / "out", tmp_path / "out")
    firmware = tmp_path / "out" / "firmware"
    shutil.copy(firmware / "pruned-binary" / "firmware.elf", firmware / "pruned-two_bit" / "firmware.elf")
    manifest = firmware / "pruned-two_bit" / "firmware.json"
    forged = json.loads((firmware / "pruned-binary" / "firmware.json").read_text())["image_sha256"]
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"image_sha256": forged}))
    assert main(["check", str(tmp_path / "out"), "--variant", "pruned-two_bit", "--vectors", "30"]) == 1
    said = capsys.readouterr().out
    assert "mismatches in 30 vectors" in said and "the image is not of this net" in said
    certificate = json.loads((tmp_path / "out" / "certificates" / "pruned-two_bit-uno.json").read_text())
    assert certificate["mismatches"] > 0


def test_what_was_read_is_shown_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"open the {i} door|OPEN {i % 3}" for i in range(40)] + [
        "close it\tSHUT",
        "# a house",
        "no bar <b>here</b>",
    ]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    words = run_words(tmp_path / "pairs.txt", tmp_path / "out", "--target", "host")
    assert main([*words[: words.index("--variants")], "--target", "host", "--variants", "baseline"]) == 0
    shown = capsys.readouterr().out
    report = (tmp_path / "out" / "report.md").read_text()
    assert "40 of 43 lines used; 2 ignored" in shown and "40 of 43 lines used; 2 ignored" in report
    assert json.loads((tmp_path / "out" / "results.json").read_text())["data"]["reading"]["ignored"] == 2


def test_results_of_an_older_version_are_refused_with_the_command_that_makes_them_anew(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished / "out", out)
    results = json.loads((out / "results.json").read_text())
    del results["format"]
    (out / "results.json").write_text(json.dumps(results))
    for words in (["chat", str(out), "--say", "x"], ["check", str(out)], ["export", str(out)]):
        assert f"make it anew with levsha run tinychat --out {out}" in refused(words, capsys)
