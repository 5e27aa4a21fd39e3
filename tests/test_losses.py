"""Losses and learning rates by name: torch's own values, finite where logits are huge, and every refusal says what is wrong."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from levsha.errors import LevshaError
from levsha.train.autograd import AutogradStep
from levsha.train.batch import Batch
from levsha.train.chain import ChainStep, chain_of
from levsha.train.losses import batch_scale, find_loss, loss
from levsha.train.settings import LOSSES, REDUCTIONS, SCHEDULES, Training, rate_factor

torch.set_num_threads(1)  # as in a training

TORCH = {
    "mse": functional.mse_loss,
    "cross_entropy": functional.cross_entropy,
    "bce": functional.binary_cross_entropy,
    "bce_with_logits": functional.binary_cross_entropy_with_logits,
    "l1": functional.l1_loss,
    "smooth_l1": functional.smooth_l1_loss,
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_torchs(name: str, reduction: str) -> None:
    z, y = torch.randn(9, 4, generator=seeded()) * 2, torch.randn(9, 4, generator=seeded(1)) * 2
    z = torch.sigmoid(z) if name == "bce" else z
    y = torch.sigmoid(y) if name.startswith("bce") else torch.softmax(y, 1) if name == "cross_entropy" else y
    found = loss(name, z, y, reduction)
    assert torch.equal(found, TORCH[name](z, y, reduction=reduction))
    assert found.shape == (() if reduction != "none" else (9,) if name == "cross_entropy" else (9, 4))
    if name == "cross_entropy":
        number = torch.randint(4, (9,), generator=seeded(2))
        assert torch.equal(loss(name, z, number, reduction), TORCH[name](z, number, reduction=reduction))


def test_loss_takes_gradients_and_the_mean_unless_told_otherwise() -> None:
    z = torch.tensor([[1.0], [4.0]], requires_grad=True)
    found = loss("mse", z, torch.tensor([[0.0], [2.0]]))
    found.backward()
    assert found.item() == 2.5 and z.grad is not None and z.grad.tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize("name", LOSSES)
def test_a_training_scales_a_sum_to_torchs_mean(name: str) -> None:
    """Also for a share without samples, which the last batch of several processes may have."""
    y = torch.softmax(torch.randn(6, 3, generator=seeded()), 1)
    z = torch.rand(6, 3, generator=seeded(1))
    scale = batch_scale(Training(loss=name), 6, z)
    assert float(loss(name, z, y, "sum")) * scale == pytest.approx(float(loss(name, z, y)), rel=1e-6)
    assert batch_scale(Training(loss=name), 6, z[:0]) == scale
    assert batch_scale(Training(loss=name, reduction="sum"), 6, z) == 1.0


# Extreme logits


def extreme(size: float) -> Tensor:
    """Every combination of a large, a small and a middling logit."""
    return torch.tensor(list(product((-size, -1.0, 0.0, size), repeat=3)))


def passing(outputs: int, *more: nn.Module) -> nn.Sequential:
    """A net that gives out what it takes in, so that its inputs are the logits."""
    linear = nn.Linear(outputs, outputs, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(outputs))
    return nn.Sequential(linear, *more)


@pytest.mark.parametrize("size", [30.0, 100.0, 1e4])
@pytest.mark.parametrize("name", ["cross_entropy", "cross_entropy of numbers", "bce", "bce_with_logits"])
def test_extreme_logits_give_finite_losses_and_gradients(name: str, size: float) -> None:
    z = extreme(size)
    name, _, numbers = name.partition(" of ")
    for column in range(3):
        y = torch.full((len(z),), column) if numbers else functional.one_hot(torch.full((len(z),), column), 3).float()
        value = loss(name, torch.sigmoid(z) if name == "bce" else z, y, "none")
        assert bool(torch.isfinite(value).all()) and bool((value >= 0).all())
        training, found = Training(loss=name), []
        for way in (chain_of, lambda _: None):
            model = passing(3, *([nn.Sigmoid()] if name == "bce" else []))
            links = way(model)
            step = ChainStep(model, links, training) if links else AutogradStep(model, training)
            found.append((step(Batch(z, y, len(z)), 0).clone(), step.flat.grad))
            assert bool(torch.isfinite(found[-1][0])) and bool(torch.isfinite(found[-1][1]).all())
        torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-3)
        assert float(found[0][0]) == pytest.approx(float(value.mean()), rel=1e-4)


def test_the_right_class_with_certainty_costs_nothing_and_the_wrong_one_its_distance() -> None:
    z = torch.tensor([[1e4, -1e4, 0.0]])
    assert [float(loss("cross_entropy", z, torch.tensor([k]))) for k in range(3)] == [0.0, 2e4, 1e4]
    logit = torch.tensor([[1e4], [-1e4]])
    assert loss("bce_with_logits", logit, torch.tensor([[1.0], [1.0]]), "none").tolist() == [[0.0], [1e4]]
    assert loss("bce", torch.sigmoid(logit), torch.tensor([[1.0], [1.0]]), "none").tolist() == [[0.0], [100.0]]


def test_a_bce_that_diverged_is_no_number_in_both_steps() -> None:
    """Torch raises an error of its own there, which would say neither step nor batch."""
    batch = Batch(torch.full((4, 2), math.nan), torch.zeros(4, 2), 4)
    model = passing(2, nn.Sigmoid())
    links = chain_of(model)
    assert links
    assert math.isnan(float(ChainStep(model, links, Training(loss="bce"))(batch, 0)))
    assert math.isnan(float(AutogradStep(model, Training(loss="bce"))(batch, 0)))
    assert bool(torch.isnan(loss("bce", batch.x, batch.y, "none")).all())


# What is refused


def refused(text: str, name: str, output: Tensor, target: Tensor, reduction: str = "mean") -> None:
    with pytest.raises(LevshaError, match=text):
        loss(name, output, target, reduction)


def test_unknown_names_list_what_there_is() -> None:
    one = torch.ones(2, 1)
    there_are = "mse, cross_entropy, bce, bce_with_logits, l1, smooth_l1"
    refused(f"loss 'hinge': unknown; there are {there_are}", "hinge", one, one)
    refused(f"there are {there_are}", "hinge", one, torch.zeros(2).long())
    refused("reduction 'max': unknown; there are mean, sum, none", "mse", one, one, "max")
    with pytest.raises(LevshaError, match=there_are):
        find_loss("")


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_that_torch_would_broadcast_are_refused(name: str) -> None:
    """(N, 1) with (N,) becomes (N, N) in torch, with a warning at most: the classic silent mistake."""
    output, target = torch.full((5, 1), 0.5), torch.full((5,), 0.5)
    refused(r"output is \(5, 1\), the target \(5,\) of torch.float32", name, output, target)
    refused(r"output is \(5, 3\), the target \(5, 1\)", name, output.expand(5, 3), output)
    refused(r"output is \(5, 1\), the target \(1, 1\)", name, output, output[:1])
    if name != "cross_entropy":
        assert float(loss(name, output, target[:, None])) >= 0


def test_whole_numbers_are_targets_of_cross_entropy_only() -> None:
    output = torch.full((5, 3), 0.5)
    for name in set(LOSSES) - {"cross_entropy"}:
        refused("torch.int64; both must have the same shape and be floating", name, output, output.long())
    for target in (torch.zeros(5, 1).long(), torch.zeros(4).long(), torch.zeros(5).int(), torch.zeros(5, 3).long()):
        refused(r"needed are \(N, classes\) and class numbers \(N,\) of torch.int64", "cross_entropy", output, target)


def test_values_out_of_range_are_named() -> None:
    output = torch.full((3, 4), 0.5)
    refused("class numbers are 0 to 4; 4 outputs allow 0 to 3", "cross_entropy", output, torch.tensor([0, 4, 1]))
    refused("class numbers are -1 to 3; 4 outputs allow 0 to 3", "cross_entropy", output, torch.tensor([3, -1, 1]))
    for name in ("bce", "bce_with_logits", "cross_entropy"):
        refused(
            f"{name}: targets are -0.5 to 1.5; probabilities are 0 to 1",
            name,
            output[:, :2],
            torch.tensor([[1.5, -0.5]] * 3),
        )
    for shape in ((3, 4), (3, 1), (3,)):
        one = torch.full(shape, 0.5)
        refused(r"targets does not sum to 1; give class numbers \(N,\), or a probability", "cross_entropy", one, one)
    refused(
        "outputs are 0.5 to 2; they must be probabilities.*nn.Sigmoid",
        "bce",
        torch.tensor([[0.5, 2.0]]),
        torch.ones(1, 2),
    )


# Learning rates


def torch_factors(training: Training, steps: int, make: Any, every: int = 1) -> list[float]:
    """The rates that torch uses for the steps, as shares of the highest; the scheduler steps after every so many."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], training.rate)
    scheduler, rates = make(optimizer), []
    for k in range(1, steps + 1):
        rates.append(optimizer.param_groups[0]["lr"] / training.rate)
        optimizer.step()
        if k % every == 0:
            scheduler.step()
    return rates


