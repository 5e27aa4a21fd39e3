"""A multilayer perceptron with batch normalisation on every layer, the logits too; legend: N examples, O outputs, I inputs.

Batch normalisation after the logits folds into their multiplier and bias, and is what makes 1-bit weights trainable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from levsha.errors import LevshaError
from levsha.formats import Format

EPSILON = 1e-5  # added to a variance, as in torch.nn.BatchNorm1d


@dataclass(frozen=True)
class Quantisation:
    """Weights on the grid of `format`, activations between layers integers 0..top."""

    format: Format
    top: int

    def weights(self, weight_OI: Tensor) -> tuple[Tensor, Tensor]:
        """Return the integer weights, as floats, and the scale of each output, shape (O, 1)."""
        scale_O1 = self.format.scale(weight_OI).clamp_min(1e-8)
        return self.format.to_integers(weight_OI / scale_O1), scale_O1

    def activations(self, x: Tensor, step: float) -> Tensor:
        """Return x rounded to 0..top steps, halves up, in real units."""
        return torch.floor(x * (1 / step) + 0.5).clamp_(0, self.top).mul_(step)


@dataclass(frozen=True)
class Mlp:
    """Weights, batch normalisation and, once calibrated, the real value of one activation integer behind each hidden layer."""

    weight_OI: list[Tensor]
    gamma_O: list[Tensor]
    beta_O: list[Tensor]
    mean_O: list[Tensor] = field(default_factory=list)
    var_O: list[Tensor] = field(default_factory=list)
    step: list[float] = field(default_factory=list)

    @property
    def widths(self) -> list[int]:
        """Number of inputs, hidden neurons of each layer, classes."""
        return [self.weight_OI[0].shape[1], *(w.shape[0] for w in self.weight_OI)]

    @property
    def parameters(self) -> int:
        """Weights and biases, batch normalisation folded."""
        return sum(w.numel() + w.shape[0] for w in self.weight_OI)

    def norm_scale(self, layer: int) -> Tensor:
        """Return gamma / sqrt(variance) of a layer: what batch normalisation multiplies by."""
        return self.gamma_O[layer] / (self.var_O[layer] + EPSILON).sqrt()

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor under the name it has in a file; the step as a tensor of its own."""
        named = {}
        for layer in range(len(self.weight_OI)):
            for label in ("weight_OI", "gamma_O", "beta_O", "mean_O", "var_O"):
                named[f"fc{layer + 1}.{label.split('_')[0]}"] = getattr(self, label)[layer].contiguous()
        return named | ({"step": torch.tensor(self.step, dtype=torch.float64)} if self.step else {})

    @classmethod
    def from_tensors(cls, named: dict[str, Tensor]) -> Mlp:
        """Return the net that `tensors` described; LevshaError names what is missing."""
        try:
            layers = range(1, 1 + sum(name.endswith(".weight") for name in named))
            parts = {
                label: [named[f"fc{k}.{label}"] for k in layers] for label in ("weight", "gamma", "beta", "mean", "var")
            }
        except KeyError as error:
            raise LevshaError(f"float weights: {error} is missing; make the file again with levsha run.") from None
        return cls(*parts.values(), step=named["step"].tolist() if "step" in named else [])


def init_mlp(widths: Sequence[int], seed: int) -> Mlp:
    """Return an untrained net with He's normal initialisation (He et al. 2015)."""
    generator = torch.Generator().manual_seed(seed)
    shapes = list(zip(widths[1:], widths, strict=False))
    weights = [torch.randn(o, i, generator=generator) * (2 / i) ** 0.5 for o, i in shapes]
    return Mlp(weights, [torch.ones(o) for o, _ in shapes], [torch.zeros(o) for o, _ in shapes])


def _layer_weight(mlp: Mlp, layer: int, quantisation: Quantisation | None) -> Tensor:
    weight = mlp.weight_OI[layer]
    if quantisation is None:
        return weight
    integers, scale = quantisation.weights(weight)
    return integers * scale


