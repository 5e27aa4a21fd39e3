"""What fit does with data that changed, that is large, and with models of many kinds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import levsha.data.sampling
from levsha.data.rows import map_rows
from levsha.data.sampling import Order, permute
from levsha.errors import LevshaError
from levsha.train.batch import Arrays
from levsha.train.fit import fit
from levsha.train.log import read_log
from levsha.train.settings import Training

x = torch.randn(96, 5, generator=torch.Generator().manual_seed(0))
y = x[:, :1] * 2 - x[:, 1:2]
BRIEF = Training(epochs=3, batch=16, rate=0.01, checkpoint_seconds=0.0)


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))


def trained_steps(folder: Path, data: Arrays, model: nn.Module | None = None, training: Training = BRIEF) -> int:
    """Train in a folder, whatever it holds; return how many epochs were really trained."""
    epochs: list[float] = []
    fit(
        model or net(),
        data,
        training=training,
        folder=folder,
        report=lambda p: epochs.append(p.line["epoch"]),
        replace=True,
    )
    return len(epochs)


def test_other_data_in_the_same_folder_trains_anew(tmp_path: Path) -> None:
    assert trained_steps(tmp_path, Arrays(x, y)) == 3
    assert trained_steps(tmp_path, Arrays(x, y)) == 0, "the same data goes on, which here means is finished"
    shuffled = y[torch.randperm(96, generator=torch.Generator().manual_seed(2))]
    assert trained_steps(tmp_path, Arrays(x, shuffled)) == 3
    weighted = Training(epochs=3, batch=16, sampling="weighted")
    assert trained_steps(tmp_path, Arrays(x, y, torch.ones(96)), training=weighted) == 3
    assert trained_steps(tmp_path, Arrays(x, y, torch.arange(96) + 1.0), training=weighted) == 3


def test_other_data_on_the_disk_trains_anew(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", x.numpy())
    np.save(tmp_path / "y.npy", y.numpy())
    data = Arrays(map_rows(tmp_path / "x.npy"), map_rows(tmp_path / "y.npy"))
    assert (trained_steps(tmp_path / "run", data), trained_steps(tmp_path / "run", data)) == (3, 0)
    np.save(tmp_path / "y.npy", -y.numpy())
    data = Arrays(map_rows(tmp_path / "x.npy"), map_rows(tmp_path / "y.npy"))
    assert trained_steps(tmp_path / "run", data) == 3


def test_another_frozen_backbone_trains_anew_and_is_left_alone(tmp_path: Path) -> None:
    def model(value: float) -> nn.Module:
        backbone = nn.Linear(5, 8)
        nn.init.constant_(backbone.weight, value)
        backbone.requires_grad_(False)
        torch.manual_seed(3)
        return nn.Sequential(backbone, nn.ReLU(), nn.Linear(8, 1))

    assert trained_steps(tmp_path, Arrays(x, y), model(0.1)) == 3
    other = model(0.2)
    assert trained_steps(tmp_path, Arrays(x, y), other) == 3
    assert (other[0].weight == 0.2).all()  # type: ignore[index]


def test_the_log_is_cut_and_the_history_whole_after_a_restart(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(progress) -> None:
        if progress.line["epoch"] == 2:
            raise StopError

    with pytest.raises(StopError):
        fit(net(), (x, y), training=BRIEF, folder=tmp_path, report=stop)
    fitted = fit(net(), (x, y), training=BRIEF, folder=tmp_path)
    assert [line["epoch"] for line in fitted.history] == [1, 2, 3]
    assert fitted.history == read_log(tmp_path / "metrics.jsonl")


def test_the_loss_of_an_epoch_is_a_samples(tmp_path: Path) -> None:
    """Neither a small last batch nor the reduction changes what is logged."""
    still = Training(epochs=1, batch=40, optimizer="sgd", rate=1e-12)
    want = float(nn.functional.mse_loss(net()(x), y).detach())
    for reduction in ("mean", "sum"):
        training = replace(still, reduction=reduction)
        assert fit(net(), (x, y), training=training).history[0]["loss"] == pytest.approx(want, rel=1e-5)


class Tuple(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner(x), x


def test_models_of_other_kinds() -> None:
    words = torch.randint(0, 10, (64, 3), generator=torch.Generator().manual_seed(4))
    torch.manual_seed(5)
    embedding = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 1))
    history = fit(
        embedding,
        Arrays(words, words.sum(1, keepdim=True).float(), dtype=torch.int64),
        training=Training(epochs=20, batch=16, rate=0.02),
    ).history
    assert history[-1]["loss"] < history[0]["loss"] / 2
    double = net().double()
    assert fit(double, (x, y), training=BRIEF).model[0].weight.dtype == torch.float64  # type: ignore[index,union-attr]
    with pytest.raises(LevshaError, match="returns tuple; wrap it"):
        fit(Tuple(), (x, y))
    norm = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with pytest.raises(LevshaError, match="leaves a last batch of one, which 1, a batch normalisation, cannot take"):
        fit(norm, (x[:33], y[:33]), training=BRIEF)


def test_class_numbers_on_the_disk_are_all_looked_at(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.array([0] * 90 + [7] * 6))
    torch.manual_seed(0)
    with pytest.raises(LevshaError, match="class numbers are 0 to 7; 3 outputs allow 0 to 2"):
        fit(nn.Linear(5, 3), Arrays(x, map_rows(tmp_path / "y.npy")), training=Training(batch=16, loss="cross_entropy"))


@given(st.integers(1, 3000), st.integers(0, 2**40))
def test_permute_is_a_permutation(count: int, key: int) -> None:
    assert np.array_equal(np.sort(permute(np.arange(count, dtype=np.uint64), count, key)), np.arange(count))


@pytest.mark.parametrize("sampling", ["without_replacement", "with_replacement", "weighted"])
def test_a_large_order_does_not_depend_on_how_it_is_asked_for(sampling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levsha.data.sampling, "WHOLE", 10)
    monkeypatch.setattr(levsha.data.sampling, "BLOCK", 64)
    weights = torch.arange(1000) % 3 if sampling == "weighted" else None
    one, other = (Order(sampling, 1000, 5, 2, weights) for _ in range(2))
    whole = torch.cat([one.part(at, at + 37) for at in range(0, 1000, 37)])
    assert torch.equal(whole, torch.cat([other.part(0, 500), other.part(500, 1000)]))
    assert not torch.equal(whole, Order(sampling, 1000, 5, 3, weights).part(0, 1000))
    if sampling == "without_replacement":
        assert torch.equal(whole.sort().values, torch.arange(1000))
    elif sampling == "with_replacement":
        assert 0.6 < len(whole.unique()) / 1000 < 0.67
    else:
        assert 0 not in (whole % 3).tolist() and (whole % 3 == 2).float().mean() > 0.6


def test_a_shuffle_of_many_rows_is_well_mixed() -> None:
    where = permute(np.arange(1 << 16, dtype=np.uint64), 1 << 20, key=1).astype(np.float64) / (1 << 20)
    assert abs(where.mean() - 0.5) < 0.01 and abs(where.std() - 12**-0.5) < 0.01
    assert abs(np.corrcoef(where[:-1], where[1:])[0, 1]) < 0.02
