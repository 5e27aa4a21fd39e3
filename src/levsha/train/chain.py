"""A chain of linear layers and activations: its backward pass is written out, which for small nets is half of the time.

Legend: N examples, O outputs, I inputs.  The gradients equal autograd's (tests/test_steps.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from levsha.data.sampling import step_seed
from levsha.train.batch import Batch
from levsha.train.flat import Flat
from levsha.train.losses import batch_scale, find_loss
from levsha.train.settings import Training

ATEN = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """forward(z) writes h over z where `keeps_input` is false; backward(d, kept) is the gradient by z, kept being z or h."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]
    keeps_input: bool


def _into(op: Callable[..., Tensor], *settings: object, **options: object) -> Callable[[Tensor, Tensor], Tensor]:
    """Write the gradient over the one that came in."""
    return lambda d, kept: op(d, kept, *settings, **options, grad_input=d)


ACTIVATIONS: dict[type[nn.Module], Callable[[nn.Module], Activation]] = {
    nn.ReLU: lambda _: Activation(torch.relu_, _into(ATEN.threshold_backward.grad_input, 0.0), False),
    nn.Tanh: lambda _: Activation(torch.tanh_, _into(ATEN.tanh_backward.grad_input), False),
    nn.Sigmoid: lambda _: Activation(torch.sigmoid_, _into(ATEN.sigmoid_backward.grad_input), False),
    nn.SiLU: lambda _: Activation(nn.functional.silu, _into(ATEN.silu_backward.grad_input), True),
    nn.Mish: lambda _: Activation(nn.functional.mish, ATEN.mish_backward, True),
    nn.GELU: lambda m: Activation(
        lambda z: nn.functional.gelu(z, approximate=str(m.approximate)),
        _into(ATEN.gelu_backward.grad_input, approximate=str(m.approximate)),
        True,
    ),
}


@dataclass(frozen=True)
class Link:
    """One linear layer, what follows it, and the share that dropout sets to zero after that."""

    name: str
    linear: nn.Linear
    activation: Activation | None
    dropout: float


def chain_of(model: nn.Module) -> list[Link] | None:
    """Return the links of an nn.Sequential of Linear, at most one activation and at most one Dropout each; None for any other model."""
    if type(model) is not nn.Sequential or not len(model) or type(model[0]) is not nn.Linear:
        return None
    links: list[Link] = []
    for name, module in zip(model._modules, model, strict=True):  # named_children() leaves out what comes a second time
        kind, last = type(module), links[-1] if links else None
        if kind is nn.Linear and isinstance(module, nn.Linear):
            links.append(Link(name, module, None, 0.0))
        elif last and kind in ACTIVATIONS and not last.activation and not last.dropout:
            links[-1] = Link(last.name, last.linear, ACTIVATIONS[kind](module), 0.0)
        elif last and kind is nn.Dropout and isinstance(module, nn.Dropout) and module.p < 1 and not last.dropout:
            links[-1] = Link(last.name, last.linear, last.activation, module.p)
        elif kind is not nn.Identity:
            return None
    parameters = list(model.parameters())
    plain = len({id(p) for p in parameters}) == sum(1 + (link.linear.bias is not None) for link in links)
    return links if plain and all(p.requires_grad for p in parameters) and not _hooked(model) else None


def _hooked(model: nn.Module) -> bool:
    """Say whether the user watches or changes what goes through the model: then it must really go through it."""
    modules = (
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks for m in model.modules()
    )
    return any(modules) or any(p._backward_hooks or p._post_accumulate_grad_hooks for p in model.parameters())


class _Buffers:
    """Room for one batch of a certain size: z and h of every link, and the gradients by z."""

    def __init__(self, links: list[Link], count: int, like: Tensor) -> None:
        self.z = [like.new_empty(count, link.linear.out_features) for link in links]
        self.d = [torch.empty_like(z) for z in self.z]
        self.d_t = [d.t() for d in self.d]
        self.ones = like.new_ones(count)


class ChainStep:
    """Forward and backward of a chain."""

    uses_autograd = False

    def __init__(self, model: nn.Module, links: list[Link], training: Training, rank: int = 0) -> None:
        self.links, self.training = links, training
        self.flat = Flat(dict(model.named_parameters()))
        for name, parameter in model.named_parameters():
            parameter.data = self.flat.parameters[name]
        p, g = self.flat.parameters, self.flat.grads
        self.weight = [p[f"{link.name}.weight"] for link in links]
        self.weight_t = [w.t() for w in self.weight]
        self.weight_grad = [g[f"{link.name}.weight"] for link in links]
        self.bias = [p.get(f"{link.name}.bias") for link in links]
        self.bias_grad = [g.get(f"{link.name}.bias") for link in links]
        self.loss = find_loss(training.loss).gradient
        self.buffers: dict[int, _Buffers] = {}
        self.dropout = any(link.dropout for link in links)
        self.generator = torch.Generator(self.flat.all.device)
        self.rank, self.done = rank, 0

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint must hold beside the parameters: nothing, dropout is a function of seed and step."""
        return {}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""

    def __call__(self, batch: Batch, done: int) -> Tensor:
        """Fill the gradients and return the loss."""
        x, y, whole = batch
        if self.dropout:
            self.generator.manual_seed(step_seed(self.training.seed, done, 1 + self.rank))
        count = x.size(0)
        room = self.buffers.get(count)
        if room is None:
            room = self.buffers[count] = _Buffers(self.links, count, self.flat.all)
        inputs, kept, masks = self._forward(x, room)
        output = inputs.pop()
        loss, d = self.loss(output, y, batch_scale(self.training, whole, output))
        self._backward(d, inputs, kept, masks, room)
        return loss

    def _forward(self, x: Tensor, room: _Buffers) -> tuple[list[Tensor], list[Tensor], list[Tensor | None]]:
        """Return the input of every link and the output, what each activation's backward needs, and the masks of dropout."""
        inputs, masks, kept, h = [x], [], [], x
        for k, link in enumerate(self.links):
            bias, z = self.bias[k], room.z[k]
            h = torch.mm(h, self.weight_t[k], out=z) if bias is None else torch.addmm(bias, h, self.weight_t[k], out=z)
            if link.activation:
                h = link.activation.forward(z)
                kept.append(z if link.activation.keeps_input else h)
            else:
                kept.append(z)
            mask = None
            if link.dropout:
                mask = torch.rand(h.shape, generator=self.generator, dtype=h.dtype, device=h.device).ge_(link.dropout)
                h = h * mask.mul_(1 / (1 - link.dropout))
            masks.append(mask)
            inputs.append(h)
        return inputs, kept, masks

    def _backward(
        self, d: Tensor, inputs: list[Tensor], kept: list[Tensor], masks: list[Tensor | None], room: _Buffers
    ) -> None:
        for k in reversed(range(len(self.links))):
            activation, mask, grad = self.links[k].activation, masks[k], self.bias_grad[k]
            if mask is not None:
                d = d.mul_(mask)
            if activation:
                d = activation.backward(d, kept[k])
            d_t = room.d_t[k] if d is room.d[k] else d.t()
            torch.mm(d_t, inputs[k], out=self.weight_grad[k])
            if grad is not None:
                torch.mv(d_t, room.ones, out=grad)
            if k:
                d = torch.mm(d, self.weight[k], out=room.d[k - 1])
