"""fit: what it keeps, what it writes, what it goes on from, and what it says where it cannot."""

import copy
import json
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import levsha.train.checkpoint
from levsha.data.rows import map_rows
from levsha.data.sampling import order
from levsha.errors import LevshaError, LevshaWarning
from levsha.train.batch import Arrays
from levsha.train.checkpoint import environment, read_checkpoint
from levsha.train.fit import Fitted, evaluate, fit, predict
from levsha.train.log import read_log, write_tensorboard
from levsha.train.settings import Training
from levsha.train.surroundings import Progress

torch.set_num_threads(1)  # as in a training
OFTEN = Training(epochs=3, batch=32, rate=1e-2, checkpoint_seconds=0.0)  # a checkpoint at every step


def data(rows: int = 128, seed: int = 0, noise: float = 0.1) -> Arrays:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=generator)
    y = torch.stack([x[:, 0] * x[:, 1], x[:, 2].sin()], 1) + noise * torch.randn(rows, 2, generator=generator)
    return Arrays(x, y)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 2))


def norm_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Linear(12, 2))


def equal(a: nn.Module | dict[str, Tensor], b: nn.Module | dict[str, Tensor]) -> bool:
    left, right = (m.state_dict() if isinstance(m, nn.Module) else m for m in (a, b))
    return left.keys() == right.keys() and all(torch.equal(t, right[name]) for name, t in left.items())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("step-*.safetensors"))


class StopError(Exception):
    """The user's Ctrl-C."""


def stop_after(epoch: int) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.line["epoch"] == epoch:
            raise StopError

    return report


# What is kept: the best epoch or the last, judged by any figure


def scripted(*values: float) -> dict[str, Callable[[Tensor, Tensor], float]]:
    """A metric that says these values, one an epoch."""
    left = iter(values)
    return {"figure": lambda output, target: next(left)}