def factors(training: Training, total: int, per_epoch: int = 1) -> list[float]:
    return [rate_factor(training, k, total, per_epoch) for k in range(1, total + 1)]


@settings(deadline=None)  # the first call loads half of torch.optim
@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 5), st.sampled_from([0.1, 0.5, 0.97]))
def test_step_is_torchs_step_lr(epochs: int, per_epoch: int, step_epochs: int, factor: float) -> None:
    """Torch's scheduler steps at the end of every epoch; step k, counted from 1, has what torch has after k - 1 steps."""
    training = Training(schedule="step", step_epochs=step_epochs, step_factor=factor, rate=0.5)
    total = epochs * per_epoch
    want = torch_factors(training, total, lambda o: lr_scheduler.StepLR(o, step_epochs, factor), per_epoch)
    assert factors(training, total, per_epoch) == pytest.approx(want, rel=1e-9)


@settings(deadline=None)
@given(st.integers(1, 200))
def test_cosine_is_torchs_one_step_on(total: int) -> None:
    """Step k of n has 0.5 (1 + cos(pi k / n)): what torch's CosineAnnealingLR has after k steps, not after k - 1.

    So the last step's rate is zero, and none is spent at the full rate; torch's first is at the full rate, and it never comes to zero.
    """
    training = Training(schedule="cosine")
    want = torch_factors(training, total + 1, lambda o: lr_scheduler.CosineAnnealingLR(o, total))
    assert factors(training, total) == pytest.approx(want[1:], abs=1e-9)
    assert factors(training, total)[-1] == pytest.approx(0, abs=1e-12)


