"""What people really hand to fit: arrays of every make, models with states and types of their own, folders that are none."""

from __future__ import annotations

import errno
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import prune

import levsha.files
from levsha.data.numbers import as_tensor, raw_bytes
from levsha.data.rows import Resident, map_rows
from levsha.errors import LevshaError
from levsha.files import write_file
from levsha.store import stable
from levsha.train.batch import Arrays, Stream
from levsha.train.checkpoint import read_checkpoint
from levsha.train.fit import Fitted, fit, predict
from levsha.train.optim import RULES, Optimizer
from levsha.train.settings import OPTIMIZERS, Training
from levsha.train.tensors import pack, read_tensors
from levsha.train.weights import load_weights, save_weights

X = np.random.default_rng(3).standard_normal((72, 5)).astype("f4").round(2)
Y = (X[:, :1] - 2 * X[:, 3:4]).astype("f4")
BRIEF = Training(epochs=2, batch=24, rate=0.01)
OFTEN = Training(epochs=3, batch=24, rate=0.01, checkpoint_seconds=0.0)


def net(outputs: int = 1) -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, outputs))


def norm_net() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 1))


def same(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(
        torch.equal(t, right[n]) for n, t in left.items() if isinstance(t, Tensor)
    )


def refused(text: str, *parts: Any, **options: Any) -> str:
    with pytest.raises(LevshaError, match=text) as error:
        fit(*parts, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# Numbers of every make


def big_endian(x: np.ndarray) -> np.ndarray:
    return x.astype(">f4")


def reversed_twice(x: np.ndarray) -> np.ndarray:
    return x[::-1].copy()[::-1]


def every_second(x: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3]


def read_only(x: np.ndarray) -> np.ndarray:
    copy = x.copy()
    copy.setflags(write=False)
    return copy


MAKES = {
    "big-endian": big_endian,
    "big-endian float64": lambda x: x.astype(">f8"),
    "reversed": reversed_twice,
    "reversed columns": lambda x: x[:, ::-1].copy()[:, ::-1],
    "strided": every_second,
    "fortran": np.asfortranarray,
    "read-only": read_only,
    "objects": lambda x: x.astype(object),
    "long doubles": lambda x: x.astype(np.longdouble),
    "nothing masked": np.ma.masked_invalid,
    "lists": lambda x: x.tolist(),
    "tuples of arrays": tuple,
    "a list of tensors": lambda x: [torch.tensor(row, requires_grad=True) for row in x],
    "requires gradients": lambda x: torch.tensor(x, requires_grad=True),
    "a parameter": lambda x: nn.Parameter(torch.tensor(x)),
    "a result": lambda x: torch.tensor(x, requires_grad=True) * 1.0,
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", MAKES)
def test_the_same_numbers_train_the_same_net(make: str) -> None:
    """Inputs, targets, weights for sampling, validation; as a chain and by autograd."""
    made = MAKES[make]
    weights = np.arange(72, dtype="f4") + 1
    training = Training(epochs=2, batch=24, sampling="weighted")
    for model in (net, lambda: nn.Sequential(net())):
        want = fit(model(), Arrays(X, Y, weights), (X, Y), training)
        drawn = made(weights) if make not in ("reversed columns", "strided", "a list of tensors") else weights
        data = Arrays(made(X), made(Y), drawn)
        got = fit(model(), data, (made(X), made(Y)), training)
        assert same(got.model, want.model) and got.history == want.history
        assert torch.equal(predict(got.model, made(X)), predict(want.model, torch.tensor(X)))


@pytest.mark.parametrize("kind", [">f4", "<f8", ">f8", "f2", "g"])
def test_an_array_on_the_disk_may_have_any_byte_order(kind: str, tmp_path: Path) -> None:
    for name, array in (("x", X), ("y", Y)):
        np.save(tmp_path / f"{name}.npy", array.astype(kind))
    x, y = map_rows(tmp_path / "x.npy"), map_rows(tmp_path / "y.npy")
    want = fit(net(), (X.astype(kind).astype("f4"), Y.astype(kind).astype("f4")), None, BRIEF).model
    assert same(fit(net(), (x, y), None, BRIEF, folder=tmp_path / "run").model, want)
    assert same(
        fit(net(), (x[::-1], y[::-1]), None, BRIEF).model,
        fit(net(), (x[::-1].copy(), y[::-1].copy()), None, BRIEF).model,
    )


@pytest.mark.parametrize("kind", ["i8", ">i4", "u1", "u2", "?", "O"])
def test_class_numbers_may_be_of_any_whole_type(kind: str) -> None:
    training = Training(epochs=1, batch=24, loss="cross_entropy")
    label_N = (X[:, 0] > 0).astype("i8")
    want = fit(net(2), (X, label_N), None, training).model
    assert same(fit(net(2), (X, label_N.astype(kind)), None, training).model, want)
    assert same(fit(net(2), (X, label_N.tolist()), None, training).model, want)


def with_value(value: Any) -> np.ndarray:
    array = X.astype(object)
    array[3, 1] = value
    return array


NO_NUMBERS = {
    "text": (X.astype(str), r"inputs: hold text, the first at \[0, 0\] is '.*'; convert it with \.astype\('float32'\)"),
    "bytes": (X.astype("S"), "inputs: hold bytes of text"),
    "one text": (with_value("n/a"), r"inputs: hold text, the first at \[3, 1\] is 'n/a'"),
    "nothing": (with_value(None), r"inputs: hold Python objects, the first at \[3, 1\] is None"),
    "decimals": (with_value(Decimal("1.5")), r"\[3, 1\] is Decimal\('1.5'\); give floats or integers"),
    "ragged": ([[1.0], [2.0, 3.0]] * 36, r"inputs: are no table of numbers \(.*\); give rows of one shape"),
    "ragged tensors": ([torch.zeros(2), torch.zeros(3)] * 36, "inputs: cannot be one tensor"),
    "dates": (np.zeros((72, 5), "M8[s]"), "inputs: hold dates.* give numbers, such as the seconds"),
    "complex": (X.astype("c8"), "inputs: hold complex numbers"),
    "complex tensor": (torch.zeros(72, 5, dtype=torch.complex64), r"inputs: are of torch\.complex64; give real"),
    "fields": (np.zeros(72, [("a", "f4"), ("b", "f4")]), "inputs: hold records of fields.*give one plain array"),
    "sparse": (torch.tensor(X).to_sparse(), r"inputs: are a sparse or nested tensor; give a dense one"),
    "masked": (np.ma.masked_less(X, -1.5), r"inputs: \d+ values are masked; fill them with \.filled\(value\)"),
    "a number": (3.0, "inputs: are one float; give a tensor, a numpy array or a list of rows"),
    "a dict": ({"a": 1}, "inputs: are one dict"),
    "none": (None, "inputs: are one NoneType"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_is_no_number_is_named(kind: str) -> None:
    given, text = NO_NUMBERS[kind]
    refused(text, net(), (given, Y))
    refused(text.replace("inputs:", "targets:"), net(), (X, given))
    if given is not None:
        with pytest.raises(LevshaError, match=text.replace("inputs:", "weights:")):
            Arrays(X, Y, given)


def test_data_that_are_no_pair_are_named() -> None:
    refused("data: is ndarray; give a pair", net(), X)
    refused("data: is Tensor; give a pair", net(), torch.tensor(X))
    refused("data: is DataLoader; give a pair", net(), torch.utils.data.DataLoader(torch.utils.data.TensorDataset()))  # type: ignore[arg-type]
    refused("data: is tuple; give a pair", net(), (X,))
    stream = Stream(lambda generator, n: (torch.randn(n, 5), torch.zeros(n, 1)), 2)
    refused("validation: is Stream", net(), (X, Y), stream)
    refused("one number as inputs", net(), (torch.tensor(1.0), Y))


def test_a_stream_that_draws_something_else_is_named() -> None:
    for drawn in ((X, Y), (torch.tensor(X), torch.tensor(Y)[1:])):
        refused("stream: draw returns .*; it must return two tensors", net(), Stream(lambda g, n, d=drawn: d, 2))  # type: ignore[arg-type]
    refused("stream: draw fails", net(), Stream(lambda generator, n: None, 2))  # type: ignore[arg-type,return-value]


def test_a_tensor_is_not_copied_and_its_gradient_is_left_alone() -> None:
    x = torch.tensor(X, requires_grad=True)
    assert as_tensor(x).data_ptr() == x.data_ptr()
    fit(nn.Sequential(net()), (x, Y), None, BRIEF)
    assert x.requires_grad and x.grad is None


def test_fit_works_inside_inference_mode() -> None:
    want = fit(nn.Sequential(net()), (X, Y), None, BRIEF).model
    model = nn.Sequential(net())
    with torch.inference_mode():
        assert same(fit(model, (X, Y), None, BRIEF).model, want)


# Batches of one


def test_a_batch_normalisation_never_meets_a_batch_of_one() -> None:
    data = (X, Y)
    refused("makes batches of one sample, in which 1, a batch normalisation", norm_net(), data, None, Training(batch=1))
    refused("of 72 samples that leaves a last batch of one, which 1", norm_net(), data, None, Training(batch=71))
    refused("makes batches of one", norm_net(), (X[:1], Y[:1]), None, Training(batch=0))
    stream = Stream(lambda generator, n: (torch.randn(n, 5, generator=generator), torch.zeros(n, 1)), 2)
    refused("makes batches of one sample", norm_net(), stream, None, Training(batch=1))
    fit(net(), data, None, Training(epochs=1, batch=1))
    fit(norm_net(), data, None, Training(epochs=1, batch=2))


def test_one_image_has_values_enough_for_a_batch_normalisation() -> None:
    """Torch takes its variance over positions too."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 1))
    images = (torch.randn(9, 1, 4, 4), torch.randn(9, 1))
    fit(model, images, None, Training(epochs=1, batch=1))
    fit(model, images, None, Training(epochs=1, batch=4))
    assert not model[1]._forward_pre_hooks


class Gate(nn.Module):
    """Fails on a small batch, in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) < 20:
            raise ValueError("too few\nsee the manual")
        return self.inner(x)


def test_a_model_that_fails_in_training_says_at_which_step() -> None:
    text = refused(r"fails in training mode on inputs of shape \(12, 5\) at step 3", Gate(), (X, Y), None, Training(batch=30))  # fmt: skip
    assert text.endswith("too few. Mend the model, or give another batch size.")


# Types of its own


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("make", [net, norm_net])
def test_a_net_of_any_floating_type_goes_on_and_ends_with_the_same_bytes(
    make: Any, kind: torch.dtype, tmp_path: Path
) -> None:
    def run(folder: Path, **options: Any) -> Fitted:
        return fit(make().to(kind), (X, Y), (X, Y), OFTEN, folder=folder, **options)

    class StopError(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.line["epoch"] == 2:
            raise StopError

    want = run(tmp_path / "whole")
    with pytest.raises(StopError):
        run(tmp_path / "stopped", report=stop)
    epochs: list[float] = []
    got = run(tmp_path / "stopped", report=lambda p: epochs.append(p.line["epoch"]))
    assert epochs == [3] and same(got.model, want.model)
    for name in ("model.safetensors", "metrics.jsonl", "checkpoints/best.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    twin = make().to(kind)
    twin.load_state_dict(load_file(tmp_path / "whole" / "model.safetensors"))
    assert same(twin, want.model) and next(twin.parameters()).dtype == kind
    assert same(load_weights(make().to(kind), tmp_path / "whole" / "model.safetensors"), want.model)
    saved, _ = read_checkpoint(sorted((tmp_path / "whole" / "checkpoints").glob("step-*"))[-1])
    assert saved.tensors["model.0.weight"].dtype == saved.tensors["optimizer.0.weight.exp_avg"].dtype == kind


def test_metrics_of_a_16_bit_net_are_counted_in_32_bits() -> None:
    seen = []

    def largest(output: Tensor, target: Tensor) -> float:
        seen.append((output.dtype, target.dtype))
        return float(np.abs(output.numpy()).max())

    fit(net().bfloat16(), (X, Y), (X, Y), BRIEF, metrics={"largest": largest})
    assert seen == [(torch.float32, torch.float32)] * 2


def test_a_file_of_float32_is_the_one_it_always_was() -> None:
    tensors = {
        "b": torch.randn(3, 2),
        "a": torch.arange(4),
        "mask": torch.tensor([True, False]),
        "one": torch.tensor(2.0),
    }
    numpys = {name: tensor.numpy() for name, tensor in tensors.items()}
    about = {"kind": "x", "counters": "{}"}
    assert stable(pack(tensors, about)) == stable(safetensors.numpy.save(numpys, about))
    assert pack(tensors) == safetensors.numpy.save(numpys)


def test_bytes_and_fingerprints_of_every_type(tmp_path: Path) -> None:
    values = torch.tensor([[1.5, -2.0], [0.0, 3.0]])
    for kind in (torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int64, torch.bool):
        tensor = values.to(kind)
        assert raw_bytes(tensor).nbytes == tensor.nbytes and raw_bytes(tensor.t()).nbytes == tensor.nbytes
        assert Resident(tensor).fingerprint() != Resident(tensor.flip(0)).fingerprint()
    assert raw_bytes(values.t()).tobytes() == values.numpy().T.tobytes()
    twice = torch.zeros(2, 2)
    path = tmp_path / "t.safetensors"
    path.write_bytes(pack({"a": values.bfloat16(), "b": twice, "c": twice, "d": values.t()}))
    found = read_tensors(path)[1]
    assert torch.equal(found["a"], values.bfloat16()) and torch.equal(found["d"], values.t())
    with pytest.raises(LevshaError, match=r"cannot hold all of torch\.complex128.*convert that part of the model"):
        pack({"a": torch.zeros(2, dtype=torch.complex128)})


# States of its own


class Counting(nn.Module):
    """Keeps how often it was trained in a state that is no tensor, and a tensor beside it."""

    def __init__(self, keeps: Any = None) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.inner, self.keeps, self.steps = nn.Linear(5, 1), keeps, 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        return self.inner(x)

    def get_extra_state(self) -> Any:
        return {"steps": self.steps, "names": ["a", None], "rate": 0.5} if self.keeps is None else self.keeps

    def set_extra_state(self, state: Any) -> None:
        self.steps = state["steps"]


class CountingTensor(Counting):
    def get_extra_state(self) -> Any:
        return torch.tensor([self.steps], dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        self.steps = int(state)


@pytest.mark.parametrize("make", [Counting, CountingTensor])
def test_an_extra_state_is_that_of_the_best_epoch_and_survives_a_stop(make: type[Counting], tmp_path: Path) -> None:
    figures = iter([3.0, 1.0, 2.0] * 3)
    options: dict[str, Any] = {"metrics": {"figure": lambda o, t: next(figures)}, "watch": "figure"}
    data = (X, Y)
    fitted = fit(nn.Sequential(make()), data, data, OFTEN, folder=tmp_path / "a", **options)
    assert fitted.best_epoch == 2 and fitted.model[0].steps == 6  # type: ignore[index,union-attr]
    twin = load_weights(nn.Sequential(make()), tmp_path / "a" / "model.safetensors")
    assert twin[0].steps == 6 and same(twin, fitted.model)  # type: ignore[index]

    def stop(progress: Any) -> None:
        if progress.line["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(nn.Sequential(make()), data, None, OFTEN, folder=tmp_path / "b", report=stop)
    again = nn.Sequential(make())
    fit(again, data, None, OFTEN, folder=tmp_path / "b")
    assert again[0].steps == 9
    assert fit(nn.Sequential(make()), data, None, OFTEN).model[0].steps == 9  # type: ignore[index,union-attr]


@pytest.mark.parametrize("value", [object(), (1, 2), {1: "one"}, {"a": {1}}, float("nan")])
def test_an_extra_state_that_cannot_be_kept_is_named(value: Any) -> None:
    kind = type(value).__name__
    refused(f"model: 0._extra_state in its state_dict is a {kind} that JSON cannot hold; let get_extra_state return a tensor",
            nn.Sequential(Counting(value)), (X, Y))  # fmt: skip


def test_weights_of_another_model_are_named(tmp_path: Path) -> None:
    save_weights(net(), tmp_path / "m.safetensors")
    with pytest.raises(LevshaError, match=r"is of another model \(2\.bias, 2\.weight differ\)"):
        load_weights(net(3), tmp_path / "m.safetensors")
    with pytest.raises(LevshaError, match=r"none\.safetensors: cannot be read"):
        load_weights(net(), tmp_path / "none.safetensors")


class Caching(nn.Module):
    """Keeps what it makes at its first call, as masks and positions often are."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.kept = nn.Linear(5, 1), None

    def forward(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = torch.linspace(0.5, 1.5, 5)
        return self.inner(x * self.kept * self.inner.weight)


def weight_normed() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 1))


def spectral() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 1))


def pruned() -> nn.Module:
    model = net()
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


@pytest.mark.parametrize("make", [Caching, weight_normed, spectral, pruned])
def test_models_that_make_their_weights_train_and_go_on(make: Any, tmp_path: Path) -> None:
    def model() -> nn.Module:
        torch.manual_seed(6)
        return make()

    want = fit(model(), (X, Y), (X, Y), OFTEN).model

    def stop(progress: Any) -> None:
        if progress.line["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model(), (X, Y), (X, Y), OFTEN, folder=tmp_path, report=stop)
    got = fit(model(), (X, Y), (X, Y), OFTEN, folder=tmp_path)
    assert same(got.model, want)
    assert same(load_weights(model(), tmp_path / "model.safetensors"), want)


# An optimizer of somebody else's


class SignSgd(Optimizer):
    """Steps of one size (Bernstein et al. 2018), with a memory."""

    names = ("memory",)

    def _update(self, rate: float) -> None:
        self.flat.all.add_(self.state["memory"].lerp_(self.flat.grad, 0.1).sign(), alpha=-rate)

    def torch_settings(self) -> dict[str, Any]:
        return {"blend": 0.1}


def test_another_optimizer_is_a_class_and_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "sign_sgd", SignSgd)
    monkeypatch.setitem(OPTIMIZERS, "sign_sgd", ())
    training = Training(epochs=2, batch=24, rate=0.01, optimizer="sign_sgd")
    state = fit(net(), (X, Y), None, training).optimizer_state
    (group,) = state["param_groups"]
    assert group == {"lr": 0.01, "blend": 0.1, "weight_decay": 0.0, "params": [0, 1, 2, 3]}
    assert set(state["state"][0]) == {"step", "memory"} and state["state"][0]["memory"].any()
    fit(net(), (X, Y), None, training, optimizer_state=state)
    refused("there is no 'sign_sdg'; there are adam, .*, sign_sgd", net(), (X, Y), None, Training(optimizer="sign_sdg"))  # fmt: skip


def test_an_optimizer_that_does_not_name_its_settings_does_not_exist() -> None:
    class Nameless(Optimizer):
        def _update(self, rate: float) -> None: ...

    with pytest.raises(TypeError, match="torch_settings"):
        Nameless(None, Training())  # type: ignore[abstract,arg-type]


def test_moments_that_would_not_be_used_are_refused() -> None:
    state = fit(net(), (X, Y), None, BRIEF).optimizer_state
    sgd = Training(epochs=1, batch=24, optimizer="sgd")
    text = r"does not fit sgd and this model \(exp_avg, exp_avg_sq of parameter 0 would not be used\)"
    refused(text, net(), (X, Y), None, sgd, optimizer_state=state)
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), amsgrad=True)
    model(torch.tensor(X)).sum().backward()
    optimizer.step()
    refused("max_exp_avg_sq of parameter 0", net(), (X, Y), None, BRIEF, optimizer_state=optimizer.state_dict())


# What cannot be written


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for folder in (tmp_path / "file", tmp_path / "file" / "deep" / "er"):
        text = refused(f"{tmp_path}/file: is a file; give a folder", net(), (X, Y), None, BRIEF, folder=folder)
        assert "space" not in text
    refused(f"{tmp_path}/gone: is a link to nothing", net(), (X, Y), None, BRIEF, folder=tmp_path / "gone")
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").write_text("mine")
    refused(r"run/checkpoints: is a file; give a folder", net(), (X, Y), None, BRIEF, folder=tmp_path / "run")
    refused("Give a shorter name", net(), (X, Y), None, BRIEF, folder=tmp_path / ("n" * 300))
    (tmp_path / "other" / "metrics.jsonl").mkdir(parents=True)
    refused(r"metrics\.jsonl", net(), (X, Y), None, BRIEF, folder=tmp_path / "other", replace=True)


@pytest.mark.parametrize(
    "number, text",
    [
        (errno.ENOSPC, "Free some space, or write elsewhere, and repeat"),
        (errno.EDQUOT, "Free some space"),
        (errno.EACCES, r"Permission denied.*Write elsewhere, or change who may write there"),
        (errno.EROFS, "that disk is read-only"),
        (errno.EIO, "Mend that, or write elsewhere"),
    ],
)
def test_the_remedy_is_that_of_the_cause(
    number: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    write_file(tmp_path / "f.txt", "before")
    monkeypatch.setattr(levsha.files, "open", fails, raising=False)
    with pytest.raises(LevshaError, match=text) as error:
        write_file(tmp_path / "f.txt", "after")
    assert "what was there before is intact" in str(error.value)
    assert (tmp_path / "f.txt").read_text() == "before"
