"""The settings of one stage of tinychat's training; free of torch, so that the command line can show them at once."""

from __future__ import annotations

from dataclasses import dataclass

from levsha.errors import LevshaError, check_range
from levsha.train.settings import Training

LIMITS = {
    "epochs": (0, 10_000), "rate": (1e-9, 10.0), "batch": (2, 1 << 20), "dropout": (0.0, 0.95), "weight_decay": (0.0, 10.0),
    "distil": (0.0, 1.0), "label_smoothing": (0.0, 0.9), "recombined": (0.0, 0.9), "average": (0.0, 0.99999), "temperature": (0.01, 100.0), "clip": (0.0, 1000.0),
}  # fmt: skip


@dataclass(frozen=True)
class Schedule:
    """One training stage: AdamW, 5 % linear warm-up to the rate, then a cosine to zero."""

    epochs: int = 60
    """Passes over the training samples; 0 keeps the weights as they are."""
    rate: float = 2e-3
    """Highest learning rate."""
    batch: int = 256
    """Samples a step."""
    dropout: float = 0.0
    """Share of hidden activations set to zero while training."""
    weight_decay: float = 0.0
    """Decoupled weight decay, on weights only."""
    distil: float = 0.0
    """Weight of the teacher's probabilities in the target; the label has the rest."""
    label_smoothing: float = 0.02
    """Share of the label spread over all classes."""
    recombined: float = 0.0
    """Share of the samples whose query is put together from two, labelled by the teacher alone; needs distil."""
    temperature: float = 1.5
    """The teacher's logits are divided by this."""
    average: float = 0.0
    """Keep an exponential moving average of the parameters with this decay, not the last ones (0: the last)."""
    clip: float = 0.0
    """Weights beyond this many scales get no gradient (0: all do); for quantised stages."""

    def check(self, where: str) -> None:
        """Raise LevshaError for a setting that cannot train; `where` is the flag's prefix."""
        for name, (low, high) in LIMITS.items():
            check_range(f"{where}.{name}", getattr(self, name), low, high)
        if self.recombined and not self.distil:
            raise LevshaError(f"--{where}.recombined: only a teacher can label such queries; set --{where}.distil.")

    def training(self, seed: int) -> Training:
        """Return what the loop makes of it: AdamW with beta2 = 0.99, which forgets sooner, as few steps want."""
        return Training(
            epochs=self.epochs, batch=self.batch, optimizer="adamw", rate=self.rate, beta2=0.99, weight_decay=self.weight_decay,
            schedule="cosine", warmup=0.05, average=self.average, keep="last", seed=seed,
        )  # fmt: skip
