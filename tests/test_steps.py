"""Both steps against numbers: the written-out backward against finite differences, whole trainings against plain torch."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from levsha.errors import LevshaError
from levsha.train.autograd import AutogradStep
from levsha.train.batch import ArrayBatches, Arrays, Batch, Stream, StreamBatches
from levsha.train.chain import ChainStep, chain_of
from levsha.train.fit import fit, predict
from levsha.train.loop import Loop
from levsha.train.losses import find_loss
from levsha.train.settings import Training, rate_factor

torch.set_num_threads(1)  # as in a training

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "gelu tanh": lambda: nn.GELU(approximate="tanh"),
    "mish": nn.Mish,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}
CASES = ("cross_entropy", "cross_entropy of probabilities", "mse", "bce", "bce_with_logits", "l1", "smooth_l1")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def targets(case: str, rows: int, outputs: int) -> Tensor:
    values = torch.randn(rows, outputs, generator=seeded(2), dtype=torch.float64) * 2
    if case == "cross_entropy":
        return torch.randint(outputs, (rows,), generator=seeded(2))
    if case == "cross_entropy of probabilities":
        return torch.softmax(values, 1)
    return torch.sigmoid(values) if case.startswith("bce") else values


def net(*modules: nn.Module, seed: int = 0) -> nn.Sequential:
    """The same weights for a seed, whatever else drew random numbers before."""
    model = nn.Sequential(*modules)
    with torch.no_grad():
        generator = seeded(seed)
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model


def chain_step(model: nn.Module, training: Training, rank: int = 0) -> ChainStep:
    links = chain_of(model)
    assert links
    return ChainStep(model, links, training, rank)


def differences(step: ChainStep, batch: Batch, done: int = 0) -> Tensor:
    """The gradient of a step's loss by central differences."""
    parameters, e = step.flat.all, 1e-6
    gradient = torch.empty_like(parameters)
    for k in range(len(parameters)):
        kept = float(parameters[k])
        losses = []
        for at in (kept + e, kept - e):
            parameters[k] = at
            losses.append(float(step(batch, done)))
        parameters[k] = kept
        gradient[k] = (losses[0] - losses[1]) / (2 * e)
    return gradient


def autograd_gradient(model: nn.Module, case: str, batch: Batch, reduction: str) -> tuple[Tensor, dict[str, Tensor]]:
    function = getattr(functional, NAMES[case.split()[0]])
    loss = function(model(batch.x), batch.y, reduction=reduction)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


