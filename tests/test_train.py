"""Training: the written-out backward equals autograd; the fake-quantised net equals the interpreter; pruning really prunes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from levsha.data.pairs import split_samples
from levsha.errors import LevshaError
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.lower.diagnose import run_integers
from levsha.recipes.tinychat.chain import Chain
from levsha.recipes.tinychat.integer import counts_of, lower_chat
from levsha.recipes.tinychat.recipe import RECIPE, check_vectors
from levsha.recipes.tinychat.samples import ChatBatches, Corpus, QueryTable
from levsha.recipes.tinychat.score import references
from levsha.recipes.tinychat.settings import TinyChat, top_of
from levsha.train.mlp import EPSILON, Mlp, Quantisation, calibrate, estimate_norm, forward, init_mlp, prune
from levsha.train.norm_step import NormStep, train
from levsha.train.schedule import Schedule


def torch_twin(mlp: Mlp) -> nn.Sequential:
    """The same net from torch's own modules."""
    modules: list[nn.Module] = []
    for index, weight in enumerate(mlp.weight_OI):
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        norm = nn.BatchNorm1d(weight.shape[0], eps=EPSILON)
        with torch.no_grad():
            linear.weight.copy_(weight)
            norm.weight.copy_(mlp.gamma_O[index])
            norm.bias.copy_(mlp.beta_O[index])
        modules += [linear, norm, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def random_net(widths: list[int]) -> Mlp:
    mlp = init_mlp(widths, 1)
    generator = torch.Generator().manual_seed(2)
    for part in (*mlp.gamma_O, *mlp.beta_O):
        part.add_(torch.randn(part.shape, generator=generator) * 0.3)
    return mlp


def test_backward_equals_autograd() -> None:
    mlp, x = random_net([12, 9, 7, 5]), torch.randn(32, 12)
    target = torch.softmax(torch.randn(32, 5), 1)
    step = NormStep(mlp, Schedule(), None, 0)
    logits = step.forward(x)
    step.backward(logits, target)
    twin = torch_twin(mlp)
    want = twin(x)
    nn.functional.cross_entropy(want, target).backward()
    torch.testing.assert_close(logits, want.detach())
    gradients = {id(p): p.grad for p in twin.parameters()}
    linears, norms = list(twin)[0::3], list(twin)[1::3]
    for layer in range(3):
        torch.testing.assert_close(step.weight_grad[layer], gradients[id(linears[layer].weight)])
        torch.testing.assert_close(step.gamma_grad[layer], gradients[id(norms[layer].weight)])
        torch.testing.assert_close(step.beta_grad[layer], gradients[id(norms[layer].bias)])


@pytest.mark.parametrize("weights", FORMATS)
def test_quantised_backward_is_straight_through(weights: str) -> None:
    """Against autograd on the same formulas, with each rounding detached."""
    mlp, x = random_net([12, 9, 5]), torch.randint(0, 4, (32, 12)).float()
    target = torch.softmax(torch.randn(32, 5), 1)
    quantisation = Quantisation(FORMATS[weights], 15)
    mlp = calibrate(estimate_norm(mlp, x), x, 15, 90)
    step = NormStep(mlp, Schedule(), quantisation, 0)
    step.backward(step.forward(x), target)
    parameters = [w.clone().requires_grad_() for w in mlp.weight_OI]
    h = y = x
    for layer, weight in enumerate(parameters):
        integers, scale = quantisation.weights(weight.detach())
        used = weight + (integers * scale - weight).detach()
        z = h @ used.t()
        y = nn.functional.batch_norm(z, None, None, mlp.gamma_O[layer], mlp.beta_O[layer], True, 0.0, EPSILON)
        if layer == 0:
            units = y / mlp.step[0]
            soft = units.clamp(0, 15.5)
            h = (soft + (torch.floor(units + 0.5).clamp(0, 15) - soft).detach()) * mlp.step[0]
    nn.functional.cross_entropy(y, target).backward()
    for got, want in zip(step.weight_grad, parameters, strict=True):
        torch.testing.assert_close(got, want.grad, rtol=1e-3, atol=1e-5)


class Blobs:
    """Three classes that a small net separates."""

    def __len__(self) -> int:
        return 8

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        generator = torch.Generator().manual_seed(number)
        for _ in range(start, 8):
            label = torch.randint(0, 3, (64,), generator=generator)
            centre = torch.eye(3, 6)[label] * 3
            yield centre + torch.randn(64, 6, generator=generator), nn.functional.one_hot(label, 3).float(), None


@pytest.mark.parametrize("options", [{}, {"dropout": 0.2}, {"average": 0.99}, {"weight_decay": 0.1}])
def test_training_learns(options: dict) -> None:
    mlp, history = train(init_mlp([6, 16, 3], 0), Blobs(), Schedule(epochs=15, rate=1e-2, **options))
    x, target, _ = next(iter(Blobs().epoch(99)))
    mlp = estimate_norm(mlp, x)
    assert history[-1] < history[0] / 2
    assert (forward(mlp, x)[-1].argmax(1) == target.argmax(1)).float().mean() > 0.9


def test_training_is_reproducible_and_leaves_its_argument_alone() -> None:
    start = init_mlp([6, 8, 3], 0)
    kept = [w.clone() for w in start.weight_OI]
    runs = [train(start, Blobs(), Schedule(epochs=2, dropout=0.1), seed=5)[0] for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(runs[0].weight_OI, runs[1].weight_OI, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(start.weight_OI, kept, strict=True))


def test_a_diverging_loss_stops_with_advice() -> None:
    class Broken(Blobs):
        def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
            for x, target, known in super().epoch(number, start):
                yield x * float("nan"), target, known

    with pytest.raises(
        LevshaError, match=r"the loss is nan at step 1: epoch 1, batch 1 of 8\. Try a lower rate than 0\.002"
    ):
        train(init_mlp([6, 8, 3], 0), Broken(), Schedule())


def test_pruning_makes_the_net_smaller_and_keeps_the_strongest() -> None:
    mlp = random_net([12, 10, 8, 4])
    strongest = int((mlp.gamma_O[0].abs() * mlp.weight_OI[1].abs().sum(0)).argmax())
    small = prune(mlp, 0.5)
    assert small.widths == [12, 5, 4, 4]
    assert any(torch.equal(row, mlp.weight_OI[0][strongest]) for row in small.weight_OI[0])


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(RECIPE.read(TinyChat()))


@pytest.mark.parametrize("hidden", [(24,), (20, 12), (40, 24, 16)])
@pytest.mark.parametrize("weights", FORMATS)
def test_the_lowered_net_is_the_one_that_was_trained(weights: str, hidden: tuple[int, ...], corpus: Corpus) -> None:
    """Every format, trained for a moment so that scales, signs and dead neurons are those of real nets."""
    train_index, _ = split_samples(corpus.samples, "queries", 0)
    grid = FORMATS[weights]
    quantisation = Quantisation(grid, top_of(grid))
    x = corpus.inputs(train_index)
    mlp = init_mlp([256, *hidden, len(corpus.pairs.charset)], 0)
    few = train_index[:4000]
    batches = ChatBatches(corpus, few, QueryTable(corpus, few, 1, False, 0), Schedule(), 0.5, 0)
    mlp = calibrate(estimate_norm(mlp, x), x, quantisation.top, 99.9)
    mlp = estimate_norm(train(mlp, batches, Schedule(epochs=2, rate=1e-2), quantisation)[0], x, quantisation)
    lowered = lower_chat(mlp, grid, x, corpus.pairs.charset)
    values = interpret(lowered.graph, check_vectors(corpus.pairs, corpus.samples, 500, 0))
    counts = np.concatenate([values["query_counts"], values["context_counts"]], 1)
    logits = run_integers(lowered, counts_of(values)) / lowered.layers[-1].own_integer.step
    np.testing.assert_array_equal(np.rint(logits).astype(np.int64), values["logits"])
    float_logits = forward(mlp, torch.from_numpy(counts).float(), quantisation)[-1].numpy()
    agree = (float_logits.argmax(1) == values["choice"][:, 0])[::2].mean()  # the real half of the vectors
    assert agree > 0.9, "the integers are not the net that was trained"


def test_a_chain_makes_every_variant_in_seconds_and_beats_the_end_mark(corpus: Corpus, tmp_path: Path) -> None:
    from dataclasses import replace

    settings = TinyChat()
    brief = {name: replace(settings.schedule(name), epochs=3, rate=6e-3) for name in FORMATS}
    settings = replace(
        settings,
        hidden=(48, 32),
        train=replace(settings.train, epochs=4, noisy_queries=2),
        prune=replace(settings.prune, epochs=3),
        quantise=replace(settings.quantise, **brief),
        variants=("baseline", "pruned", *(f"pruned-{name}" for name in FORMATS), "baseline-binary"),
    )
    split = split_samples(corpus.samples, "queries", 0)
    chain = Chain(settings, corpus, "queries", 0, split, tmp_path, lambda *_: None)
    made = references(corpus, "queries", 0, split, tmp_path)
    metrics = {variant.name: chain.make(variant) for variant in settings.made}
    assert all(m["accuracy"] > made["end_mark"] + 5 for m in metrics.values())
    assert metrics["pruned"]["parameters"] < 0.55 * metrics["baseline"]["parameters"]
    sizes = [metrics[f"pruned-{name}"]["weight_bytes"] for name in ("binary", "ternary", "two_bit", "int4", "int8")]
    assert sizes == sorted(sizes)
    stamps = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    again = Chain(settings, corpus, "queries", 0, split, tmp_path, lambda *_: pytest.fail("trained again"))
    assert {variant.name: again.make(variant) for variant in settings.made} == metrics
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == stamps
