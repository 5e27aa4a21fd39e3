"""A folder that holds a training: the same one goes on, a longer one too where it can, another one is refused by name or replaces it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from levsha.errors import LevshaError
from levsha.train.batch import Arrays, Stream
from levsha.train.fit import Fitted, fit
from levsha.train.log import read_log
from levsha.train.settings import SCHEDULES, Training, begins_like_a_longer_one, rate_factor
from levsha.train.surroundings import Progress

X = torch.randn(90, 3, generator=torch.Generator().manual_seed(8))
Y = X[:, :1].sin() + X[:, 1:2] * 0.5
SEEN, HELD_OUT = (X[:60], Y[:60]), (X[60:], Y[60:])
SHORT = Training(epochs=3, batch=12, rate=0.01, checkpoint_seconds=0.0)
RESULTS = ("model.safetensors", "metrics.jsonl", "checkpoints/best.safetensors")


def net(seed: int = 3) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Dropout(0.1), nn.Linear(6, 1))


def norm_net() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 1))


def train(folder: Path | None, training: Training = SHORT, model: nn.Module | None = None, **options: Any) -> tuple[Fitted, list[int]]:  # fmt: skip
    """Train; return also which epochs were really trained."""
    epochs: list[int] = []
    parts: dict[str, Any] = {"data": SEEN, "validation": HELD_OUT} | options
    fitted = fit(
        model or net(), training=training, folder=folder, report=lambda p: epochs.append(int(p.line["epoch"])), **parts
    )
    return fitted, epochs


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULTS if (folder / name).exists()}


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(folder: Path, *texts: str, **options: Any) -> str:
    """It is refused in these words, and what the folder holds is untouched."""
    before = everything(folder)
    with pytest.raises(LevshaError) as error:
        train(folder, **options)
    said = str(error.value)
    assert everything(folder) == before and said.startswith(f"{folder}: holds ") and "\n" not in said
    assert all(text in said for text in texts), said
    assert "Give another folder" in said and "fit(..., replace=True)" in said
    return said


class StopError(Exception):
    pass


def stop_after(epoch: int) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.line["epoch"] == epoch:
            raise StopError

    return report


# More epochs


@pytest.mark.parametrize("make", [net, norm_net])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"schedule": "step", "step_epochs": 2},
        {"average": 0.9, "keep": "last"},
        {"patience": 6, "sampling": "with_replacement", "optimizer": "rmsprop", "momentum": 0.5},
    ],
)
def test_more_epochs_go_on_and_end_with_the_same_bytes(make: Any, options: dict[str, Any], tmp_path: Path) -> None:
    training = replace(SHORT, **options)
    for epochs, new in ((3, [1, 2, 3]), (4, [4]), (7, [5, 6, 7]), (7, [])):
        fitted, trained = train(tmp_path / "a", replace(training, epochs=epochs), make())
        assert trained == new and len(fitted.history) == epochs
        train(tmp_path / str(epochs), replace(training, epochs=epochs), make())
        assert results(tmp_path / "a") == results(tmp_path / str(epochs))
    said = json.loads((tmp_path / "a" / "training.json").read_text())
    assert said["settings"]["epochs"] == 7 and said["settings"]["rate"] == 0.01 and len(said["goes_on_from"]) == 2


def test_more_epochs_do_not_wake_a_training_that_lost_its_patience(tmp_path: Path) -> None:
    figures = iter([2.0, 1.0, 3.0, 4.0])
    options: dict[str, Any] = {"metrics": {"figure": lambda o, t: next(figures)}, "watch": "figure"}
    training = replace(SHORT, epochs=8, patience=2)
    assert train(tmp_path, training, **options)[1] == [1, 2, 3, 4]
    fitted, trained = train(tmp_path, replace(training, epochs=20), **options)
    assert trained == [] and fitted.best_epoch == 2


def test_more_epochs_that_were_stopped_go_on(tmp_path: Path) -> None:
    """Before their first checkpoint, and after some."""
    whole = replace(SHORT, epochs=6)
    train(tmp_path / "whole", whole)
    train(tmp_path / "a", SHORT)
    for seconds, epoch, last in ((1e6, 4, [4, 5, 6]), (0.0, 5, [6])):
        longer = replace(whole, checkpoint_seconds=seconds)
        with pytest.raises(StopError):
            fit(net(), SEEN, HELD_OUT, longer, folder=tmp_path / "a", report=stop_after(epoch))
        refused(tmp_path / "a", "--train.epochs was 6, is 3")
        if epoch == 5:
            assert train(tmp_path / "a", whole)[1] == last
    assert results(tmp_path / "a") == results(tmp_path / "whole")


def test_a_training_that_was_stopped_goes_on_to_more_epochs(tmp_path: Path) -> None:
    with pytest.raises(StopError):
        fit(net(), SEEN, HELD_OUT, SHORT, folder=tmp_path / "a", report=stop_after(2))
    assert train(tmp_path / "a", replace(SHORT, epochs=5))[1] == [3, 4, 5]
    train(tmp_path / "whole", replace(SHORT, epochs=5))
    assert results(tmp_path / "a") == results(tmp_path / "whole")


@pytest.mark.parametrize("options", [{"schedule": "cosine"}, {"schedule": "one_cycle"}, {"warmup": 0.2}])
def test_more_epochs_of_a_schedule_that_counts_them_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    training = replace(SHORT, **options)
    train(tmp_path, training)
    longer = replace(training, epochs=6)
    refused(tmp_path, "holds a finished training of 3 epochs", "--train.epochs was 3, is 6", "depend on how many follow", training=longer)  # fmt: skip
    assert train(tmp_path, longer, replace=True)[1] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.3])
def test_a_schedule_that_says_so_begins_like_a_longer_one(schedule: str, warmup: float) -> None:
    training = Training(epochs=4, schedule=schedule, warmup=warmup, step_epochs=2)
    rates = [[rate_factor(training, step, epochs * 5, 5) for step in range(1, 21)] for epochs in (4, 9)]
    assert (rates[0] == rates[1]) == begins_like_a_longer_one(training)


# Another training


def state() -> dict[str, Any]:
    return fit(net(), SEEN, HELD_OUT, SHORT).optimizer_state


class Named(nn.Sequential):
    """Another class of the same weights."""


OTHERS: dict[str, tuple[Callable[[], dict[str, Any]], tuple[str, ...]]] = {
    "rate": (lambda: {"training": replace(SHORT, rate=0.02)}, ("--train.rate was 0.01, is 0.02.",)),
    "two": (lambda: {"training": replace(SHORT, weight_decay=0.1, clip_norm=1.0)}, ("--train.weight-decay was 0.0, is 0.1; --train.clip-norm was 0.0, is 1.0",)),
    "fewer epochs": (lambda: {"training": replace(SHORT, epochs=2)}, ("--train.epochs was 3, is 2.",)),
    "more epochs and a seed": (lambda: {"training": replace(SHORT, epochs=9, seed=1)}, ("--train.epochs was 3, is 9; --train.seed was 0, is 1",)),
    "a trained net": (lambda: {"model": fit(net(), SEEN, None, SHORT).model}, ("the model starts from other weights (it was trained already",)),
    "another seed": (lambda: {"model": net(4)}, ("starts from other weights",)),
    "layers": (lambda: {"model": nn.Sequential(*net(), nn.Identity())}, ("the model's layers are others.",)),
    "class": (lambda: {"model": Named(*net())}, ("the model's layers are others.",)),
    "data": (lambda: {"data": (X[:60], Y[:60] + 1)}, ("the training data are others.",)),
    "fewer data": (lambda: {"data": (X[:48], Y[:48])}, ("the samples an epoch were 60, are 48; the training data are others",)),
    "weights": (lambda: {"data": Arrays(*SEEN, torch.ones(60))}, ("the training data are others",)),
    "validation": (lambda: {"validation": (X[61:], Y[61:])}, ("the validation data are others.",)),
    "no validation": (lambda: {"validation": None}, ("the validation data are others",)),
    "key": (lambda: {"key": "table 2"}, ("the key was '', is 'table 2'",)),
    "optimizer": (lambda: {"optimizer_state": state()}, ("the optimizer starts from another state.",)),
    "watch": (lambda: {"metrics": {"worst": lambda o, t: float((o - t).abs().max())}, "watch": "worst", "higher": True},
              ("watch was 'validation_loss', is 'worst'; higher was False, is True",)),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_training_is_refused_by_what_differs_and_replaces_where_it_may(name: str, tmp_path: Path) -> None:
    options, texts = OTHERS[name]
    train(tmp_path / "a")
    refused(tmp_path / "a", "holds a finished training of 3 epochs that is another one", *texts, **options())
    assert train(tmp_path / "a")[1] == [], "what was there goes on"
    want = train(tmp_path / "fresh", **options())[0]
    got, trained = train(tmp_path / "a", replace=True, **options())
    assert trained == list(range(1, len(want.history) + 1)) and results(tmp_path / "a") == results(tmp_path / "fresh")
    assert train(tmp_path / "a", **options())[1] == [] and got.history == want.history


def test_a_started_training_is_not_replaced_in_silence_either(tmp_path: Path) -> None:
    for seconds in (0.0, 1e6):  # with and without a checkpoint
        folder, training = tmp_path / str(seconds), replace(SHORT, checkpoint_seconds=seconds)
        with pytest.raises(StopError):
            fit(net(), SEEN, HELD_OUT, training, folder=folder, report=stop_after(1))
        refused(folder, "holds a started training", "--train.rate", training=replace(training, rate=0.1))


def test_what_replaces_a_training_leaves_nothing_of_it_when_it_is_stopped(tmp_path: Path) -> None:
    train(tmp_path)
    other = replace(SHORT, rate=0.1, checkpoint_seconds=1e6)
    with pytest.raises(StopError):
        fit(net(), SEEN, HELD_OUT, other, folder=tmp_path, report=stop_after(1), replace=True)
    assert not (tmp_path / "model.safetensors").exists() and not list((tmp_path / "checkpoints").iterdir())
    assert train(tmp_path, other)[1] == [1, 2, 3]
    assert train(tmp_path, replace=True)[1] == [1, 2, 3], "nothing of the first is taken up again"


def test_threads_and_the_time_between_checkpoints_make_no_other_training(tmp_path: Path) -> None:
    train(tmp_path)
    assert train(tmp_path, replace(SHORT, checkpoint_seconds=9.0))[1] == []


def test_streams_differ_by_what_can_be_known_of_them(tmp_path: Path) -> None:
    def draw(generator: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(n, 3, generator=generator)
        return x, x[:, :1]

    assert train(tmp_path, data=Stream(draw, 4))[1] == [1, 2, 3]
    assert train(tmp_path, data=Stream(draw, 4))[1] == []
    refused(tmp_path, "the samples an epoch were 48, are 60", data=Stream(draw, 5))


# Folders of an earlier Levsha, damaged ones, and other people's


def test_a_folder_without_the_file_goes_on_where_its_checkpoint_is_of_this_training(tmp_path: Path) -> None:
    with pytest.raises(StopError):
        fit(net(), SEEN, HELD_OUT, SHORT, folder=tmp_path, report=stop_after(2))
    (tmp_path / "training.json").unlink()
    said = refused(tmp_path, "but no sound training.json", training=replace(SHORT, rate=0.1))
    assert "a training of an earlier Levsha, or files of your own" in said
    assert train(tmp_path)[1] == [3] and (tmp_path / "training.json").exists()


@pytest.mark.parametrize("text", ["{", '{"kind": "levsha-training-1"}', '{"kind": "levsha-training-1", "hash": 3}', "[]", '{"mine": 1}'])  # fmt: skip
def test_a_damaged_file_replaces_nothing(text: str, tmp_path: Path) -> None:
    train(tmp_path)
    (tmp_path / "training.json").write_text(text)
    refused(tmp_path, "holds training.json but no sound training.json", training=replace(SHORT, rate=0.1))
    assert train(tmp_path)[1] == [] and json.loads((tmp_path / "training.json").read_text())["settings"]


@pytest.mark.parametrize("name", ["model.safetensors", "metrics.jsonl", "training.json"])
def test_files_of_somebody_else_are_not_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    refused(tmp_path, f"holds {name} but no sound training.json")
    assert train(tmp_path, replace=True)[1] == [1, 2, 3] and (tmp_path / "metrics.jsonl").stat().st_size > 9


def test_a_folder_with_other_files_is_as_good_as_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    train(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_setting_that_an_earlier_levsha_had_not_makes_no_other_training(tmp_path: Path) -> None:
    train(tmp_path)
    said = json.loads((tmp_path / "training.json").read_text())
    del said["settings"]["clip_value"]
    (tmp_path / "training.json").write_text(json.dumps(said))
    assert train(tmp_path)[1] == []
    refused_by = json.loads((tmp_path / "training.json").read_text())
    assert refused_by["settings"]["clip_value"] == 0.0


class Odd(nn.Linear):
    """Says where it lies in memory."""

    def extra_repr(self) -> str:
        return object.__repr__(self)


def test_where_a_model_lies_in_memory_is_no_difference(tmp_path: Path) -> None:
    def model() -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(Odd(3, 1))

    first, second = model(), model()
    assert str(first) != str(second)
    assert train(tmp_path, model=first)[1] == [1, 2, 3] and train(tmp_path, model=second)[1] == []


def test_the_file_can_be_read(tmp_path: Path) -> None:
    train(tmp_path, key="my table")
    said = json.loads((tmp_path / "training.json").read_text())
    assert said["kind"] == "levsha-training-1" and said["key"] == "my table" and said["watch"] == "validation_loss"
    assert said["settings"]["optimizer"] == "adam" and "threads" not in said["settings"]
    assert [len(digest) for digest in (*said["data"], *said["validation"], said["weights"])] == [64] * 5
    assert (
        "Linear(in_features=3, out_features=6" in said["model"] and (tmp_path / "training.json").stat().st_size < 4000
    )
    assert len(read_log(tmp_path / "metrics.jsonl")) == 3
