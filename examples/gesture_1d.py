"""Gestures from a wristband's accelerometer, a 1-D convolutional net, an Arduino.  Run it in this folder: python gesture_1d.py

The model is ordinary torch code and knows nothing of Levsha. Data: synthetic, made here with a fixed seed: four gestures of 64 samples on
three axes (rest, a circle, a shake, a tap), of varying speed, size and direction, with noise and gravity.
"""

import numpy as np
import torch
from torch import nn

GESTURES = ("rest", "circle", "shake", "tap")


class Gestures(nn.Module):
    """Three convolutions over time, then the mean; the input is (N, 3, 64) in m/s2."""

    def __init__(self, channels: int = 12) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm1d(3),
            nn.Conv1d(3, channels, 5, stride=2, padding=2), nn.BatchNorm1d(channels), nn.ReLU(),
            nn.Conv1d(channels, channels, 5, stride=2, padding=2), nn.BatchNorm1d(channels), nn.ReLU(),
            nn.Conv1d(channels, 16, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(16, len(GESTURES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean(dim=2))


def make(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return windows (N, 3, 64) of acceleration in m/s2, and the number of each gesture (N,)."""
    rng = np.random.default_rng(seed)
    t, y = np.arange(64) / 64, rng.integers(0, len(GESTURES), count)
    x = np.zeros((count, 3, 64))
    for row, gesture in zip(x, y, strict=True):
        size, turns, phase = rng.uniform(2, 8), rng.uniform(1.2, 3.5), rng.uniform(0, 2 * np.pi)
        along, across = np.linalg.qr(rng.normal(size=(3, 2)))[0].T[..., None]
        if gesture == 1:
            row += size * (
                along * np.cos(2 * np.pi * turns * t + phase) + across * np.sin(2 * np.pi * turns * t + phase)
            )
        if gesture == 2:
            row += 1.5 * size * along * np.sign(np.sin(2 * np.pi * 2 * turns * t + phase))
        if gesture == 3:
            row += 3 * size * along * np.exp(-(((t - rng.uniform(0.2, 0.8)) / 0.04) ** 2))
        row += 9.81 * np.linalg.qr(rng.normal(size=(3, 1)))[0] + rng.normal(0, 0.8, row.shape)
    return x.astype(np.float32), y


def train(x: np.ndarray, y: np.ndarray, epochs: int = 12) -> Gestures:
    """Return a trained model."""
    torch.manual_seed(0)
    model, windows, gestures = Gestures(), torch.from_numpy(x), torch.from_numpy(y)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(model(windows[rows]), gestures[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def main() -> None:
    """Train, save, convert, and say what came out."""
    import levsha

    torch.set_num_threads(1)  # quickest for small nets

    (x, y), test = make(2000, 0), make(1000, 1)
    model = train(x, y)
    torch.save(model.state_dict(), "gesture_1d.pth")
    np.savez("gesture_1d.npz", x=test[0], y=test[1])
    net = levsha.convert(model, x, y, weights="int8", classes=GESTURES, test=test)
    print(net)
    print("the first window:", GESTURES[net(test[0][0]).argmax()], "is", GESTURES[test[1][0]])


if __name__ == "__main__":
    main()
