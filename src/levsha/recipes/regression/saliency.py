"""The gradient of a net's outputs by its inputs; legend: N examples, I inputs."""

from __future__ import annotations

import numpy as np
import torch

from levsha.data.table import Table
from levsha.recipes.regression.learn import load_net
from levsha.recipes.regression.net import Prepared
from levsha.recipes.regression.settings import Regression


def gradients(
    settings: Regression, table: Table, variant: str, output: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the test samples' numbers, the gradient (N, I) of an output (None: of the largest one), and the largest output's number (N,).

    In the target's unit for one standard deviation of the input; of a class, of its logit.
    """
    prepared = Prepared(table, settings.seed)
    model = load_net(settings, prepared, variant)
    x = prepared.inputs(prepared.test).requires_grad_()
    outputs_NO = model(x)
    largest_N = outputs_NO.argmax(1)
    column_N = largest_N if output is None else torch.full_like(largest_N, output)
    outputs_NO.gather(1, column_N[:, None]).sum().backward()
    assert x.grad is not None
    scale = 1.0 if output is None else float(prepared.y.std_C[output])
    return prepared.test, x.grad.double().numpy() * scale, largest_N.numpy()
