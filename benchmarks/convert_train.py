"""Trains the nets of the comparison once, and writes what every tool starts from: weights, real rows, the same net as ONNX."""

from __future__ import annotations

import io
import json
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.convert_nets import NETS
from levsha.data.images import load_images
from levsha.data.pairs import read_pairs, split_samples
from levsha.files import write_file
from levsha.recipes.regression.net import Prepared
from levsha.recipes.regression.settings import Regression
from levsha.recipes.tinychat.samples import Corpus
from levsha.train.fit import fit
from levsha.train.settings import Training

Rows = tuple[np.ndarray, np.ndarray]
IMAGES, TESTED, CALIBRATION = (
    12_000,
    2000,
    2000,
)  # images to train on; rows to measure on, and to choose steps from, at most
MADE = "data.npz"


def prepare(name: str, folder: Path) -> None:
    """Write state.pth, model.onnx and data.npz (calibration, test, y; images between 0 and 1) unless they are there."""
    if (folder / MADE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = NETS[name]()
    train, test = {"sensor": _sensor, "chat": _chat}.get(name, _images)(model)
    state = io.BytesIO()
    torch.save(model.state_dict(), state)
    write_file(folder / "state.pth", state.getvalue())
    one = torch.from_numpy(test[0][:1])
    torch.onnx.export(
        model.eval(), (one,), folder / "model.onnx", input_names=["x"], output_names=["y"], dynamo=True, verbose=False
    )
    file = io.BytesIO()
    rows = np.random.default_rng(0).permutation(len(train[0]))[:CALIBRATION]
    np.savez_compressed(file, calibration=train[0][rows], test=test[0], y=test[1])
    write_file(folder / MADE, file.getvalue())


def load(name: str, folder: Path) -> nn.Module:
    """Return the trained net."""
    model = NETS[name]()
    model.load_state_dict(torch.load(folder / "state.pth", weights_only=True))
    return model.eval()


def _sensor(model: nn.Module) -> tuple[Rows, Rows]:
    """The recipe regression's synthetic gravity readings; their standardising, and the depth's, go into the outer layers."""
    settings = Regression()
    table = settings.read()
    data = Prepared(table, 0)
    fit(model, data.pair(data.train), data.pair(data.validation), settings.train.resolved(table))
    assert isinstance(model, nn.Sequential)
    first, last = model[0], model[-1]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    mean, std, y_mean, y_std = (
        torch.from_numpy(np.asarray(v)).float() for v in (data.x.mean_C, data.x.std_C, data.y.mean_C, data.y.std_C)
    )
    with torch.no_grad():
        first.weight.div_(std)
        first.bias.sub_(first.weight @ mean)
        last.weight.mul_(y_std[:, None])
        last.bias.copy_(last.bias * y_std + y_mean)
    x, y = table.x_NI.astype(np.float32), table.y_NO
    return (x[data.train], y[data.train]), (x[data.test][:TESTED], y[data.test][:TESTED])


def _chat(model: nn.Module) -> tuple[Rows, Rows]:
    """The recipe tinychat's own corpus, samples split at random."""
    with as_file(files("levsha.recipes.tinychat").joinpath("corpus.txt")) as path:
        corpus = Corpus(read_pairs(path))
    train, test = split_samples(corpus.samples, "samples", 0)
    target = torch.from_numpy(corpus.samples.target_N)
    last = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    assert last.out_features == int(target.max()) + 1, "the corpus has as many characters"
    data, held_out = (corpus.inputs(train), target[train]), (corpus.inputs(test), target[test])
    training = Training(
        epochs=30, schedule="one_cycle", rate=3e-3, optimizer="adamw", weight_decay=0.02, loss="cross_entropy"
    )
    fit(model, data, held_out, training)
    (a, b), (c, d) = (tuple(t.numpy() for t in pair) for pair in (data, held_out))
    return (a, b), (c[:TESTED], d[:TESTED])


def _images(model: nn.Module) -> tuple[Rows, Rows]:
    train, test = load_images("mnist")
    assert train.y is not None and test.y is not None
    x, held = (part.astype(np.float32) / 255 for part in (train.x[:IMAGES], test.x[:TESTED]))
    y, held_y = train.y[:IMAGES], test.y[:TESTED]
    training = Training(epochs=4, schedule="one_cycle", rate=5e-3, optimizer="adamw", loss="cross_entropy")
    fit(model, (x, y), (held, held_y), training)
    return (x, y), (held, held_y)


def quality(name: str, out_NO: np.ndarray, folder: Path) -> tuple[str, float]:
    """Return what outputs are worth, as text, and their root mean square distance from the float net's."""
    data = np.load(folder / MADE)
    with torch.inference_mode():
        float_NO = load(name, folder)(torch.from_numpy(data["test"])).numpy().astype(np.float64)
    far = float(np.sqrt(((out_NO - float_NO) ** 2).mean()))
    if name == "sensor":
        rmse = [float(np.sqrt(((out - data["y"]) ** 2).mean())) for out in (float_NO, out_NO)]
        return f"RMSE {rmse[0]:.3f} -> {rmse[1]:.3f} m, {len(np.unique(out_NO))} answers", far
    right = [100 * float((out.argmax(1) == data["y"]).mean()) for out in (float_NO, out_NO)]
    return f"{right[0]:.2f} -> {right[1]:.2f} %", far


def about(folder: Path) -> dict[str, object]:
    """Return what a tool said of itself."""
    return json.loads((folder / "about.json").read_text())
