"""Fine-tuning: few bits and fewer channels, without losing what the float model knew; what was trained is what the integers compute."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import levsha
from levsha.conversion.captured import Captured, as_tensor, capture_all, net_of, options_of
from levsha.conversion.door import real_outputs
from levsha.conversion.opening import open_model
from levsha.conversion.tuning import Tuned, Tuning, tunable_of, tune
from levsha.data.images import load_images
from levsha.errors import LevshaError
from levsha.formats import FORMATS
from levsha.store import graph_hash
from tests.test_prune import NETS, Net

BEFORE = ("means", "steps")  # what a conversion does that refines no weights
RESULTS = ("model.safetensors", "metrics.jsonl", "checkpoints/best.safetensors")


class Small(nn.Module):
    """A convolutional net for 8 x 8 pixels, with a block that is added to what it reads, and an activation that becomes a table."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.fc1, self.fc2 = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(128, 24), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv1((x - 0.3) / 0.4)))
        x = F.max_pool2d(F.relu(x + self.conv2(x)), 2)
        return self.fc2(F.silu(self.fc1(x.flatten(1))))


class Recurrent(Net):
    """The last state of a recurrent layer, and readings of different size."""

    shape = (7, 3)
    cell: type[nn.Module] = nn.GRU

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = self.cell(3, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


class RecurrentLstm(Recurrent):
    cell = nn.LSTM


@cache
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inputs and classes to train on, and to test on."""
    train, test = load_images("digits")
    assert train.y is not None and test.y is not None
    return (train.x / 16).astype(np.float32), train.y, (test.x / 16).astype(np.float32), test.y


@cache
def trained() -> nn.Module:
    """A float model of digits."""
    x, y, *_ = digits()
    torch.manual_seed(1)
    settings = levsha.Training(epochs=8, loss="cross_entropy", rate=3e-3, schedule="cosine")
    return levsha.fit(Small(), (x, y), training=settings).model


@cache
def captured() -> Captured:
    x = digits()[0]
    return capture_all(open_model(trained(), x), x, x[:500], (), (), False)


def accuracy_of(tuned: Tuned) -> float:
    """Per cent right on the test images, in integers."""
    *_, x, y = digits()
    net = net_of(tuned.captured, tuned.lower())
    return 100 * float((real_outputs(tuned.captured, net, x).argmax(1) == y).mean())


@pytest.mark.parametrize("weights, gain", [("ternary", 2), ("binary", 10)])
def test_few_bits_learn_what_rounding_lost(weights: str, gain: float) -> None:
    x, y, x_T, y_T = digits()
    before = levsha.convert(trained(), x, y, weights, test=(x_T, y_T), refine=BEFORE)
    after = levsha.fine_tune(trained(), x, y, weights, epochs=6, test=(x_T, y_T))
    was, now = (net.about["integer"]["accuracy"] for net in (before, after))
    assert after.about["float"] == before.about["float"]
    assert now > was + gain
    assert now > after.about["float"]["accuracy"] - 4
    assert len(after.about["fine_tuned"]["history"]) == 6
    used = {int(digit) for op in after.graph.ops for digit in np.unique(getattr(op, "weight_OI", 1))}
    assert used == set(FORMATS[weights].grid.tolist())


def test_what_quantising_alone_does_better_is_kept() -> None:
    """A training that ruins the net is worth nothing."""
    x, y, x_T, y_T = digits()
    ruin = levsha.Training(epochs=1, rate=0.5, optimizer="adamw")
    plain, tuned = (
        levsha.convert(trained(), x, y, "int4", test=(x_T, y_T)),
        levsha.fine_tune(trained(), x, y, "int4", test=(x_T, y_T), training=ruin),
    )
    assert tuned.about["integer"]["accuracy"] > plain.about["integer"]["accuracy"] - 3
    assert tuned.about["fine_tuned"]["best_epoch"] == 0


@pytest.mark.parametrize("weights", ["int4", "two_bit", "binary"])
@pytest.mark.parametrize("kind", [*NETS, Recurrent, RecurrentLstm], ids=lambda kind: kind.__name__)
def test_what_is_trained_is_what_the_integers_compute(kind: type[Net], weights: str) -> None:
    torch.manual_seed(2)
    net, rng = kind().eval(), np.random.default_rng(1)
    x = (rng.normal(size=(600, *kind.shape)) * np.linspace(0.2, 2, kind.shape[-1])).astype(np.float32)
    found = capture_all(open_model(net, x), x, x[:300], (), (), False)
    options = options_of(found, weights, {})
    tunable = tunable_of(found, options, 0.5 if kind in NETS else 1.0, np.ones(1))
    nodes, pins = tunable.tuned(found.calibration)
    smaller = replace(found, folded=replace(found.folded, nodes=nodes))
    got = real_outputs(smaller, net_of(smaller, smaller.lower(options, None, pins)), x)
    want = levsha.predict(tunable, as_tensor(x)).numpy()
    most = 0.01 if kind in NETS else 0.03  # between the rows of a recurrent layer nothing is rounded in training
    assert np.abs(got - want).mean() < most * want.std()


def test_the_same_call_makes_the_same_net(tmp_path: Path) -> None:
    x, y, *_ = digits()
    nets = [levsha.fine_tune(trained(), x, y, epochs=1, keep=0.5, seed=3, folder=folder) for folder in (None, tmp_path)]
    assert graph_hash(nets[0].graph) == graph_hash(nets[1].graph)


def test_half_the_channels_and_two_bits() -> None:
    x, y, *_ = digits()
    tuned = tune(captured(), x, y, "two_bit", tuning=Tuning(epochs=4, keep=0.5))
    shapes = {
        node.name: tuple(node.weight_OI.shape) for node in tuned.captured.folded.nodes if node.weight_OI is not None
    }
    assert shapes == {"conv1": (4, 9), "conv2": (4, 36), "fc1": (12, 64), "fc2": (10, 12)}
    assert accuracy_of(tuned) > 80


def test_without_epochs_gains_and_offsets_are_set_anew() -> None:
    x, y, x_T, y_T = digits()
    tuned = tune(captured(), x, y, "binary", tuning=Tuning(epochs=0))
    plain = levsha.convert(trained(), x, y, "binary", test=(x_T, y_T), refine=BEFORE)
    assert tuned.best_epoch == 0 and not tuned.history
    assert accuracy_of(tuned) > plain.about["integer"]["accuracy"]


def test_layers_have_formats_of_their_own() -> None:
    x, y, *_ = digits()
    tuned = tune(captured(), x, y, "ternary", {"fc2": "int8"}, tuning=Tuning(epochs=0))
    used = {name: len(np.unique(integers)) for name, (integers, _) in tuned.pins.weights.items()}
    assert used["fc2"] > 30 and used["fc1"] == 3


@pytest.mark.parametrize("kind", [Recurrent, RecurrentLstm])
def test_recurrent_layers_learn(kind: type[Recurrent]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 1, (1000, *kind.shape)).astype(np.float32)
    y = (x[:, :, 0].mean(1) > 3).astype(np.int64)
    torch.manual_seed(0)
    settings = levsha.Training(epochs=15, loss="cross_entropy", rate=1e-2, schedule="cosine")
    model = levsha.fit(kind(), (x, y), training=settings).model
    was, now = (call(model, x, y, "binary").about["integer"]["accuracy"] for call in (levsha.convert, levsha.fine_tune))
    assert now > was


class Regressor(nn.Module):
    """Two numbers of very different size from readings of very different size."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
        self.spread = nn.Buffer(torch.tensor([1.0, 100.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x / torch.tensor([1.0, 10.0, 0.1, 1.0])) * self.spread


@pytest.mark.parametrize("right", [True, False])
def test_numbers_are_learned_too(right: bool) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(3000, 4)) * [1, 10, 0.1, 1]).astype(np.float32)
    y = np.stack([np.sin(x[:, 0]) + x[:, 3], x[:, 1] * 10 + 50 * np.tanh(20 * x[:, 2])], 1).astype(np.float32)
    torch.manual_seed(0)
    model = Regressor()
    levsha.fit(model.layers, (x / [1, 10, 0.1, 1], y / [1, 100]), training=levsha.Training(epochs=10, rate=3e-3))
    given = y if right else None
    was = levsha.convert(model, x, given, "two_bit", refine=BEFORE).about["integer"]["r2"]
    now = levsha.fine_tune(model, x, given, "two_bit").about["integer"]["r2"]
    assert now > max(was + 0.01, 0.95)


def test_one_output_that_decides() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1200, 5)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 1))
    training = levsha.Training(epochs=20, loss="bce_with_logits", rate=5e-3)
    levsha.fit(model, (x, y[:, None].astype(np.float32)), training=training)
    was = levsha.convert(model, x, y, "binary", refine=BEFORE).about["integer"]["accuracy"]
    assert levsha.fine_tune(model, x, y, "binary").about["integer"]["accuracy"] > was + 3


