"""The training loop: every model, every optimizer, one loop; it can be killed at any moment and ends with the same bytes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from levsha.errors import LevshaError
from levsha.train.batch import Batches, Step
from levsha.train.checkpoint import Saved
from levsha.train.log import read_log
from levsha.train.optim import RULES, clip_gradient
from levsha.train.settings import Training, rate_factor
from levsha.train.surroundings import Counters, Progress, Surroundings

LOOK = 64  # steps between two looks at the losses, which cost more than they are worth at every step


class Loop:
    """One training; `run` takes it from where the last checkpoint left it to the end."""

    def __init__(self, step: Step, batches: Batches, training: Training, around: Surroundings | None = None) -> None:
        self.step, self.batches, self.training = step, batches, training
        self.around = around or Surroundings()
        self.flat = step.flat
        for tensor in (self.flat.all, *step.tensors().values()):
            self.around.world.copy(tensor)  # the processes may have drawn different initial weights
        self.optimizer = RULES[training.optimizer](self.flat, training)
        self.average = self.flat.all.clone() if training.average else None
        self.best = self.flat.all.clone() if self.around.validate and training.keep == "best" else None
        self.best_tensors = {name: t.clone() for name, t in step.tensors().items()} if self.best is not None else {}
        self.best_unsaved = False
        self.counters = Counters()
        self.recent: list[tuple[int, int, Tensor]] = []  # batch of the epoch, its samples, loss
        self.started = 0.0

    def run(self) -> Counters:
        """Train to the end, leave the weights asked for in place, and return the counters."""
        torch.set_num_threads(self.training.threads)
        with torch.no_grad() if self.step.uses_autograd else torch.inference_mode():
            self._resume()
            self.started = time.monotonic() - self.counters.seconds
            while not self.counters.stopped:
                self._epoch()
            final = self.best if self.best is not None else self.average
            if final is not None:
                self.flat.all.copy_(final)
            if self.best is not None:
                self.step.load(self.best_tensors)
        return self.counters

    def _epoch(self) -> None:
        t, c, flat, world = self.training, self.counters, self.flat, self.around.world
        per_epoch, step, optimizer = len(self.batches), self.step, self.optimizer
        total, clips, saves = t.epochs * per_epoch, bool(t.clip_norm or t.clip_value), self._can_save()
        for batch in self.batches.epoch(c.epoch, c.at):
            loss = step(batch, c.done)
            if loss is not None:
                self.recent.append((c.at, getattr(batch, "whole", 1), loss))
            if world.size > 1:
                world.sum(flat.grad)
            if clips:
                clip_gradient(flat.grad, t)
            c.done += 1
            c.at += 1
            optimizer.step(t.rate * rate_factor(t, c.done, total, per_epoch))
            if self.average is not None:
                self.average.lerp_(flat.all, 1 - min(t.average, c.done / (c.done + 10)))
            if c.at % LOOK == 0 or saves():
                self._look()
                self._save_if_due()
        self._look()
        self._end_epoch()

    def _can_save(self) -> Callable[[], bool]:
        """A quick question for every step; several processes ask only where they look at the losses together."""
        checkpoints = self.around.checkpoints
        if checkpoints is None or self.around.world.size > 1:
            return lambda: False
        return lambda: checkpoints.due

    def _look(self) -> None:
        """Add up the losses since the last look, one by one, so that the sum does not depend on when one looked."""
        if not self.recent:
            return
        recent, losses = list(self.recent), torch.stack([loss for _, _, loss in self.recent]).double()
        self.recent.clear()
        self.around.world.sum(losses)
        for (at, samples, _), loss in zip(recent, losses.tolist(), strict=True):
            if not math.isfinite(loss):
                raise self._diverged(loss, at)
            self.counters.loss_sum += loss * samples if self.training.reduction == "mean" else loss
            self.counters.looks += samples

    def _diverged(self, value: float, at: int | None = None, what: str = "the loss") -> LevshaError:
        """The error for a figure that is no finite number; at: the batch of this epoch, the last one unless it is known."""
        c, t = self.counters, self.training
        at = max(0, c.at - 1) if at is None else at
        describe = getattr(self.batches, "describe", None)
        rows = f" ({describe(c.epoch, at)})" if describe else ""
        return LevshaError(
            f"training: {what} is {value} at step {c.done - c.at + at + 1}: epoch {c.epoch + 1}, batch {at + 1} of {len(self.batches)}{rows}. "
            f"Try a lower rate than {t.rate:g}, clip the gradient's norm to 1, or warm up; look at that batch for values that cannot be. {self._last_kept()}"
        )

    def _last_kept(self) -> str:
        kept = self.around.checkpoints.mine if self.around.checkpoints else []
        return f"The last good checkpoint is {kept[-1]}." if kept else "No checkpoint was written yet."

    def _end_epoch(self) -> None:
        c, t, around = self.counters, self.training, self.around
        before = c.history[-1]["loss"] if c.history else 0.0  # for an epoch of so few steps that none was looked at
        loss = c.loss_sum / c.looks if c.looks else before  # a sample's
        line: dict[str, float] = {"epoch": c.epoch + 1, "step": c.done, "loss": loss} | self._validate()
        if around.validate:
            self._judge(line[around.watch], c.epoch + 1)
        c.epoch, c.at, c.loss_sum, c.looks = c.epoch + 1, 0, 0.0, 0
        c.stopped = c.ended(t)
        c.seconds = time.monotonic() - self.started
        c.history.append(line)
        if around.log and around.world.rank == 0:
            around.log.append(line)
            c.log_bytes = around.log.size
        self._save_if_due(last=c.stopped)
        if around.report:
            speed = around.samples * (line["step"] / len(self.batches)) / max(1e-9, c.seconds)
            around.report(Progress(line, t.epochs, c.seconds, speed))

    def _validate(self) -> dict[str, float]:
        """The figures of the weights that would be kept; the same in every process, because process 0 alone measures."""
        validate, world = self.around.validate, self.around.world
        if not validate:
            return {}
        kept = self.flat.all.clone() if self.average is not None else None
        if self.average is not None:
            self.flat.all.copy_(self.average)
        figures = validate() if world.rank == 0 or world.size == 1 else {}
        if kept is not None:
            self.flat.all.copy_(kept)
        return self._agree(figures)

    def _agree(self, figures: dict[str, float]) -> dict[str, float]:
        if self.around.world.size == 1:
            return figures
        watched = self.around.world.share([figures.get(self.around.watch, 0.0)])[0]
        return figures | {self.around.watch: watched}

    def _judge(self, value: float, epoch: int) -> None:
        c = self.counters
        if not math.isfinite(value):
            raise self._diverged(value, what=self.around.watch)
        if c.best is None or (value > c.best if self.around.higher else value < c.best):
            c.best, c.best_epoch, c.waited, self.best_unsaved = value, epoch, 0, True
            if self.best is not None:
                self.best.copy_(self.flat.all if self.average is None else self.average)
                self.best_tensors = {name: t.clone() for name, t in self.step.tensors().items()}
        else:
            c.waited += 1

    def _save_if_due(self, last: bool = False) -> None:
        checkpoints, world = self.around.checkpoints, self.around.world
        if not checkpoints or (not last and not world.share([float(checkpoints.due)])[0]):
            return
        if world.rank == 0:
            self.counters.seconds = time.monotonic() - self.started
            saved = self.state()
            if not all(bool(torch.isfinite(t).all()) for t in (self.flat.all, *self.optimizer.state.values())):
                raise self._diverged(math.nan, what="a weight or a moment")
            if self.best is not None and self.best_unsaved:
                best = {"epoch": self.counters.best_epoch, self.around.watch: self.counters.best}
                checkpoints.save_best(saved.part("best.") | self.best_tensors, best)
                self.best_unsaved = False
            if self.around.log:
                self.around.log.flush()
            checkpoints.save(saved, self._extra())
        world.wait()

    def state(self) -> Saved:
        """Return everything the training goes on from; model and moments under the names of the model's state_dict."""
        flat, prefixed = self.flat, dict[str, Tensor]()
        parts = {"model": flat.all} | ({"average": self.average} if self.average is not None else {})
        parts |= {"best": self.best} if self.best is not None else {}
        for label, tensor in parts.items():
            prefixed |= {f"{label}.{name}": view for name, view in flat.split(tensor).items()}
        for moment, tensor in self.optimizer.state.items():
            prefixed |= {f"optimizer.{name}.{moment}": view for name, view in flat.split(tensor).items()}
        prefixed |= {f"state.{name}": tensor for name, tensor in self.step.tensors().items()}
        prefixed |= {f"best_state.{name}": tensor for name, tensor in self.best_tensors.items()}
        return Saved(prefixed | {"optimizer.steps": self.optimizer.steps}, self._counted())

    def load(self, saved: Saved) -> None:
        """Take the state back; LevshaError where the checkpoint is of another model."""
        try:
            flat = self.flat
            self._fill(flat.all, saved.part("model."))
            for label, tensor in (("average.", self.average), ("best.", self.best)):
                if tensor is not None:
                    self._fill(tensor, saved.part(label))
            for moment, tensor in self.optimizer.state.items():
                self._fill(tensor, {name: saved.tensors[f"optimizer.{name}.{moment}"] for name in flat.shapes})
            self.optimizer.steps.copy_(saved.tensors["optimizer.steps"])
            self.step.load(saved.part("state."))
            self.best_tensors = saved.part("best_state.")
        except (KeyError, RuntimeError) as error:
            raise LevshaError(
                f"{saved.path}: is of another model or optimizer ({error}); train in another folder."
            ) from None
        self.counters = Counters(**saved.counters)
        self.counters.stopped = self.counters.ended(self.training)  # a shorter training may have ended there

    def _counted(self) -> dict[str, Any]:
        """The counters; without the history where the log has it, which would make every checkpoint of a long training larger."""
        return vars(self.counters) | ({"history": []} if self.around.log else {})

    def _fill(self, flat: Tensor, named: dict[str, Tensor]) -> None:
        for name, view in self.flat.split(flat).items():
            view.copy_(named[name])

    def _extra(self) -> dict[str, Any]:
        return {"processes": self.around.world.size, "device": str(self.flat.all.device)}

    def _resume(self) -> None:
        """Go on from the last checkpoint: process 0 reads it, and the others get it from there."""
        around, world = self.around, self.around.world
        saved = around.checkpoints.load(self._extra()) if around.checkpoints and world.rank == 0 else None
        if saved:
            self.load(saved)
        if world.share([float(saved is not None)])[0]:
            self._spread()
        if around.log and world.rank == 0:
            around.log.resume(self.counters.log_bytes)
            self.counters.history = read_log(around.log.path)

    def _spread(self) -> None:
        """Give every process the state of process 0."""
        c, world = self.counters, self.around.world
        tensors = [self.flat.all, self.average, self.best, self.optimizer.steps, *self.optimizer.state.values()]
        for tensor in (*tensors, *self.step.tensors().values(), *self.best_tensors.values()):
            if tensor is not None:
                world.copy(tensor)
        names = ("epoch", "at", "done", "loss_sum", "looks", "best_epoch", "waited", "stopped", "log_bytes", "seconds")
        *numbers, best = world.share(
            [*(float(getattr(c, name)) for name in names), math.nan if c.best is None else c.best]
        )
        for name, number in zip(names, numbers, strict=True):
            setattr(c, name, type(getattr(c, name))(number))
        c.best = None if math.isnan(best) else best
