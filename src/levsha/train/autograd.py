"""Any model: forward and backward by autograd, the parameters in one buffer all the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from levsha.data.sampling import step_seed
from levsha.errors import LevshaError
from levsha.train.batch import Batch
from levsha.train.flat import Flat
from levsha.train.losses import batch_scale, find_loss
from levsha.train.settings import Training
from levsha.train.weights import EXTRA, load_model_state, model_state


class AutogradStep:
    """Forward and backward of any nn.Module."""

    uses_autograd = True

    def __init__(self, model: nn.Module, training: Training, rank: int = 0, world: int = 1) -> None:
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        norm = [name for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if norm and world > 1:
            raise LevshaError(
                f"training in {world} processes: {norm[0]} is a batch normalisation, which would see a share of the batch only; use one process."
            )
        extra = [name for name in model.state_dict() if name.rpartition(".")[2] == EXTRA]
        if extra and world > 1:
            raise LevshaError(
                f"training in {world} processes: {extra[0]} is a state of its own for each; use one process, or buffers."
            )
        self.model, self.training, self.rank = model, training, rank
        self.flat = Flat(named)
        for name, parameter in named.items():
            parameter.data, parameter.grad = self.flat.parameters[name], self.flat.grads[name]
        self.loss = find_loss(training.loss).value
        self.low = training.precision == "bfloat16"

    def tensors(self) -> dict[str, Tensor]:
        """Return the rest of the model's state_dict: buffers such as running statistics, and frozen parameters."""
        mine = self.flat.all.untyped_storage().data_ptr()  # where a second name of a shared parameter points as well
        return {name: t for name, t in model_state(self.model).items() if t.untyped_storage().data_ptr() != mine}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        load_model_state(self.model, {name: tensors[name] for name in self.tensors()})

    def __call__(self, batch: Batch, done: int) -> Tensor:
        """Fill the gradients and return the loss; LevshaError where the model fails."""
        x, y, whole = batch
        (torch.default_generator.manual_seed if self.flat.all.is_cpu else torch.manual_seed)(
            step_seed(self.training.seed, done, 1 + self.rank)
        )
        self.flat.grad.zero_()
        with torch.enable_grad():
            try:
                with self.precision():
                    output = self.model(x)
            except (RuntimeError, ValueError, IndexError, TypeError) as error:
                raise self._failed(x, done, error) from error
            loss = self.loss(output.to(self.flat.all.dtype), y, reduction="sum") * batch_scale(
                self.training, whole, output
            )
            loss.backward()
        return loss.detach()

    def precision(self) -> torch.autocast:
        """Return what the model computes within."""
        return torch.autocast(self.flat.all.device.type, torch.bfloat16, enabled=self.low, cache_enabled=False)

    def _failed(self, x: Tensor, done: int, error: Exception) -> LevshaError:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        shape = ", ".join(map(str, x.shape))
        return LevshaError(
            f"training: the model fails in training mode on inputs of shape ({shape}) at step {done + 1}: {reason.rstrip('.')}. "
            "Mend the model, or give another batch size."
        )