def run_to_the_end(folder: Path) -> None:
    """What the killed process and the undisturbed one do."""
    x, y, *_ = digits()
    settings = levsha.Training(epochs=6, optimizer="adamw", schedule="cosine", checkpoint_seconds=0.0)
    net = levsha.fine_tune(trained(), x[:400], y[:400], "two_bit", keep=0.5, training=settings, folder=folder / "t")
    net.save(folder / "net.safetensors")


def test_killed_and_started_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.test_fine_tune"]
    run_to_the_end(tmp_path / "whole")
    killed = subprocess.Popen([*command, str(tmp_path / "killed"), "kill"], cwd=Path(__file__).parents[1])
    assert killed.wait() == -signal.SIGKILL
    left = tmp_path / "killed" / "t"
    assert list(left.glob("checkpoints/*")) and not (left / "model.safetensors").exists()
    run_to_the_end(tmp_path / "killed")
    for name in (*(f"t/{name}" for name in RESULTS), "net.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize(
    "more, message",
    [
        ({"weights": "int5"}, "int5"),
        ({"keep": 0.0}, r"keep: is 0; give the share .* above 0 and up to 1"),
        ({"keep": 1.5}, r"keep: is 1.5; give the share"),
        ({"distil": 2.0}, r"^distil: is 2.0; allowed are 0.0 to 1.0"),
        ({"epochs": -1}, r"^epochs: is -1; allowed are 0 to"),
        ({"layers": {"fc9": "int8"}}, r"layer 'fc9': there is none"),
    ],
)
def test_settings_that_cannot_be(more: dict, message: str) -> None:
    x, y, *_ = digits()
    with pytest.raises(LevshaError, match=message):
        levsha.fine_tune(trained(), x[:200], y[:200], **({"epochs": 1} | more))


