"""A captured net as integers, and when its answer is too close to call.  Legend: N images, K classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from levsha.applications import Image
from levsha.applications.image import margins
from levsha.conversion.captured import Captured
from levsha.conversion.measure import goal_of, measure
from levsha.data.samples import Samples
from levsha.net import Net
from levsha.recipes.bench import Parts
from levsha.recipes.images.data import Cut
from levsha.recipes.images.settings import Images
from levsha.recipes.integers import Made, Taught, make
from levsha.recipes.variant import Variant

LOST = (
    0.5  # points of validation accuracy: what loses more by quantisation alone is fine-tuned, where that is asked for
)
SHARE = 0.5  # of the wrong answers: so many at most are left by the least margin that counts as sure


def make_variant(
    settings: Images, captured: Captured, variant: Variant, parts: Parts, part: Cut, seed: int, room: Path, report: Callable[[str, str, bool], None],
    taught: Taught | None = None,
) -> Made:  # fmt: skip
    """Return the integers of a variant; trained on where fine-tuning is asked for and quantising alone lost more than LOST points."""
    validation, assert_y = part.validation, part.validation.y
    float_NO = captured.float_outputs(validation.x)
    goal = goal_of(assert_y, float_NO, captured.opened.title)
    report("convert", variant.name, False)

    def tell(text: str) -> None:
        report("convert", f"{variant.name}: fine-tuning  {text}", False)

    made = make(replace(settings, fine_tune=0), captured, variant, parts, goal, seed, room, tell)
    if not settings.fine_tune:
        return made
    lost = measure(float_NO, goal, float_NO)["accuracy"] - _right(made.net, validation)
    return make(settings, captured, variant, parts, goal, seed, room, tell, taught) if lost > LOST else made


def scores_of(net: Net, x: np.ndarray) -> np.ndarray:
    """Return the integer scores (N, K) of images, as the net on the chip has them before it names the largest."""
    ((name, layout),) = ((name, net.meaning.layouts[name]) for name in net.graph.inputs)
    found = net.run(net.integers(name, layout.lay(x)))
    return next(found[name].reshape(len(x), -1) for name in net.graph.outputs if name not in net.meaning.classes)


def _right(net: Net, samples: Samples) -> float:
    return 100 * float((scores_of(net, samples.x).argmax(1) == samples.y).mean())


def with_margin(net: Net, least: int) -> Net:
    """Return a net that says on its chip that it is unsure, where the highest score leads the next by less than `least`."""
    talks = net.application
    return replace(net, application=replace(talks, unsure_below=least)) if isinstance(talks, Image) else net


def least_sure_margin(scores_NK: np.ndarray, y_N: np.ndarray, share: float = SHARE) -> int:
    """Return the smallest margin that counts as sure: the least at which, of what is answered, at most `share` times as much is wrong as of all.

    0 where nothing is wrong.

    >>> scores = np.array([[9, 0], [9, 1], [5, 4], [4, 5]])   # the last two are close, the third is wrong
    >>> least_sure_margin(scores, np.array([0, 0, 1, 1]))
    8
    """
    margin_N, wrong_N = margins(scores_NK), scores_NK.argmax(1) != y_N
    order = np.argsort(-margin_N, kind="stable")
    wrong_so_far = np.cumsum(wrong_N[order]) / np.arange(1, len(order) + 1)
    ends = np.append(np.diff(margin_N[order]) != 0, True)  # images of one margin are answered together
    good = np.flatnonzero(ends & (wrong_so_far <= share * wrong_N.mean()))
    return int(margin_N[order][good[-1]]) if len(good) and wrong_N.any() else 0


def with_answers(net: Net, validation: Samples, test: Samples) -> tuple[dict[str, Any], np.ndarray]:
    """Return the margin below which a net is unsure, chosen on validation images, and of test images how many it answers and how many
    of these rightly, per cent; and what it decides for each test image (N,)."""
    assert validation.y is not None and test.y is not None
    least = least_sure_margin(scores_of(net, validation.x), validation.y)
    scores_NK = scores_of(net, test.x)
    sure_N, decided_N = margins(scores_NK) >= least, scores_NK.argmax(1)
    right = 100 * float((decided_N == test.y)[sure_N].mean()) if sure_N.any() else 0.0
    return {"margin": least, "answered": 100 * float(sure_N.mean()), "answered_right": right}, decided_N
