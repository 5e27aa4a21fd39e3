"""What the models of the zoo are trained and measured on: real images, and signals that are made up with a fixed seed.

Legend: N examples, C channels, T steps in time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from levsha.data.images import load_images


class Data(NamedTuple):
    """Inputs (N, *shape) and answers (N,) or (N, O), to train and to test on."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def images(name: str, count: int = 60_000) -> Data:
    """Grey images (N, 1, 28, 28) of bytes, the first `count` of those to train on."""
    (train, test) = load_images(name)
    assert train.y is not None and test.y is not None
    return Data(train.x[:count], train.y[:count], test.x, test.y)


def coloured(count: int = 12_000, tested: int = 2000, size: int = 32, classes: tuple[int, ...] = tuple(range(10))) -> Data:  # fmt: skip
    """Fashion-MNIST at another size, every image in two colours of its own, between which its grey lies: (N, 3, size, size) of bytes."""
    found: list[np.ndarray] = []
    plain = images("fashion-mnist")
    for part, (x, y, most) in enumerate(((plain.x, plain.y, count), (plain.x_test, plain.y_test, tested))):
        kept = np.flatnonzero(np.isin(y, classes))[:most]
        rng = np.random.default_rng([part, size])
        grey = F.interpolate(torch.from_numpy(x[kept]).float() / 255, (size, size), mode="bilinear").numpy()
        front, back = rng.uniform(90, 255, (len(kept), 3, 1, 1)), rng.uniform(0, 90, (len(kept), 3, 1, 1))
        noise = rng.normal(0, 6, (len(kept), 3, size, size))
        found += [(back + (front - back) * grey + noise).clip(0, 255).astype(np.uint8), np.searchsorted(classes, y[kept])]  # fmt: skip
    return Data(*found)


def _cut(x: np.ndarray, y: np.ndarray, tested: int) -> Data:
    return Data(x[tested:].astype(np.float32), y[tested:], x[:tested].astype(np.float32), y[:tested])


def keywords(count: int = 9000, tested: int = 1500) -> Data:
    """Features (N, 1, 49, 10) that look like those of spoken words: each of 12 words is three tones that glide, at a pitch, a speed and
    a loudness of its own in every example, in noise; the last two are silence and any other word."""
    rng = np.random.default_rng(12)
    y = rng.integers(0, 12, count)
    words = np.random.default_rng(3).uniform(0, 9, (10, 3, 2))
    t, band = np.linspace(0, 1, 49)[:, None], np.arange(10)
    x = rng.normal(0, 1.0, (count, 1, 49, 10))
    for n in range(count):
        if y[n] == 10:
            continue
        tones = rng.uniform(0, 9, (3, 2)) if y[n] == 11 else words[y[n]] + rng.normal(0, 0.35, (3, 2))
        start, long, loud = rng.uniform(0, 0.3), rng.uniform(0.5, 0.7), rng.uniform(2.0, 5.0)
        for k, (a, b) in enumerate(tones):
            s = (t - start) / long * 3 - k
            inside = (s > 0) & (s < 1)
            x[n, 0] += loud * inside * np.exp(-((band - (a + (b - a) * s.clip(0, 1))) ** 2) / 1.2)
    return _cut(x * 8 - 12, y, tested)


def machine(count: int = 9000, tested: int = 1500) -> Data:
    """Five frames of 128 bands of a machine's sound, in decibels (N, 640): harmonics of a speed that changes, resonances, noise; the
    answer is the input itself."""
    rng = np.random.default_rng(8)
    band = np.linspace(0, 1, 128)
    speed, load = rng.uniform(0.06, 0.1, count), rng.uniform(0, 1, count)
    frames = []
    for k in range(5):
        pitch = speed * (1 + 0.03 * np.sin(0.7 * k + 6 * load))
        level = np.full((count, 128), 1e-4)
        for h in range(1, 9):
            peak = pitch[:, None] * h
            level += (0.5 + load[:, None]) / h * np.exp(-(((band - peak) / (0.012 + 0.004 * h)) ** 2))
        level += 0.05 * np.exp(-(((band - 0.4 - 0.2 * load[:, None]) / 0.1) ** 2))
        frames.append(10 * np.log10(level * rng.gamma(12, 1 / 12, (count, 128))))
    x = np.concatenate(frames, 1)
    return _cut(x, x.astype(np.float32), tested)


def motion(count: int = 6000, tested: int = 1500) -> Data:
    """Windows (N, 6, 128) of an accelerometer in g and a gyroscope in degrees a second: six ways to move, by frequency, size, direction
    and jerks; the sensor is turned at random, and noisy."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 6, count)
    t = np.arange(128) / 50
    hertz = np.array([0.0, 0.0, 1.6, 1.9, 2.7, 1.1])[y] * rng.normal(1, 0.08, count)
    size = np.array([0.01, 0.02, 0.25, 0.32, 0.8, 0.4])[y] * rng.lognormal(0, 0.25, count)
    jerk = np.array([0.0, 0.0, 0.15, 0.45, 0.3, 0.05])[y]
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    swing = 2 * np.pi * hertz[:, None] * t + phase
    gravity = np.array([[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0.3, 0.95], [0, 0.1, 1], [0.5, 0, 0.85]])[y]
    gravity = gravity + rng.normal(0, 0.12, (count, 3))
    push = np.stack([0.4 * np.sin(swing), 0.3 * np.cos(swing), np.sin(2 * swing) + jerk[:, None] * np.sign(np.sin(swing))], 1)  # fmt: skip
    acceleration = gravity[:, :, None] + size[:, None, None] * push + rng.normal(0, 0.04, (count, 3, 128))
    turn = 120 * size[:, None, None] * np.stack([np.cos(swing), 0.5 * np.sin(swing), 0.3 * np.cos(2 * swing)], 1)
    x = np.concatenate([acceleration, turn + rng.normal(0, 4, (count, 3, 128))], 1)
    return _cut(x, y, tested)


def adding(count: int = 12_000, tested: int = 2000) -> Data:
    """The adding problem (Hochreiter, Schmidhuber, 1997), in a window: numbers 0..1 beside marks, two of which are set among the last 30
    of 64 steps, (N, 2, 64); the answer (N, 1) is the sum of the marked numbers."""
    rng = np.random.default_rng(9)
    numbers, marks = rng.uniform(0, 1, (count, 64)), np.zeros((count, 64))
    places = 34 + np.argsort(rng.random((count, 30)), 1)[:, :2]
    np.put_along_axis(marks, places, 1.0, 1)
    return _cut(np.stack([numbers, marks], 1), (numbers * marks).sum(1, keepdims=True).astype(np.float32), tested)