@settings(deadline=None)
@given(st.integers(4, 300), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9]))
def test_one_cycle_is_torchs(total: int, rising: float) -> None:
    share = rising or 0.3
    assume(share * total > 1)  # the rise has to have a step
    training = Training(schedule="one_cycle", warmup=rising, rate=0.5)
    want = torch_factors(
        training, total, lambda o: lr_scheduler.OneCycleLR(o, 0.5, total, pct_start=share, cycle_momentum=False)
    )
    assert factors(training, total) == pytest.approx(want, rel=1e-6, abs=1e-9)


def test_constant_is_constant() -> None:
    assert factors(Training(), 10) == [1.0] * 10


@settings(deadline=None)
@given(st.sampled_from(["constant", "step", "cosine"]), st.integers(2, 300), st.sampled_from([0.05, 0.1, 0.5, 0.9]))
def test_warm_up_is_linear_and_ends_at_the_highest_rate(schedule: str, total: int, warmup: float) -> None:
    training = Training(schedule=schedule, warmup=warmup, step_epochs=1000)
    warm = max(1, math.floor(warmup * total + 1e-9))
    found = factors(training, total)
    assert found[:warm] == pytest.approx([k / warm for k in range(1, warm + 1)])
    assert all(a >= b for a, b in zip(found[warm - 1 :], found[warm:], strict=False)), "after it, only down"