VALUES = (5.0, 3.0, 4.0, 2.0, 6.0, 7.0, 8.0, 1.0, 0.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_early_stopping_stops_and_keeps_the_best(sign: int) -> None:
    """Epoch 4 is the best before 3 epochs without a better one; what would have come later is not seen."""
    training = replace(OFTEN, epochs=9, patience=3)
    script = scripted(*(sign * v for v in VALUES))
    fitted = fit(net(), data(), data(seed=1), training, metrics=script, watch="figure", higher=sign < 0)
    assert [line["figure"] for line in fitted.history] == [sign * v for v in VALUES[:7]]
    assert fitted.best_epoch == 4
    assert equal(fitted.model, fit(net(), data(), training=replace(OFTEN, epochs=4)).model)


def test_keep_last_keeps_the_last() -> None:
    for patience, epochs in ((3, 7), (0, 9)):
        training = replace(OFTEN, epochs=9, patience=patience, keep="last")
        fitted = fit(net(), data(), data(seed=1), training, metrics=scripted(*VALUES), watch="figure")
        assert fitted.best_epoch == len(fitted.history) == epochs
        assert equal(fitted.model, fit(net(), data(), training=replace(OFTEN, epochs=epochs)).model)


def test_an_equal_figure_is_no_better_one() -> None:
    training = replace(OFTEN, epochs=9, patience=2)
    fitted = fit(net(), data(), data(seed=1), training, metrics=scripted(1.0, 1.0, 1.0, 0.0), watch="figure")
    assert (fitted.best_epoch, len(fitted.history)) == (1, 3)


def test_overfitting_is_stopped_by_itself() -> None:
    """Eight noisy samples and a net that can learn them by heart."""
    training = Training(epochs=400, batch=0, rate=2e-2, patience=20)
    fitted = fit(net(), data(8, noise=1.0), held_out := data(500, seed=1), training)
    losses = [line["validation_loss"] for line in fitted.history]
    assert len(losses) < 400 and fitted.best_epoch == len(losses) - 20 == 1 + losses.index(min(losses))
    assert evaluate(fitted.model, held_out, "mse", {})["validation_loss"] == min(losses)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_model_returned_is_the_one_that_was_validated(average: float) -> None:
    fitted = fit(net(), data(), held_out := data(seed=1), replace(OFTEN, epochs=6, average=average))
    line = fitted.history[fitted.best_epoch - 1]
    assert line["validation_loss"] == min(e["validation_loss"] for e in fitted.history)
    assert evaluate(fitted.model, held_out, "mse", {})["validation_loss"] == line["validation_loss"]


def test_the_running_statistics_are_those_of_the_best_epoch_too() -> None:
    training = replace(OFTEN, epochs=9, patience=3)
    fitted = fit(norm_net(), data(), data(seed=1), training, metrics=scripted(*VALUES), watch="figure")
    assert equal(fitted.model, fit(norm_net(), data(), training=replace(OFTEN, epochs=4)).model)


def test_metrics_are_of_the_whole_validation_set() -> None:
    """More rows than are put through the net at a time; classes as targets."""
    held_out, seen = data(5000, seed=1), []
    classes = Arrays(held_out.x.take(torch.arange(5000)).clone(), torch.randint(2, (5000,)))

    def accuracy(output: Tensor, target: Tensor) -> float:
        seen.append((output.shape, target.shape, target.dtype))
        return float((output.argmax(1) == target).float().mean())

    training = Training(epochs=2, loss="cross_entropy")
    fitted = fit(net(), classes, classes, training, metrics={"accuracy": accuracy}, watch="accuracy", higher=True)
    assert seen == [((5000, 2), (5000,), torch.int64)] * 2
    index = torch.arange(5000)
    output, target = predict(fitted.model, classes.x.take(index).clone()), classes.y.take(index).clone()
    best = fitted.history[fitted.best_epoch - 1]
    assert best["accuracy"] == accuracy(output, target)
    assert best["validation_loss"] == nn.functional.cross_entropy(output, target).item()


def test_every_epoch_is_reported() -> None:
    seen: list[Progress] = []
    fitted = fit(net(), data(), data(seed=1), Training(epochs=3, batch=32), report=seen.append)
    assert [p.line for p in seen] == fitted.history and [p.line["epoch"] for p in seen] == [1, 2, 3]
    assert [p.line["step"] for p in seen] == [4, 8, 12]
    assert all(p.epochs == 3 and p.seconds > 0 and p.samples_a_second > 0 for p in seen)
    assert [p.seconds for p in seen] == sorted(p.seconds for p in seen) and fitted.seconds >= seen[-1].seconds


# What is written


def test_the_files_are_torchs_and_json(tmp_path: Path) -> None:
    for make, name in ((net, "chain"), (norm_net, "generic")):
        folder = tmp_path / name
        fitted = fit(make(), data(), data(seed=1), OFTEN, folder=folder)
        twin = make()
        twin.load_state_dict(load_file(folder / "model.safetensors"))
        x = torch.randn(9, 4)
        assert equal(twin, fitted.model) and torch.equal(predict(twin, x), predict(fitted.model, x))
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert lines == read_log(folder / "metrics.jsonl") == fitted.history
        assert [line.keys() for line in lines] == [{"epoch", "step", "loss", "validation_loss"}] * 3
        assert [path.name for path in checkpoints(folder)] == [f"step-{n:010d}.safetensors" for n in (11, 12)]
        saved, _ = read_checkpoint(checkpoints(folder)[-1])
        moments = saved.part("optimizer.")
        for at, (parameter, _) in enumerate(twin.named_parameters()):
            for moment in ("exp_avg", "exp_avg_sq"):
                torch_s = fitted.optimizer_state["state"][at][moment]
                assert torch.equal(moments[f"{parameter}.{moment}"], torch_s)


def test_the_best_weights_lie_in_a_file_of_their_own(tmp_path: Path) -> None:
    training = replace(OFTEN, epochs=9, patience=3)
    fitted = fit(net(), data(), data(seed=1), training, metrics=scripted(*VALUES), watch="figure", folder=tmp_path)
    twin = net()
    twin.load_state_dict(load_file(tmp_path / "checkpoints" / "best.safetensors"))
    assert equal(twin, fitted.model) and equal(twin, load_file(tmp_path / "model.safetensors"))
    saved, _ = read_checkpoint(checkpoints(tmp_path)[-1])
    assert saved.counters["best_epoch"] == 4 and not equal(saved.part("model."), twin)


def test_the_best_weights_of_any_model_load_into_it(tmp_path: Path) -> None:
    fit(norm_net(), data(), data(seed=1), OFTEN, folder=tmp_path)
    norm_net().load_state_dict(load_file(tmp_path / "checkpoints" / "best.safetensors"))


def test_a_training_gives_the_same_files_wherever_it_runs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        fit(net(), data(), data(seed=1), OFTEN, folder=str(tmp_path / name))
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_log_is_read_up_to_a_line_cut_short_and_an_altered_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(LevshaError, match=r"metrics\.jsonl: cannot be read .*; train first"):
        read_log(path)
    path.write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
    assert read_log(path) == [{"epoch": 1}, {"epoch": 2}]
    path.write_text('{"epoch": 1}\nepoch 2\n{"epoch": 3}\n')
    with pytest.raises(LevshaError, match=r"metrics\.jsonl: line 2 is no JSON; the file was altered"):
        read_log(path)


def test_tensorboard_reads_the_log(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    lines = fit(net(), data(), data(seed=1), OFTEN).history
    for _ in range(2):  # a second call replaces the events of the first
        write_tensorboard(lines, tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    for name in ("loss", "validation_loss"):
        assert [(e.step, e.value) for e in events.Scalars(name)] == [
            (line["step"], pytest.approx(line[name], rel=1e-6)) for line in lines
        ]


def test_a_missing_tensorboard_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(LevshaError, match=r"needs the package tensorboard: .*pip install tensorboard"):
        write_tensorboard([], tmp_path)


# What a second call goes on from


def fit_in(folder: Path, training: Training = OFTEN, **options: Any) -> Fitted:
    return fit(net(), data(), data(seed=1), training, folder=folder, **options)


def test_a_second_call_trains_nothing_more(tmp_path: Path) -> None:
    first = fit_in(tmp_path)
    before = files(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in checkpoints(tmp_path)}
    again = fit_in(tmp_path, report=lambda _: pytest.fail("trained again"))
    assert files(tmp_path) == before and {path: path.stat().st_mtime_ns for path in checkpoints(tmp_path)} == stamps
    assert equal(again.model, first.model) and again.history == first.history
    assert (again.best_epoch, again.seconds) == (first.best_epoch, first.seconds)


def test_other_settings_train_anew_where_they_may_replace(tmp_path: Path) -> None:
    """More epochs too where a schedule makes the first epochs of a longer training others."""
    changes: list[dict[str, Any]] = [
        {"training": replace(OFTEN, epochs=5, schedule="cosine")},
        {"training": replace(OFTEN, epochs=5, rate=2e-2)},
        {"training": replace(OFTEN, epochs=5), "key": "other data"},
    ]
    fit_in(tmp_path / "one", replace(OFTEN, schedule="cosine"))
    for options in changes:
        seen: list[Progress] = []
        anew = fit_in(tmp_path / "one", report=seen.append, replace=True, **options)
        fresh = fit(net(), data(), data(seed=1), options["training"])
        assert [p.line["epoch"] for p in seen] == [1, 2, 3, 4, 5] and equal(anew.model, fresh.model)
        assert read_log(tmp_path / "one" / "metrics.jsonl") == fresh.history


def test_a_stopped_training_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    for make in (net, norm_net):
        folder = tmp_path / make.__name__
        want = fit(make(), data(), data(seed=1), OFTEN, folder=folder / "whole")
        with pytest.raises(StopError):
            fit(make(), data(), data(seed=1), OFTEN, folder=folder / "stopped", report=stop_after(2))
        seen: list[Progress] = []
        got = fit(make(), data(), data(seed=1), OFTEN, folder=folder / "stopped", report=seen.append)
        assert [p.line["epoch"] for p in seen] == [3] and equal(got.model, want.model) and got.history == want.history
        for name in ("model.safetensors", "metrics.jsonl"):
            assert (folder / "stopped" / name).read_bytes() == (folder / "whole" / name).read_bytes()


def test_a_shorter_training_in_the_same_folder_keeps_its_checkpoints(tmp_path: Path) -> None:
    fit_in(tmp_path, replace(OFTEN, epochs=5))
    fit_in(tmp_path, OFTEN, replace=True)
    fit_in(tmp_path, OFTEN, report=lambda _: pytest.fail("trained again"))


def test_a_training_with_validation_does_not_go_on_from_one_without(tmp_path: Path) -> None:
    fit(net(), data(), training=OFTEN, folder=tmp_path)
    assert fit_in(tmp_path, replace=True).history[-1]["validation_loss"] > 0


def test_another_state_to_start_from_trains_anew(tmp_path: Path) -> None:
    state = fit_in(tmp_path).optimizer_state
    fresh = fit(net(), data(), data(seed=1), OFTEN, optimizer_state=state)
    assert equal(fit_in(tmp_path, optimizer_state=state, replace=True).model, fresh.model)


# Damage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    fit_in(tmp_path)
    before = files(tmp_path)
    older, newest = checkpoints(tmp_path)
    damage(newest)
    with pytest.warns(LevshaWarning) as caught:
        fit_in(tmp_path)
    (text,) = (str(w.message) for w in caught)
    assert text.startswith(f"{newest}: is ") and text.endswith(f"The one before it, {older.name}, is used.")
    for name in ("model.safetensors", "metrics.jsonl"):
        assert files(tmp_path)[name] == before[name]
    assert all(read_checkpoint(path) for path in checkpoints(tmp_path))
    for path in checkpoints(tmp_path):
        damage(path)
    with pytest.warns(LevshaWarning, match="There is none before it: the training starts from the beginning"):
        fit_in(tmp_path)
    assert files(tmp_path)["model.safetensors"] == before["model.safetensors"]


def test_no_flipped_byte_goes_unnoticed(tmp_path: Path) -> None:
    """Anywhere in the file: it is refused, or what is read is what was written."""
    fit_in(tmp_path)
    path = checkpoints(tmp_path)[-1]
    content, (sound, metadata) = path.read_bytes(), read_checkpoint(path)
    rng, refused = np.random.default_rng(0), 0
    for at in rng.integers(0, len(content), 200).tolist():
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :])
        try:
            saved, found = read_checkpoint(path)
        except LevshaError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")
        else:
            assert equal(saved.tensors, sound.tensors) and (saved.counters, found) == (sound.counters, metadata)
    assert refused > 190


def test_lines_missing_from_the_log_are_noticed(tmp_path: Path) -> None:
    fit_in(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.warns(LevshaWarning, match=r"metrics\.jsonl: lines are missing"):
        fit_in(tmp_path)


def test_another_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit_in(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_in(tmp_path)
    other = environment() | {"torch": "9.9", "instruction set": "AVX9000"}
    monkeypatch.setattr(levsha.train.checkpoint, "environment", lambda: other)
    with pytest.warns(LevshaWarning) as caught:
        fit_in(tmp_path)
    (text,) = (str(w.message) for w in caught)
    assert text.startswith(f"{checkpoints(tmp_path)[-1].name} was made with torch {torch.__version__} then, 9.9 now")
    assert "instruction set " in text and "AVX9000 now" in text and "threads" not in text
    assert "the training goes on, but its last bits may differ" in text


def test_another_number_of_threads_is_named(tmp_path: Path) -> None:
    fit_in(tmp_path)
    with pytest.warns(LevshaWarning, match="threads 1 then, 2 now"):
        fit_in(tmp_path, replace(OFTEN, threads=2))


FULL = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from levsha.errors import LevshaError
from tests.test_fit import OFTEN, data, fit, net
folder = Path(sys.argv[1])
for name, size, training in (("checkpoint", 2000, OFTEN), ("log", 150, replace(OFTEN, checkpoint_seconds=1e6))):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        fit(net(), data(), data(seed=1), training, folder=folder / name)
    except LevshaError as error:
        print(error)
"""


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """No file may grow beyond so many bytes: writes of a checkpoint and of a line of the log fail half way."""
    want = fit_in(tmp_path / "whole")
    folder = tmp_path / "checkpoint"
    with pytest.raises(StopError):
        fit_in(folder, report=stop_after(2))
    with pytest.raises(StopError):  # without a checkpoint, but what is trained there is written down
        fit_in(tmp_path / "log", replace(OFTEN, checkpoint_seconds=1e6), report=stop_after(1))
    before = files(folder)
    assert all(path.stat().st_size > 2000 for path in checkpoints(folder))
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    of_checkpoint, of_log = run.stdout.splitlines()
    assert of_checkpoint.startswith(
        f"{folder}/checkpoints/step-0000000009.safetensors: cannot be written (File too large)"
    )
    assert "what was there before is intact. Free some space" in of_checkpoint
    assert files(folder) == before and all(read_checkpoint(path) for path in checkpoints(folder))
    assert of_log.startswith(f"{tmp_path}/log/metrics.jsonl: cannot be written (File too large)")
    assert (tmp_path / "log" / "metrics.jsonl").stat().st_size <= 150
    for name, training in (("checkpoint", OFTEN), ("log", replace(OFTEN, checkpoint_seconds=1e6))):
        got = fit_in(tmp_path / name, training)
        assert equal(got.model, want.model)
        for file in ("model.safetensors", "metrics.jsonl"):
            assert files(tmp_path / name)[file] == files(tmp_path / "whole")[file]


# A loss that is no number


def mapped_with_a_hole(folder: Path, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples on the disk, which nobody has looked through; one is no number."""
    x = np.random.default_rng(0).standard_normal((64, 4)).astype("f4")
    x[row, 2] = np.nan
    np.save(folder / "x.npy", x)
    return map_rows(folder / "x.npy"), np.zeros((64, 2), "f4")


@pytest.mark.parametrize("make", [net, norm_net])
@pytest.mark.parametrize("seconds", [0.0, 1e6])
def test_a_loss_that_is_no_number_says_where_and_what_to_do(
    make: Callable[[], nn.Module], seconds: float, tmp_path: Path
) -> None:
    """Also where the losses are looked at long after that step."""
    training = Training(epochs=3, batch=8, seed=5, checkpoint_seconds=seconds)
    rows = order("without_replacement", 64, 5, 0)[24:32].tolist()  # those of batch 4
    samples = mapped_with_a_hole(tmp_path, rows[3])
    model = make()
    with pytest.raises(LevshaError) as error:
        fit(model, samples, training=training, folder=tmp_path)
    text = str(error.value)
    shown = ", ".join(map(str, rows))
    assert text.startswith(
        f"training: the loss is nan at step 4: epoch 1, batch 4 of 8 (rows {shown}). Try a lower rate than 0.001"
    )
    assert "clip the gradient's norm to 1, or warm up; look at that batch" in text and not model.training
    if seconds:
        assert text.endswith("No checkpoint was written yet.") and not checkpoints(tmp_path)
        return
    last = checkpoints(tmp_path)[-1]
    assert text.endswith(f"The last good checkpoint is {last}.") and last.name == "step-0000000003.safetensors"
    saved, _ = read_checkpoint(last)
    make().load_state_dict(saved.part("model.") | saved.part("state."))
    assert all(bool(torch.isfinite(t).all()) for t in saved.tensors.values())
    with pytest.raises(LevshaError, match="the loss is nan at step 4: epoch 1, batch 4"):
        fit(make(), samples, training=training, folder=tmp_path)


def test_a_rate_that_is_too_high_is_said_to_be(tmp_path: Path) -> None:
    training = Training(epochs=50, batch=32, optimizer="sgd", rate=1000.0)
    with pytest.raises(
        LevshaError, match=r"the loss is (inf|nan) at step \d+: epoch \d+, .*Try a lower rate than 1000, clip"
    ):
        fit(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), data(), training=training, folder=tmp_path)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_bce_that_diverges_says_at_which_step(wrapped: bool, tmp_path: Path) -> None:
    """Torch has an error of its own for probabilities that are no numbers; it names neither."""
    rows = order("without_replacement", 64, 5, 0)[24:32].tolist()
    x, y = mapped_with_a_hole(tmp_path, rows[0])
    model = nn.Sequential(*net(), nn.Sigmoid())
    model = nn.Sequential(model) if wrapped else model
    with pytest.raises(LevshaError, match="the loss is nan at step 4: epoch 1, batch 4"):
        fit(model, (x, y), training=Training(epochs=3, batch=8, seed=5, loss="bce"))


def test_a_figure_that_is_no_number_stops_the_training() -> None:
    with pytest.raises(LevshaError, match="is nan at step 8: epoch 2"):
        fit(net(), data(), data(seed=1), OFTEN, metrics=scripted(1.0, math.nan), watch="figure")


# What cannot train at all


def refused(text: str, model: nn.Module, *parts: Any, **options: Any) -> None:
    with pytest.raises(LevshaError, match=text):
        fit(model, *parts, **options)


def test_a_model_that_cannot_read_the_data_is_told_its_shape() -> None:
    text = r"training data: the model cannot read inputs of shape \(N, 4\): .+\."
    refused(text, nn.Sequential(nn.Linear(5, 2)), data())
    refused(text, nn.Sequential(nn.Conv2d(1, 2, 3)), data())
    refused(text, nn.Sequential(nn.Embedding(9, 2)), data())
    refused(text, net().double(), data())
    images = (torch.zeros(64, 1, 8, 8), torch.zeros(64, 2))
    refused(r"training data: .* shape \(N, 1, 8, 8\)", net(), images)
    refused(r"validation data: .* shape \(N, 3\)", net(), data(), (torch.zeros(9, 3), torch.zeros(9, 2)))


def test_targets_that_do_not_fit_are_refused_before_the_first_step() -> None:
    x = torch.zeros(64, 4)
    refused(r"output is \(64, 2\), the target \(64,\)", net(), (x, torch.zeros(64)))
    refused("both must have the same shape and be floating", net(), (x, torch.zeros(64, 2).long()))
    classes = torch.zeros(64).long()
    classes[50] = 2  # far behind the two samples that the model is shown
    refused(
        "class numbers are 0 to 2; 2 outputs allow 0 to 1", net(), (x, classes), training=Training(loss="cross_entropy")
    )
    refused("they must be probabilities", net(), (x + 5, torch.zeros(64, 2)), training=Training(loss="bce"))
    refused(r"validation_loss, accuracy", net(), data(), data(), metrics={"accuracy": max}, watch="acuracy")
    refused("there is no 'lion'", net(), data(), training=Training(optimizer="lion"))


class Mixed(nn.Module):
    """Part of it in double precision, as a module of somebody else's may be."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.scale = nn.Linear(4, 2), nn.Parameter(torch.ones(2, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) * self.scale.float()


def test_parameters_of_two_types_or_none_at_all_are_refused() -> None:
    refused(r"the parameters are torch\.float32 on cpu, torch\.float64 on cpu; they must share", Mixed(), data())
    refused(
        "the model has no parameters; there is nothing to train",
        nn.Sequential(nn.Tanh()),
        (torch.zeros(64, 2), torch.zeros(64, 2)),
    )
    refused("nothing to train", net().requires_grad_(False), data())
    fit(Mixed().float(), data(), training=Training(epochs=1))


def test_a_chain_reads_sequences_as_torch_does() -> None:
    """nn.Linear takes (N, T, I); so must a chain of them."""
    x = torch.randn(64, 5, 4)
    training = Training(epochs=2, batch=32)
    history = fit(net(), (x, x[..., :2].clone()), training=training).history
    assert history[-1]["loss"] < history[0]["loss"]


def test_the_users_random_numbers_are_neither_needed_nor_changed() -> None:
    """What was drawn before a training changes nothing in it, and what is drawn after it is what would have been."""
    model = nn.Sequential(*norm_net(), nn.Dropout(0.2))
    found = []
    for _ in range(2):
        torch.rand(7)
        found.append(fit(copy.deepcopy(model), data(), training=OFTEN).model)
    assert equal(*found)
    torch.manual_seed(3)
    want = torch.rand(9)
    torch.manual_seed(3)
    fit(copy.deepcopy(model), data(), training=OFTEN)
    assert torch.equal(torch.rand(9), want)
