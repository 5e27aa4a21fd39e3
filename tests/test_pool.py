"""Warped images and what is learned from them: the same every time, made once, and the integers are those that learned."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from levsha.conversion.captured import as_tensor, capture_all, net_of, options_of
from levsha.conversion.opening import open_model
from levsha.conversion.tuning import Tuning, tunable_of, tune
from levsha.data.images import load_images
from levsha.data.warp import Warp, shrink, warp
from levsha.errors import LevshaError
from levsha.train.autograd import AutogradStep
from levsha.train.fit import fit, step_for
from levsha.train.parallel import ALONE
from levsha.train.pool import Pool, make_pool
from levsha.train.settings import Training

STILL = Warp(0, 0, 0, 0, 0)


def images(count: int = 8, side: int = 28) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 1, side, side), np.uint8)


def test_a_smaller_image_is_the_mean_of_areas() -> None:
    x, size = images(5, 7), 4
    fine = np.repeat(np.repeat(x, size, 2), size, 3).astype(
        int
    )  # every pixel of both grids is whole pixels of this one
    sums = fine.reshape(5, 1, size, 7, size, 7).sum((3, 5))
    assert np.array_equal(shrink(torch.from_numpy(x), size).numpy(), (2 * sums + 49) // 98)
    assert np.array_equal(shrink(torch.from_numpy(x), 7).numpy(), x)


def test_warping_depends_on_the_generator_alone_and_nothing_leaves_an_image_as_it_is() -> None:
    x = torch.from_numpy(images()).float()
    a, b, c = (warp(x, Warp(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c) and float(a.min()) >= 0 and float(a.max()) <= 255
    assert torch.allclose(warp(x, STILL, torch.Generator()), x, atol=1e-2)


def test_images_move_and_turn_as_far_as_they_are_told_to() -> None:
    x = torch.zeros(200, 2, 28, 28)
    x[:, :, 13:15, 13:15] = 1
    moved = warp(x, Warp(0, 0, 0, 0.25, 0), torch.Generator().manual_seed(1))
    at = torch.arange(28.0)
    row_N = (moved[:, 0].sum(2) * at).sum(1) / moved[:, 0].sum((1, 2)) - 13.5
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert 6.3 < float(row_N.max()) < 7.1 and -7.1 < float(row_N.min()) < -6.3


def test_a_pool_is_made_once_and_made_anew_for_anything_else(tmp_path: Path) -> None:
    x, y = images(), np.arange(8) % 3
    first = make_pool(x, y, 16, 3, Warp(), 1, tmp_path)
    assert first.x.shape == (24, 1, 16, 16) and first.classes == 3
    assert np.array_equal(first.x[:8], shrink(torch.from_numpy(x), 16).numpy()), "the originals come first"
    assert not np.array_equal(first.x[8:16], first.x[16:])
    stamp = (tmp_path / "x.npy").stat().st_mtime_ns
    assert np.array_equal(make_pool(x, y, 16, 3, Warp(), 1, tmp_path).x, first.x)
    assert (tmp_path / "x.npy").stat().st_mtime_ns == stamp
    assert not np.array_equal(make_pool(x, y, 16, 3, Warp(), 2, tmp_path).x, first.x)
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(LevshaError, match="0 passes over 8 images"):
        make_pool(x, y, 16, 0, Warp(), 1, tmp_path)


def test_targets_mix_the_teachers_answers_with_the_right_ones(tmp_path: Path) -> None:
    pool = make_pool(images(), np.arange(8) % 2, 16, 2, Warp(), 1, tmp_path)
    with pytest.raises(LevshaError, match="no teacher"):
        pool.stream(4, 0.5)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(256, 2)).eval()
    taught = pool.taught(teacher, tmp_path)
    draw = taught.stream(4, 0.25, 2.0).draw
    x, target = draw(torch.Generator().manual_seed(5), 64)
    assert x.shape == (64, 1, 16, 16) and torch.allclose(target.sum(1), torch.ones(64), atol=1e-3)
    with torch.no_grad():
        said = torch.softmax(teacher(x) / 2, 1)
    right = (target - 0.25 * said) / 0.75
    assert torch.allclose(right.round(), right, atol=0.02)
    assert torch.equal(draw(torch.Generator().manual_seed(5), 64)[1], target)
    assert pool.stream(4).steps_an_epoch == 2


def digits() -> tuple[Pool, tuple[np.ndarray, np.ndarray]]:
    train, test = load_images("digits")
    assert train.y is not None and test.y is not None
    return Pool(train.x, train.y, 10), (test.x.astype(np.float32), test.y)


def test_normalised_sums_start_where_a_gain_and_an_offset_do() -> None:
    pool, _ = digits()
    rows = pool.x[:100].astype(np.float32)
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 12), nn.ReLU(), nn.Linear(12, 10)]
    captured = capture_all(open_model(nn.Sequential(*layers).eval(), rows), rows, rows, (), (), False)
    options = options_of(captured, "ternary", {})
    plain, normal = (tunable_of(captured, options, 1.0, np.ones(1), way).eval() for way in (False, True))
    with torch.no_grad():
        a, b = plain(as_tensor(rows)), normal(as_tensor(rows))
    assert float((a - b).abs().max()) < 0.02 * float(a.std())


def test_what_is_tuned_from_a_stream_is_what_the_integers_compute() -> None:
    pool, held_out = digits()
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 10),
    ]
    training = Training(
        epochs=3, batch=32, rate=5e-3, loss="cross_entropy", optimizer="adamw", average=0.95, precision="bfloat16"
    )
    stream = pool.stream(32)
    model = fit(nn.Sequential(*layers), stream, held_out, training).model
    rows = pool.x[:200].astype(np.float32)
    captured = capture_all(open_model(model, rows), rows, rows, (), (), False)
    # with a channel fewer, quantising alone is no choice
    tuning = Tuning(distil=0.0, keep=0.9, training=replace(training, average=0.0), normal=True)
    tuned = tune(captured, *held_out, "two_bit", tuning=tuning, stream=stream)
    net = net_of(tuned.captured, tuned.lower())
    x, y = held_out
    said = net(x)
    accuracy = 100 * float((said.argmax(1) == y).mean())
    assert accuracy > 85
    assert abs(tuned.history[tuned.best_epoch - 1]["accuracy"] - accuracy) < 1.5, (
        "validation is that of the rounded net"
    )


def test_low_precision_learns_through_autograd_and_leaves_float32_weights() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    low = Training(precision="bfloat16", loss="cross_entropy", epochs=2, batch=16)
    assert isinstance(step_for(model, low, ALONE), AutogradStep)
    x = torch.randn(64, 8)
    fitted = fit(model, (x, (x[:, 0] > 0).long()), training=low)
    assert all(p.dtype == torch.float32 for p in fitted.model.parameters())
    with pytest.raises(LevshaError, match=r"precision: there is no 'float8'; there are float32, bfloat16"):
        Training(precision="float8").check()  # type: ignore[arg-type]


def test_rounding_in_low_precision_is_the_same_on_every_integer() -> None:
    pool, _ = digits()
    rows = pool.x[:100].astype(np.float32)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 10)).eval()
    captured = capture_all(open_model(model, rows), rows, rows, (), (), False)
    tunable = tunable_of(captured, options_of(captured, "two_bit", {}), 1.0, np.ones(1))
    with torch.no_grad():
        exact = tunable(as_tensor(rows))
        with torch.autocast("cpu", torch.bfloat16):
            near = tunable(as_tensor(rows)).float()
    assert float((near - exact).abs().max()) < 0.05 * float(exact.std())
