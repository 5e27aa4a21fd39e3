"""How much faster the whole training of tinychat is than the same training in plain torch: CPU time, interleaved rounds.

Preset quick with a twelfth of its epochs, its own corpus, one split: baseline, pruned, int4, two_bit, ternary, binary.  The plain
training has the same batches, nets, losses and teachers, made of nn.Linear, nn.BatchNorm1d, autograd (rounding passed straight
through) and torch.optim.AdamW.  Writes benchmarks/out/train_tinychat.json.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from levsha.data.pairs import split_samples
from levsha.formats import FORMATS
from levsha.recipes.tinychat.chain import Chain
from levsha.recipes.tinychat.recipe import RECIPE
from levsha.recipes.tinychat.samples import Corpus
from levsha.recipes.tinychat.settings import TinyChat
from levsha.train.mlp import EPSILON, Mlp, Quantisation
from levsha.train.norm_step import train
from levsha.train.schedule import Schedule
from levsha.train.settings import rate_factor

ROUNDS, SHARE = 5, 12
OUT = Path(__file__).parent / "out" / "train_tinychat.json"


class PlainNet(nn.Module):
    """The same net as torch's own modules."""

    def __init__(self, mlp: Mlp, schedule: Schedule, quantisation: Quantisation | None) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(w.clone()) for w in mlp.weight_OI])
        self.norms = nn.ModuleList([nn.BatchNorm1d(len(g), eps=EPSILON) for g in mlp.gamma_O])
        with torch.no_grad():
            for norm, gamma, beta in zip(self.norms, mlp.gamma_O, mlp.beta_O, strict=True):
                norm.load_state_dict(norm.state_dict() | {"weight": gamma, "bias": beta})
        self.quantisation, self.step, self.dropout = quantisation, mlp.step, nn.Dropout(schedule.dropout)

    def forward(self, x: Tensor) -> Tensor:
        q = self.quantisation
        for k, (weight, norm) in enumerate(zip(self.weights, self.norms, strict=True)):
            if q:
                integers, scale = q.weights(weight.detach())
                weight = weight + (integers * scale - weight).detach()
            x = norm(functional.linear(x, weight))
            if k == len(self.weights) - 1:
                return x
            if q:
                soft = (x / self.step[k]).clamp(0, q.top + 0.5)
                x = (soft + (torch.floor(soft + 0.5).clamp(0, q.top) - soft).detach()) * self.step[k]
            else:
                x = functional.relu(x)
            x = self.dropout(x)
        return x


def plain_train(
    mlp: Mlp, batches: Any, schedule: Schedule, quantisation: Quantisation | None = None, teacher: Any = None, seed: int = 0, *_: Any
) -> tuple[Mlp, list[float]]:  # fmt: skip
    torch.manual_seed(seed)
    net, training = PlainNet(mlp, schedule, quantisation), schedule.training(seed)
    optimizer = torch.optim.AdamW(net.parameters(), schedule.rate, (0.9, 0.99), weight_decay=schedule.weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: rate_factor(training, k + 1, schedule.epochs * len(batches), len(batches))
    )
    history = []
    for epoch in range(schedule.epochs):
        total = 0.0
        for x, target, known in batches.epoch(epoch):
            if teacher and schedule.distil:
                share = schedule.distil if known is None else 1 - known * (1 - schedule.distil)
                target = torch.lerp(target, teacher(x), share)
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(x), target)
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item()
        history.append(total / len(batches))
    parameters = [p.detach() for p in net.parameters()]  # weights, then gamma and beta of every layer in turn
    n = len(mlp.weight_OI)
    gamma, beta = parameters[n::2], parameters[n + 1 :: 2]
    return replace(mlp, weight_OI=parameters[:n], gamma_O=gamma, beta_O=beta, mean_O=[], var_O=[]), history


def brief(schedule: Any) -> Any:
    return replace(schedule, epochs=-(-schedule.epochs // SHARE))


def run_chain(settings: TinyChat, corpus: Corpus, trainer: Any) -> float:
    """Make every variant; return the CPU seconds spent in training alone."""
    spent = 0.0

    def timed(*arguments: Any) -> Any:
        nonlocal spent
        start = time.process_time()
        result = trainer(*arguments)
        spent += time.process_time() - start
        return result

    with tempfile.TemporaryDirectory() as folder:
        split = split_samples(corpus.samples, "queries", 0)
        chain = Chain(settings, corpus, "queries", 0, split, Path(folder), lambda *_: None, trainer=timed)
        for variant in settings.made:
            chain.make(variant)
    return spent


def main() -> None:
    torch.set_num_threads(1)
    settings = TinyChat()
    quantise = replace(settings.quantise, **{name: brief(settings.schedule(name)) for name in FORMATS})
    settings = replace(settings, train=brief(settings.train), prune=brief(settings.prune), quantise=quantise)
    corpus = Corpus(RECIPE.read(settings))
    took: dict[str, list[float]] = {"plain torch": [], "levsha": []}
    for _ in range(ROUNDS):
        took["plain torch"].append(run_chain(settings, corpus, plain_train))
        took["levsha"].append(run_chain(settings, corpus, train))
    ratio = statistics.median(a / b for a, b in zip(took["plain torch"], took["levsha"], strict=True))
    for name, seconds in took.items():
        print(
            f"{name:<12} {statistics.median(seconds):6.1f} s of CPU time to train all variants with 1/{SHARE} of the epochs"
        )
    print(f"the whole training of tinychat is {ratio:.2f} times as fast as in plain torch")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"tinychat": round(ratio, 3)}) + "\n")


if __name__ == "__main__":
    main()