@settings(deadline=None)
@given(st.sampled_from(SCHEDULES), st.integers(1, 50), st.integers(1, 10), st.sampled_from([0.0, 0.1, 0.9]))
def test_every_rate_lies_between_zero_and_the_highest(
    schedule: str, epochs: int, per_epoch: int, warmup: float
) -> None:
    total = epochs * per_epoch
    assert all(0 <= f <= 1 for f in factors(Training(schedule=schedule, warmup=warmup), total, per_epoch))


# Settings that cannot train

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "optimizer": ({"optimizer": "lion"}, "--train.optimizer: there is no 'lion'; there are adam, adamw, sgd, rmsprop."),
    "loss": (
        {"loss": "hinge"},
        "--train.loss: there is no 'hinge'; there are mse, cross_entropy, bce, bce_with_logits, l1, smooth_l1.",
    ),
    "schedule": (
        {"schedule": "linear"},
        "--train.schedule: there is no 'linear'; there are constant, step, cosine, one_cycle.",
    ),
    "sampling": (
        {"sampling": "random"},
        "--train.sampling: there is no 'random'; there are without_replacement, with_replacement, weighted.",
    ),
    "reduction": ({"reduction": "max"}, "--train.reduction: there is no 'max'; there are mean, sum, none."),
    "zero epochs": ({"epochs": 0}, "--train.epochs: is 0; allowed are 1 to 1000000."),
    "negative rate": ({"rate": -0.1}, "--train.rate: is -0.1; allowed are 1e-12 to 1000.0."),
    "rate that is no number": ({"rate": math.nan}, "--train.rate: is nan; allowed are 1e-12 to 1000.0."),
    "negative batch": ({"batch": -1}, "--train.batch: is -1; allowed are 0 to 16777216."),
    "momentum with adam": ({"momentum": 0.9}, "--train.momentum: adam has none; it is a setting of sgd, rmsprop."),
    "nesterov with rmsprop": (
        {"optimizer": "rmsprop", "momentum": 0.9, "nesterov": True},
        "--train.nesterov: rmsprop has none; it is a setting of sgd.",
    ),
    "centered with sgd": (
        {"optimizer": "sgd", "centered": True},
        "--train.centered: sgd has none; it is a setting of rmsprop.",
    ),
    "nesterov without momentum": (
        {"optimizer": "sgd", "nesterov": True},
        "--train.nesterov: needs momentum; set --train.momentum, such as 0.9.",
    ),
    "reduction none": (
        {"reduction": "none"},
        "--train.reduction: is none; a training needs one number a step: mean or sum.",
    ),
    "weight decay": ({"weight_decay": -1.0}, "--train.weight-decay: is -1.0; allowed are 0.0 to 10.0."),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_cannot_train_are_refused(name: str) -> None:
    options, text = WRONG[name]
    with pytest.raises(LevshaError) as error:
        Training(**options).check()
    assert str(error.value) == text


def test_settings_that_can_are_not_and_the_prefix_is_the_users() -> None:
    Training().check()
    Training(optimizer="sgd", momentum=0.9, nesterov=True, batch=0, reduction="sum", sampling="weighted").check()
    with pytest.raises(LevshaError, match=r"^--tune.epochs: is 0"):
        Training(epochs=0).check("tune")


def test_an_unknown_keep_is_refused() -> None:
    wrong: dict[str, Any] = {"keep": "frist"}
    with pytest.raises(LevshaError, match=r"--train.keep: there is no 'frist'; there are best, last"):
        Training(**wrong).check()