def test_fewer_rows_than_a_batch() -> None:
    x, y, *_ = digits()
    assert levsha.fine_tune(trained(), x[:50], y[:50], epochs=1).about["fine_tuned"]["best_epoch"] == 1
    with pytest.raises(LevshaError, match=r"^training.batch: is 64, but there are 36 training samples"):
        levsha.fine_tune(trained(), x[:50], y[:50], training=levsha.Training(epochs=1))


def test_fewer_rows_than_can_be_divided() -> None:
    x, y, *_ = digits()
    with pytest.raises(LevshaError, match="x: has 3 rows to train on; give 4 at least"):
        tune(captured(), x[:3], y[:3], "two_bit")
    with pytest.raises(LevshaError, match="x: has 1 rows; give more"):
        levsha.fine_tune(trained(), x[:1], y[:1])


def test_another_training_in_the_folder_is_kept(tmp_path: Path) -> None:
    x, y, *_ = digits()
    tune(captured(), x[:200], y[:200], "two_bit", tuning=Tuning(epochs=1), folder=tmp_path)
    with pytest.raises(LevshaError, match="holds a finished training of 1 epochs that is another one"):
        tune(captured(), x[:200], y[:200], "ternary", tuning=Tuning(epochs=1), folder=tmp_path)
    tune(captured(), x[:200], y[:200], "ternary", tuning=Tuning(epochs=1), folder=tmp_path, replace_folder=True)


if __name__ == "__main__":
    if sys.argv[2:] == ["kill"]:
        import levsha.train.checkpoint as checkpoint

        saves, save = 0, checkpoint.Checkpoints.save

        def save_and_die(self: checkpoint.Checkpoints, *what: object) -> None:
            global saves
            save(self, *what)  # pyright: ignore[reportArgumentType]
            saves += 1
            if saves == 9:
                os.kill(os.getpid(), signal.SIGKILL)

        checkpoint.Checkpoints.save = save_and_die  # pyright: ignore[reportAttributeAccessIssue]
    run_to_the_end(Path(sys.argv[1]))
