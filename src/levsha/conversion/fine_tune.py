"""levsha.fine_tune: what levsha.convert does, for few bits and fewer channels: the model is trained on in its integers' own rounding."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from levsha.conversion.captured import CALIBRATION_ROWS, capture_all, net_of
from levsha.conversion.door import about
from levsha.conversion.opening import open_model
from levsha.conversion.rows import check_choices, checked_data, measured_rows
from levsha.conversion.tuning import Tuning, tune
from levsha.errors import naming_arguments
from levsha.net import Net
from levsha.train.settings import Training
from levsha.train.surroundings import Progress


@naming_arguments()
def fine_tune(
    model: nn.Module | Path | str,
    x: np.ndarray,
    y: np.ndarray | None = None,
    weights: str = "two_bit",
    *,
    epochs: int = Tuning.epochs,
    keep: float = Tuning.keep,
    distil: float = Tuning.distil,
    training: Training | None = None,
    folder: Path | str | None = None,
    replace: bool = False,
    layers: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    state: Path | str | None = None,
    test: tuple[np.ndarray, np.ndarray | None] | None = None,
    keep_sigmoid: bool = False,
    calibration_rows: int = CALIBRATION_ROWS,
    seed: int = 0,
    report: Callable[[Progress], None] | None = None,
) -> Net:
    """Return a model as an integer net that was trained on with its weights and values already rounded as the integers have them.

    model, x, y, weights, layers, classes, state, test, keep_sigmoid, calibration_rows: as for `convert`; all rows that do not measure are
    trained on. epochs, keep, distil, training: see Tuning. folder: for checkpoints; the same call goes on there and ends with the same
    bytes. replace: another training in it is removed. report: is told of every epoch. What came of it is in `net.about`. LevshaError says
    what is wrong with the model, the data or a setting.
    """
    check_choices(layers, classes, calibration_rows, seed)
    tuning = Tuning(epochs, keep, distil, seed, training)
    tuning.check()
    x, y, tested = checked_data(x, y, test)
    learned, rest = measured_rows(len(x), seed, test is not None)
    x_L, y_L = x[learned], None if y is None else y[learned]
    tested = tested or (x[rest], None if y is None else y[rest])
    opened = open_model(model, x, None if state is None else Path(state))
    calibration = x_L[:calibration_rows]
    captured = capture_all(opened, calibration, calibration, (), (), keep_sigmoid, y)
    captured.check_classes(classes)
    tuned = tune(
        captured, x_L, y_L, weights, layers, tuning=tuning, folder=folder, replace_folder=replace, report=report
    )
    lowered = tuned.lower(classes)
    net = net_of(tuned.captured, lowered, classes)
    said = {"keep": keep, "distil": distil, "best_epoch": tuned.best_epoch, "history": list(tuned.history)}
    return dataclasses.replace(net, about=about(captured, lowered, net, *tested) | {"fine_tuned": said})