NAMES = {
    "cross_entropy": "cross_entropy",
    "mse": "mse_loss",
    "bce": "binary_cross_entropy",
    "bce_with_logits": "binary_cross_entropy_with_logits",
    "l1": "l1_loss",
    "smooth_l1": "smooth_l1_loss",
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_those_of_the_numbers_and_of_autograd(activation: str, case: str) -> None:
    """Double precision, every parameter: a wrong factor anywhere is off by far more than these bounds."""
    batch = Batch(torch.randn(7, 4, generator=seeded(1), dtype=torch.float64), targets(case, 7, 3), 7)
    for bias in (True, False):
        a, b = ACTIVATIONS[activation](), ACTIVATIONS[activation]()
        modules = [nn.Linear(4, 5, bias=bias), a, nn.Linear(5, 6, bias=bias), b, nn.Linear(6, 3, bias=bias)]
        model = net(*modules, *([nn.Sigmoid()] if case == "bce" else [])).double()
        for reduction in ("mean", "sum"):
            twin = copy.deepcopy(model)
            step = chain_step(copy.deepcopy(model), Training(loss=case.split()[0], reduction=reduction))
            loss, gradient = step(batch, 0).clone(), step.flat.grad.clone()
            want_loss, want = autograd_gradient(twin, case, batch, reduction)
            torch.testing.assert_close(loss, want_loss, rtol=1e-12, atol=1e-12)
            for name, part in step.flat.split(gradient).items():
                torch.testing.assert_close(part, want[name], rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(gradient, differences(step, batch), rtol=1e-6, atol=1e-7)


def test_gradients_with_dropout_are_those_of_the_same_mask() -> None:
    """The mask is a function of seed and step, so the loss of one step can be differentiated by numbers too."""
    model = net(nn.Linear(4, 9), nn.Tanh(), nn.Dropout(0.4), nn.Linear(9, 6), nn.Dropout(0.2), nn.Linear(6, 3)).double()
    batch = Batch(torch.randn(7, 4, generator=seeded(1), dtype=torch.float64), targets("mse", 7, 3), 7)
    step = chain_step(model, Training())
    for done in (0, 5):
        step(batch, done)
        torch.testing.assert_close(step.flat.grad.clone(), differences(step, batch, done), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_the_shares_of_several_processes_add_up_to_the_whole_batch(case: str) -> None:
    """Three shares of 5, 2 and no samples: loss and gradient of each step, summed, are those of the batch of 7."""
    x, y = torch.randn(7, 4, generator=seeded(1), dtype=torch.float64), targets(case, 7, 3)
    modules = [nn.Linear(4, 6), nn.SiLU(), nn.Linear(6, 3), *([nn.Sigmoid()] if case == "bce" else [])]
    training = Training(loss=case.split()[0])
    for make in (chain_step, AutogradStep):
        step = make(net(*modules).double(), training)
        loss = step(Batch(x, y, 7), 0).clone()
        whole = step.flat.grad.clone()
        losses, gradients = [], []
        for part in (slice(0, 5), slice(5, 7), slice(7, 7)):
            losses.append(step(Batch(x[part], y[part], 7), 0).clone())
            gradients.append(step.flat.grad.clone())
        torch.testing.assert_close(torch.stack(losses).sum(), loss, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(torch.stack(gradients).sum(0), whole, rtol=1e-10, atol=1e-12)


def test_targets_need_not_be_contiguous() -> None:
    x, y = torch.randn(8, 4, generator=seeded(1)), torch.randn(3, 8, generator=seeded(2)).t()
    for loss in ("mse", "l1", "smooth_l1"):
        found = []
        for target in (y, y.contiguous()):
            step = chain_step(net(nn.Linear(4, 3)), Training(loss=loss))
            found.append((float(step(Batch(x, target, 8), 0)), step.flat.grad))
        torch.testing.assert_close(found[0], found[1])


# Whole trainings against plain torch


class Own(nn.Module):
    """A net of the user's own: whatever is in it, it takes the way by autograd."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class InDouble:
    """The same batches in double precision."""

    def __init__(self, batches: ArrayBatches) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        for x, y, whole in self.batches.epoch(number, start):
            yield Batch(x.double(), y.double() if y.is_floating_point() else y, whole)


def torch_optimizer(model: nn.Module, t: Training) -> torch.optim.Optimizer:
    """The optimizer of plain torch; only weights decay."""
    weights = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups: Any = [{"params": weights, "weight_decay": t.weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = groups if t.weight_decay else [{"params": list(model.parameters()), "weight_decay": 0.0}]
    if t.optimizer == "sgd":
        return torch.optim.SGD(groups, t.rate, t.momentum, nesterov=t.nesterov)
    if t.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, t.rate, t.alpha, t.eps, momentum=t.momentum, centered=t.centered)
    adam = torch.optim.Adam if t.optimizer == "adam" else torch.optim.AdamW
    return adam(groups, t.rate, (t.beta1, t.beta2), t.eps)


def plain_torch(
    model: nn.Module, batches: Any, t: Training, optimizer: torch.optim.Optimizer, epochs: range
) -> list[float]:
    """The training loop that everybody writes; returns the norm of each gradient where it is clipped."""
    function, norms, per_epoch = getattr(functional, NAMES[t.loss]), [], len(batches)
    for epoch in epochs:
        for at, (x, y, _) in enumerate(batches.epoch(epoch)):
            for group in optimizer.param_groups:
                group["lr"] = t.rate * rate_factor(t, epoch * per_epoch + at + 1, t.epochs * per_epoch, per_epoch)
            optimizer.zero_grad()
            function(model(x), y, reduction=t.reduction).backward()
            if t.clip_value:
                nn.utils.clip_grad_value_(model.parameters(), t.clip_value)
            if t.clip_norm:
                norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), t.clip_norm)))
            optimizer.step()
    return norms


OPTIONS: dict[str, dict[str, Any]] = {
    "adam": {},
    "adam, other betas": {"beta1": 0.8, "beta2": 0.95, "eps": 1e-4},
    "adam, decay": {"weight_decay": 0.1},
    "adamw": {"optimizer": "adamw"},
    "adamw, decay": {"optimizer": "adamw", "weight_decay": 0.5},
    "sgd": {"optimizer": "sgd", "rate": 0.1},
    "sgd, momentum": {"optimizer": "sgd", "rate": 0.03, "momentum": 0.9},
    "sgd, nesterov": {"optimizer": "sgd", "rate": 0.03, "momentum": 0.8, "nesterov": True},
    "sgd, decay": {"optimizer": "sgd", "rate": 0.1, "weight_decay": 0.1},
    "sgd, momentum, decay": {"optimizer": "sgd", "rate": 0.03, "momentum": 0.9, "weight_decay": 0.1},
    "rmsprop": {"optimizer": "rmsprop"},
    "rmsprop, momentum": {"optimizer": "rmsprop", "momentum": 0.7},
    "rmsprop, centered": {"optimizer": "rmsprop", "centered": True, "alpha": 0.9},
    "rmsprop, all": {"optimizer": "rmsprop", "centered": True, "momentum": 0.7, "weight_decay": 0.1},
    "clip norm": {"clip_norm": 0.3, "optimizer": "sgd", "rate": 0.1},
    "clip value": {"clip_value": 0.02, "optimizer": "sgd", "rate": 0.1},
    "clip both": {"clip_value": 0.1, "clip_norm": 0.2},
    "sum": {"reduction": "sum", "rate": 1e-3},
    "classes": {"loss": "cross_entropy"},
    "one batch": {"batch": 0},
    "bootstrap": {"sampling": "with_replacement"},
    "cosine": {"schedule": "cosine", "warmup": 0.2},
}


def some_data(loss: str = "mse") -> Arrays:
    x = torch.randn(100, 6, generator=seeded(3))
    y = torch.stack([x[:, 0] * x[:, 1], x[:, 2].sin(), x[:, 3:].sum(1)], 1)
    return Arrays(x, y.argmax(1) if loss == "cross_entropy" else y)


def smooth_net() -> nn.Sequential:
    return net(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 3))


def parts(model: nn.Module) -> list[Tensor]:
    return [p.detach() for p in model.parameters()]


@pytest.mark.parametrize("name", OPTIONS)
def test_fit_is_plain_torch(name: str) -> None:
    """By a chain and by autograd, in single precision; and the loop in double precision, where nothing but a mistake differs."""
    training = Training(**({"epochs": 6, "batch": 32, "rate": 1e-2} | OPTIONS[name]))
    data = some_data(training.loss)
    batches = ArrayBatches(data, training)
    start, plain, exact, loop_model = (smooth_net() for _ in range(4))
    norms = plain_torch(plain, batches, training, torch_optimizer(plain, training), range(6))
    assert not norms or max(norms) > training.clip_norm, "nothing was clipped"
    by_chain = fit(smooth_net(), data, training=training)
    by_autograd = fit(Own(smooth_net()), data, training=training)
    assert any(not torch.allclose(a, b, atol=1e-2) for a, b in zip(parts(start), parts(plain), strict=True))
    for model in (by_chain.model, by_autograd.model):
        for got, want in zip(parts(model), parts(plain), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert [line["loss"] for line in by_chain.history] == pytest.approx(
        [e["loss"] for e in by_autograd.history], rel=1e-5
    )

    plain_torch(exact.double(), InDouble(batches), training, torch_optimizer(exact, training), range(6))
    Loop(chain_step(loop_model.double(), training), InDouble(batches), training).run()
    for got, want in zip(parts(loop_model), parts(exact), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-10)


def test_the_history_is_the_mean_loss_of_the_samples() -> None:
    training = Training(epochs=1, batch=32, rate=1e-12)
    found = fit(model := smooth_net(), data := some_data(), training=training).history
    losses = [functional.mse_loss(predict(model, x), y).item() * n for x, y, n in ArrayBatches(data, training).epoch(0)]
    assert found == [{"epoch": 1, "step": 4, "loss": pytest.approx(sum(losses) / len(data), rel=1e-5)}]


# The state of the optimizer, out and in

STATES = ("adam", "adam, decay", "adamw, decay", "sgd, nesterov", "sgd, decay", "rmsprop", "rmsprop, all")


@pytest.mark.parametrize("name", STATES)
def test_torch_goes_on_where_fit_stopped(name: str) -> None:
    options: dict[str, Any] = {"batch": 32, "rate": 1e-2} | OPTIONS[name]
    long = fit(smooth_net(), data := some_data(), training=Training(epochs=7, **options)).model
    training = Training(epochs=4, **options)
    short = fit(smooth_net(), data, training=training)
    optimizer = torch_optimizer(short.model, training)
    optimizer.load_state_dict(short.optimizer_state)
    plain_torch(short.model, ArrayBatches(data, training), training, optimizer, range(4, 7))
    for got, want in zip(parts(short.model), parts(long), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", STATES)
def test_fit_goes_on_where_torch_stopped(name: str) -> None:
    training = Training(**({"epochs": 3, "batch": 32, "rate": 1e-2} | OPTIONS[name]))
    batches = ArrayBatches(data := some_data(), training)
    plain = smooth_net()
    optimizer = torch_optimizer(plain, training)
    plain_torch(plain, batches, training, optimizer, range(10, 14))
    taken = copy.deepcopy(plain)
    fitted = fit(taken, data, training=training, optimizer_state=copy.deepcopy(optimizer.state_dict()))
    afresh = fit(copy.deepcopy(plain), data, training=training).model
    plain_torch(plain, batches, training, optimizer, range(3))
    for got, want in zip(parts(taken), parts(plain), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    if name != "sgd, decay":  # which has no state
        assert any(not torch.allclose(a, b, atol=1e-3) for a, b in zip(parts(afresh), parts(plain), strict=True))
        again = fit(copy.deepcopy(taken), data, training=training, optimizer_state=fitted.optimizer_state)
        assert fitted.optimizer_state["state"].keys() == again.optimizer_state["state"].keys()


def test_the_state_says_that_biases_do_not_decay() -> None:
    """One group for all would make plain torch decay them."""
    groups = fit(smooth_net(), some_data(), training=Training(epochs=1, weight_decay=0.1)).optimizer_state[
        "param_groups"
    ]
    assert [(g["weight_decay"], len(g["params"])) for g in groups] == [(0.1, 3), (0.0, 3)]


def test_a_state_of_something_else_is_refused() -> None:
    data, adam = some_data(), Training(epochs=1)
    state = fit(smooth_net(), data, training=adam).optimizer_state

    def refused(state: Mapping[str, Any], training: Training, model: nn.Module, text: str) -> None:
        with pytest.raises(LevshaError, match=text):
            fit(model, data, training=training, optimizer_state=state)

    refused(state, Training(epochs=1, optimizer="rmsprop"), smooth_net(), "does not fit rmsprop .*square_avg")
    refused(state, adam, net(nn.Linear(6, 3)), "is of parameters 0, 1, 2, 3, 4, 5; the model trains 0 to 1")
    wide = net(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3))
    refused(state, adam, wide, "parameter 0, 0.weight, has another shape")
    one = fit(net(nn.Linear(6, 1)), Arrays(data.x.take(torch.arange(64)), torch.zeros(64, 1)), training=adam)
    refused(one.optimizer_state, adam, net(nn.Linear(6, 3)), "has another shape")  # (1, 6) would broadcast to (3, 6)
    refused(state | {"param_groups": [{}] * 3}, adam, smooth_net(), "has 3 groups")


# Which models are chains


class MyLinear(nn.Linear):
    """May do anything."""


def hooked() -> nn.Module:
    model = smooth_net()
    model.get_submodule("0").register_forward_hook(lambda *_: None)
    return model


def watched_gradient() -> nn.Module:
    model = smooth_net()
    next(model.parameters()).register_hook(lambda g: g * 0.5)
    return model


def frozen() -> nn.Module:
    model = smooth_net()
    model.get_submodule("0").requires_grad_(False)
    return model


def shared_linear() -> nn.Module:
    same = nn.Linear(6, 6)
    return net(same, nn.Tanh(), same, nn.Tanh(), nn.Linear(6, 3))


def tied() -> nn.Module:
    model = net(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))
    model.get_submodule("2").weight = model.get_parameter("0.weight")
    return model


def shared_activation() -> nn.Module:
    same = nn.Tanh()
    return net(nn.Linear(6, 16), same, nn.Linear(16, 8), same, nn.Linear(8, 3))


class Convolved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv1d(1, 4, 3), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.conv(x[:, None]).tanh().flatten(1))


MODELS: dict[str, tuple[bool, Callable[[], nn.Module]]] = {
    "plain": (True, smooth_net),
    "one layer": (True, lambda: net(nn.Linear(6, 3))),
    "no bias": (True, lambda: net(nn.Linear(6, 3, bias=False))),
    "identities": (True, lambda: net(nn.Linear(6, 9), nn.Identity(), nn.ReLU(), nn.Identity(), nn.Linear(9, 3))),
    "dropout": (True, lambda: net(nn.Linear(6, 30), nn.ReLU(), nn.Dropout(0.1), nn.Linear(30, 3))),
    "one activation used twice": (True, shared_activation),
    "own module": (False, lambda: Own(smooth_net())),
    "nested": (False, lambda: net(smooth_net())),
    "hook": (False, hooked),
    "hook on a gradient": (False, watched_gradient),
    "frozen": (False, frozen),
    "one layer used twice": (False, shared_linear),
    "tied weights": (False, tied),
    # without bias: its gradient would be rounding errors, which Adam makes as large as any other step
    "batch normalisation": (
        False,
        lambda: net(nn.Linear(6, 9, bias=False), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3)),
    ),
    "subclass": (False, lambda: net(MyLinear(6, 9), nn.ReLU(), nn.Linear(9, 3))),
    "other activation": (False, lambda: net(nn.Linear(6, 9), nn.LeakyReLU(), nn.Linear(9, 3))),
    "two activations": (False, lambda: net(nn.Linear(6, 9), nn.Tanh(), nn.ReLU(), nn.Linear(9, 3))),
    "activation first": (False, lambda: net(nn.Tanh(), nn.Linear(6, 3))),
    "dropout before the activation": (
        False,
        lambda: net(nn.Linear(6, 30), nn.Dropout(0.1), nn.ReLU(), nn.Linear(30, 3)),
    ),
    "convolution": (False, Convolved),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_and_chains_are_known(name: str) -> None:
    is_chain, make = MODELS[name]
    torch.manual_seed(0)
    model = make()
    assert bool(chain_of(model)) == is_chain
    twin, training = copy.deepcopy(model), Training(epochs=20, batch=20, rate=1e-2)
    history = fit(model, data := some_data(), training=training).history
    assert history[-1]["loss"] < 0.75 * history[0]["loss"]
    if "dropout" not in name:  # there torch's own random numbers decide
        plain_torch(twin, ArrayBatches(data, training), training, torch_optimizer(twin, training), range(20))
        x = data.x.take(torch.arange(50)).clone()
        torch.testing.assert_close(predict(model, x), predict(twin.eval(), x), rtol=1e-3, atol=1e-4)


def test_a_chain_of_dropout_that_drops_everything_is_what_torch_makes_of_it() -> None:
    model = net(nn.Linear(6, 4), nn.Dropout(1.0), nn.Linear(4, 3))
    weight = model.get_parameter("0.weight")
    before = weight.detach().clone()
    fit(model, some_data(), training=Training(epochs=2, optimizer="sgd", rate=0.1))
    assert torch.equal(weight, before)


def test_frozen_parameters_stay_and_a_masked_gradient_is_masked() -> None:
    model, training = frozen(), Training(epochs=3)
    before = [p.detach().clone() for p in model.parameters()]
    fit(model, some_data(), training=training)
    assert [torch.equal(a, b) for a, b in zip(before, parts(model), strict=True)] == [True] * 2 + [False] * 4
    pruned = smooth_net()
    weight = pruned.get_parameter("0.weight")
    mask = (torch.rand(16, 6, generator=seeded()) > 0.5).float()
    with torch.no_grad():
        weight.mul_(mask)
    weight.register_hook(lambda g: g * mask)
    fit(pruned, some_data(), training=training)
    assert bool((weight[mask == 0] == 0).all()) and bool((weight[mask == 1] != 0).all())


def test_hooks_see_every_batch() -> None:
    model, seen = smooth_net(), []
    model.get_submodule("0").register_forward_hook(
        lambda module, inputs, output: seen.append(len(inputs[0])) if module.training else None
    )
    fit(model, some_data(), training=Training(epochs=2, batch=32))
    assert seen == [32, 32, 32, 4] * 2


def test_one_set_of_arrays_serves_a_chain_and_then_a_net_by_autograd() -> None:
    data, training = some_data(), Training(epochs=2, batch=32)
    first = fit(smooth_net(), data, data, training).model
    second = fit(Own(smooth_net()), data, data, training).model
    for got, want in zip(parts(second), parts(first), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_a_trained_model_is_an_ordinary_one() -> None:
    """It is in its state for use, copies, takes gradients and trains again."""
    model = fit(smooth_net(), data := some_data(), training=Training(epochs=1)).model
    assert not model.training
    copy.deepcopy(model)(torch.zeros(1, 6)).sum().backward()
    model(torch.zeros(2, 6)).sum().backward()
    assert all(p.grad is not None and p.is_leaf for p in model.parameters())
    fit(model, data, training=Training(epochs=1))


# Any model


def bars(rows: int, seed: int) -> Arrays:
    """Images of a horizontal or a vertical bar in noise."""
    generator = seeded(seed)
    x, y = torch.randn(rows, 1, 8, 8, generator=generator) * 0.3, torch.randint(2, (rows,), generator=generator)
    for image, upright, at in zip(x, y.tolist(), torch.randint(8, (rows,), generator=generator).tolist(), strict=True):
        image[(0, slice(None), at) if upright else (0, at)] += 1
    return Arrays(x, y)


def test_a_small_convolutional_net_learns_images() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.1), nn.Linear(72, 2),
    )  # fmt: skip
    accuracy = {"accuracy": lambda output, target: float((output.argmax(1) == target).float().mean())}
    training = Training(epochs=8, batch=32, rate=1e-2, loss="cross_entropy")
    fitted = fit(model, bars(400, 0), bars(200, 1), training, metrics=accuracy, watch="accuracy", higher=True)
    assert fitted.history[-1]["loss"] < 0.2 * fitted.history[0]["loss"]
    assert max(line["accuracy"] for line in fitted.history) > 0.95
    assert model.state_dict()["1.num_batches_tracked"] == fitted.best_epoch * 13


def test_batch_normalisation_and_dropout_train_reproducibly() -> None:
    def trained(seed: int) -> list[Tensor]:
        model = net(nn.Linear(6, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 3))
        fitted = fit(model, some_data(), training=Training(epochs=15, batch=20, rate=1e-2, seed=seed))
        assert fitted.history[-1]["loss"] < 0.5 * fitted.history[0]["loss"]
        return list(model.state_dict().values())

    first, again, other = trained(0), trained(0), trained(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_outputs_with_more_axes_have_torchs_mean() -> None:
    """A class for each of 4 positions: torch's mean is over samples and positions."""
    x = torch.randn(16, 6, generator=seeded(1))
    y = torch.softmax(torch.randn(16, 3, 4, generator=seeded(2)), 1)
    model = net(nn.Linear(6, 12), nn.Unflatten(1, (3, 4)))
    for loss in ("cross_entropy", "mse", "smooth_l1"):
        step = AutogradStep(copy.deepcopy(model), Training(loss=loss))
        torch.testing.assert_close(step(Batch(x, y, 16), 0), find_loss(loss).value(model(x), y).detach())


# Dropout in a chain


def test_dropout_keeps_the_expectation() -> None:
    """The mean absolute distance from a far target is linear in the output; so its mean over many masks must be that without dropout."""
    model = net(nn.Linear(4, 32), nn.Dropout(0.3), nn.Linear(32, 1)).double()
    batch = Batch(torch.randn(8, 4, generator=seeded(1), dtype=torch.float64), torch.full((8, 1), -1e3).double(), 8)
    step = chain_step(model, Training(loss="l1"))
    losses = torch.stack([step(batch, done) for done in range(4000)])
    want = predict(model, batch.x).mean().item() + 1e3
    error = float(losses.std()) / 4000**0.5
    assert error > 0 and abs(float(losses.mean()) - want) < 4 * error
    assert len(losses.unique()) == 4000, "every step has masks of its own"


def test_dropout_is_a_function_of_seed_step_and_process() -> None:
    batch = Batch(torch.randn(8, 4, generator=seeded(1)), torch.zeros(8, 1), 8)

    def loss(seed: int, done: int, rank: int) -> float:
        model = net(nn.Linear(4, 32), nn.Dropout(0.3), nn.Linear(32, 1))
        return float(chain_step(model, Training(seed=seed), rank)(batch, done))

    points = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (4096, 0, 0), (1 << 30, 0, 0)]
    found = [loss(*point) for point in points]
    assert found == [loss(*point) for point in points]
    assert len(set(found)) == len(points)

    def trained(seed: int) -> Tensor:
        model = net(nn.Linear(6, 24), nn.Tanh(), nn.Dropout(0.2), nn.Linear(24, 3))
        return fit(model, some_data(), training=Training(epochs=2, batch=0, seed=seed)).model.state_dict()["0.weight"]

    assert torch.equal(trained(0), trained(0)) and not torch.equal(trained(0), trained(1))


@pytest.mark.parametrize("make", [chain_step, AutogradStep])
def test_dropout_has_nothing_to_do_with_the_samples_of_a_stream(make: Callable[..., ChainStep | AutogradStep]) -> None:
    """Masks from the same random numbers as the samples would keep just the large inputs: a mean of 12, not of 8."""
    training = Training(loss="l1", batch=64)
    stream = Stream(lambda generator, n: (torch.rand(n, 16, generator=generator), torch.full((n, 1), -1e3)), 20)
    model = net(nn.Linear(16, 16, bias=False), nn.Dropout(0.5), nn.Linear(16, 1, bias=False))
    with torch.no_grad():
        model.get_parameter("0.weight").copy_(torch.eye(16))
        model.get_parameter("2.weight").fill_(1.0)
    step = make(model, training)
    outputs = [float(step(batch, done)) - 1e3 for done, batch in enumerate(StreamBatches(stream, training).epoch(0))]
    assert abs(sum(outputs) / 20 - 8) < 0.5
