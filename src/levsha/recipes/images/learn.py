"""One split: train, prepare, calibrate, convert, compare.  Imports torch; runs in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from safetensors.torch import save
from torch import Tensor, nn

from levsha.conversion.captured import Captured, capture_all
from levsha.conversion.opening import open_model
from levsha.conversion.sensitivity import sensitivity
from levsha.data.samples import Samples
from levsha.files import write_file
from levsha.lower.node import SAME
from levsha.recipes.bench import Bench, Parts
from levsha.recipes.conversion import FLOAT
from levsha.recipes.images.data import Cut, batches_of, calibration_rows, cut
from levsha.recipes.images.integer import make_variant, with_answers, with_margin
from levsha.recipes.images.lesson import Lesson, classes_of, lesson_of
from levsha.recipes.images.net import build_net, on_raw_pixels
from levsha.recipes.images.settings import Images
from levsha.recipes.integers import Made, about_capture, goal_for, measure_float, measure_made
from levsha.recipes.pipeline import folder_of
from levsha.recipes.variant import Variant
from levsha.store import stable
from levsha.train.fit import Fitted, fit
from levsha.train.surroundings import Progress

WATCHED = 1000  # validation images looked at while training
STAGES = ("train", "prepare", "calibrate", "convert", "compare")

Report = Callable[[str, str, bool], None]  # stage, text, whether the line stays


def train_split(settings: Images, data: Bench, variants: list[Variant], seed: int, report: Report) -> dict[str, Any]:
    """Make and measure the float net of a split and every variant of it; return their metrics, and what was found on the way."""
    part, room = cut(data, seed), folder_of(settings.out, "split", seed, "training")
    lesson = lesson_of(settings, data, part, seed, report)
    net, fitted = train(settings, data, part, lesson, seed, report)
    write_file(room / f"{FLOAT}.safetensors", stable(save(dict(net.state_dict()))))
    captured, parts = prepare(settings, data, part, net, seed, report)
    float_NO = captured.float_outputs(parts.test.x)
    goal = goal_for(captured, parts.test, float_NO)
    made = []
    for variant in (v for v in variants if v.format):
        made.append(make_variant(settings, captured, variant, parts, part, seed, room, report, lesson.taught))
        report("convert", f"{variant.name}: {made[-1].net.sizes.weight_bytes} B of weights", True)
    found = measure_float(captured, goal, float_NO)
    found[FLOAT] |= {"history": fitted.history, "parameters": sum(p.numel() for p in net.parameters())}
    decided: dict[str, list[int]] = {}
    for one in made:
        report("compare", one.variant.name, False)
        found[one.variant.name], decided[one.variant.name] = compare(one, captured, part, parts.test, goal, float_NO)
        net_of_chip = with_margin(one.net, found[one.variant.name]["margin"])
        net_of_chip.save(room / f"{one.variant.name}.net.safetensors")
    report("compare", _compared(found, made), True)
    rows = sensitivity(captured, parts.test.x, goal)
    lesson.forget()
    return found | {
        "capture": about_capture(captured, parts.test),
        "sensitivity": rows,
        "kind": goal.kind,
        "decided": decided,
    }


def train(
    settings: Images, data: Bench, part: Cut, lesson: Lesson, seed: int, report: Report
) -> tuple[nn.Sequential, Fitted]:
    """Train the float net of a split, or go on where it was; return it as it reads raw pixels, and how it went."""
    shape, pixels, batches = settings.shape(data), lesson.pixels, settings.batches
    watched = part.validation.rows(np.arange(min(WATCHED, len(part.validation))))

    def tell(progress: Progress) -> None:
        line = progress.line
        done = int(line["epoch"]) * settings.steps_an_epoch
        report(
            "train", f"{done}/{batches} batches  loss {line['loss']:.3f}  validation {line['accuracy']:.1f} %", False
        )

    report("train", f"0/{batches} batches", False)
    started, net = time.monotonic(), build_net(shape, seed)
    fitted = fit(
        net, lesson.stream, (pixels.standard(watched.x), classes_of(watched)), replace(settings.training, seed=seed),
        folder=folder_of(settings.out, "split", seed, "training") / FLOAT, metrics={"accuracy": _accuracy}, report=tell,
        key=f"{data.digest} {seed} {shape.describe()}", replace=True,
    )  # fmt: skip
    best, seconds = fitted.history[fitted.best_epoch - 1], time.monotonic() - started
    report(
        "train",
        f"{batches} batches of {settings.train.batch} in {seconds:.1f} s: loss {best['loss']:.3f}, validation {best['accuracy']:.1f} %",
        True,
    )
    return on_raw_pixels(net, shape, pixels, seed), fitted


def prepare(
    settings: Images, data: Bench, part: Cut, net: nn.Sequential, seed: int, report: Report
) -> tuple[Captured, Parts]:
    """Capture the float net with the images that calibrate it; return it with all the rows that are needed from here on."""
    assert data.test is not None
    shape, count, size = settings.shape(data).describe(), settings.calibration_batches, settings.train.batch
    report("prepare", shape, False)
    first = part.learned.x[:size]
    captured = capture_all(open_model(net, first), data.test.x, first, (), (), False, data.test.y)
    captured = replace(captured, opened=replace(captured.opened, title=f"{settings.kind} of {data.name}"))
    observers = sum(node.kind not in SAME for node in captured.folded.nodes) + 1  # of the input as well
    report("prepare", f"{observers} observers in {shape}", True)
    loader = batches_of(part.learned, size, seed)
    rows = calibration_rows(loader, count, lambda k: report("calibrate", f"{k}/{count} batches", False))
    captured = captured.calibrated(rows)
    report("calibrate", f"{count} batches, {len(captured.calibration)} images", True)
    return captured, Parts(replace(part.learned, x=rows, y=None), data.test, part.learned)


def compare(
    made: Made, captured: Captured, part: Cut, test: Samples, goal: Any, float_NO: np.ndarray
) -> tuple[dict[str, Any], list[int]]:
    """Return a variant's figures on the test images, with what it would answer where it is sure; and the class it decides for, of each."""
    figures = measure_made(made, captured, test, goal, float_NO)
    answered, decided_N = with_answers(made.net, part.validation, test)
    return figures | answered, decided_N.tolist()


def _compared(found: dict[str, Any], made: list[Made]) -> str:
    each = [f"{one.variant.name} {found[one.variant.name]['accuracy']:.2f} %" for one in made]
    return f"right of the test images: {FLOAT} {found[FLOAT]['accuracy']:.2f} %, {', '.join(each)}"


def _accuracy(output: Tensor, target: Tensor) -> float:
    return 100 * float((output.argmax(1) == target).double().mean())
