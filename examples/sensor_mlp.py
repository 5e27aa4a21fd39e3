"""The power of a heat pump from four readings, a small multilayer perceptron, an Arduino.  Run it in this folder: python sensor_mlp.py

The model is ordinary torch code and knows nothing of Levsha. Data: synthetic, made here with a fixed seed from the laws of heat flow, with
noise: temperatures before and behind in degrees, flow in l/min, pressure in bar; the power is in kW.
"""

import numpy as np
import torch
from torch import nn


class Power(nn.Module):
    """Readings in their own units in, kW out; both are scaled inside."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([25.0, 35.0, 20.0, 2.0]))
        self.register_buffer("spread", torch.tensor([8.0, 9.0, 8.0, 0.5]))
        self.layers = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 12), nn.Tanh(), nn.Linear(12, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 15.0 * self.layers((x - self.mean) / self.spread)


def make(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return readings (N, 4) and power (N, 1) in kW."""
    rng = np.random.default_rng(seed)
    cold, flow, pressure = rng.uniform(10, 40, count), rng.uniform(5, 35, count), rng.uniform(1.2, 2.8, count)
    rise = rng.uniform(2, 18, count)
    power = flow / 60 * 4.186 * rise * (1 - 0.02 * (pressure - 2) ** 2)
    x = np.stack([cold + rng.normal(0, 0.1, count), cold + rise + rng.normal(0, 0.1, count), flow, pressure], 1)
    return x.astype(np.float32), power[:, None].astype(np.float32)


def train(x: np.ndarray, y: np.ndarray, epochs: int = 60) -> Power:
    """Return a trained model."""
    torch.manual_seed(0)
    model, readings, power = Power(), torch.from_numpy(x), torch.from_numpy(y)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(128):
            loss = nn.functional.mse_loss(model(readings[rows]), power[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def main() -> None:
    """Train, save, convert, and say what came out."""
    import levsha

    torch.set_num_threads(1)  # quickest for small nets

    (x, y), test = make(3000, 0), make(1000, 1)
    model = train(x, y)
    torch.save(model.state_dict(), "sensor_mlp.pth")
    np.savez("sensor_mlp.npz", x=test[0], y=test[1])
    net = levsha.convert(model, x, y, weights="int8", test=test)
    print(net)
    print(f"the first reading: {float(net(test[0][0])[0]):.2f} kW, measured {float(test[1][0, 0]):.2f} kW")


if __name__ == "__main__":
    main()