def _activate(mlp: Mlp, layer: int, y: Tensor, quantisation: Quantisation | None) -> Tensor:
    if layer == len(mlp.weight_OI) - 1:
        return y
    return y.relu_() if quantisation is None else quantisation.activations(y, mlp.step[layer])


@torch.inference_mode()
def forward(mlp: Mlp, x_NI: Tensor, quantisation: Quantisation | None = None) -> list[Tensor]:
    """Return the output of every layer, the logits last, with the running statistics of batch normalisation."""
    outputs, h = [], x_NI
    for layer in range(len(mlp.weight_OI)):
        scale_O = mlp.norm_scale(layer)
        weight_OI = _layer_weight(mlp, layer, quantisation) * scale_O[:, None]
        h = _activate(
            mlp, layer, torch.addmm(mlp.beta_O[layer] - mlp.mean_O[layer] * scale_O, h, weight_OI.t()), quantisation
        )
        outputs.append(h)
    return outputs


@torch.inference_mode()
def estimate_norm(mlp: Mlp, x_NI: Tensor, quantisation: Quantisation | None = None) -> Mlp:
    """Return the net with means and variances taken from clean data, layer after layer: no gradients, seconds."""
    mlp = replace(mlp, mean_O=[], var_O=[])
    h = x_NI
    for layer in range(len(mlp.weight_OI)):
        z = h @ _layer_weight(mlp, layer, quantisation).t()
        mlp.mean_O.append(z.mean(0))
        mlp.var_O.append(z.var(0, unbiased=False))
        y = (z - mlp.mean_O[layer]) * mlp.norm_scale(layer) + mlp.beta_O[layer]
        h = _activate(mlp, layer, y, quantisation)
    return mlp


def calibrate(mlp: Mlp, x_NI: Tensor, top: int, percentile: float) -> Mlp:
    """Return the net with activation steps such that this percentile of the positive activations becomes `top`."""
    steps = []
    for h in forward(mlp, x_NI)[:-1]:
        positive = h[h > 0].double()
        largest = (
            positive.kthvalue(max(1, round(percentile / 100 * positive.numel()))).values
            if positive.numel()
            else torch.ones(())
        )
        steps.append(float(largest) / top)
    return replace(mlp, step=steps)


def prune(mlp: Mlp, keep: float) -> Mlp:
    """Return a smaller net: in each hidden layer the share `keep` of neurons with the largest |gamma| * sum |outgoing weight|."""
    weight, gamma, beta = list(mlp.weight_OI), list(mlp.gamma_O), list(mlp.beta_O)
    for layer in range(len(weight) - 1):
        score_O = gamma[layer].abs() * weight[layer + 1].abs().sum(0)
        kept = score_O.topk(max(1, round(keep * len(score_O)))).indices.sort().values
        weight[layer], gamma[layer], beta[layer] = weight[layer][kept], gamma[layer][kept], beta[layer][kept]
        weight[layer + 1] = weight[layer + 1][:, kept]
    return Mlp(weight, gamma, beta)


def with_affine(layers: Sequence[tuple[Tensor, float, Tensor]], x_NI: Tensor) -> Mlp:
    """Return a net that computes relu(factor * W x + offset) layer by layer, the last without relu, so that it can be trained on.

    layers: W (O, I), factor, offset (O,). x_NI: data whose statistics batch normalisation takes; gamma and beta undo them.
    """
    gamma, beta, mean, var, h = [], [], [], [], x_NI
    for weight, factor, offset in layers:
        z = h @ weight.t()
        mean.append(z.mean(0))
        var.append(z.var(0, unbiased=False))
        gamma.append(factor * (var[-1] + EPSILON).sqrt())
        beta.append(offset + factor * mean[-1])
        h = (factor * z + offset).relu_()
    return Mlp([weight for weight, _, _ in layers], gamma, beta, mean, var)
