"""Digits of 8 x 8 pixels, a convolutional net, an Arduino.  Run it in this folder: python digits_2d.py

The model is ordinary torch code and knows nothing of Levsha. Data: scikit-learn's handwritten digits (1 797 images, real).
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Digits(nn.Module):
    """Two convolutions and a linear layer; it takes raw pixels, 0 to 16, and normalises them itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3)
        self.fc = nn.Linear(16 * 3 * 3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - 8.0) / 8.0
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.log_softmax(self.fc(x.flatten(1)), dim=1)


def load() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return images (N, 1, 8, 8) and digits (N,) to train on, and to test on."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    x, y = found.images.astype(np.uint8)[order, None], found.target[order].astype(np.int64)
    return (x[:1437], y[:1437]), (x[1437:], y[1437:])


def train(x: np.ndarray, y: np.ndarray, epochs: int = 15) -> Digits:
    """Return a trained model."""
    torch.manual_seed(0)
    model, pixels, digits = Digits(), torch.from_numpy(x).float(), torch.from_numpy(y)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            loss = F.nll_loss(model(pixels[rows]), digits[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def main() -> None:
    """Train, save, convert, and say what came out."""
    import levsha

    torch.set_num_threads(1)  # quickest for small nets

    (x, y), test = load()
    model = train(x, y)
    torch.save(model.state_dict(), "digits_2d.pth")
    np.savez("digits_2d.npz", x=test[0], y=test[1])
    net = levsha.convert(model, x, y, weights="int8", test=test)
    print(net)
    print("the first image:", net(test[0][0]).argmax(), "is", test[1][0])


if __name__ == "__main__":
    main()
