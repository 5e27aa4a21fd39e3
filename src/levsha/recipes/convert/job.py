"""One split of a conversion: open the model, prove it, make every variant's integers and measure them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from levsha.conversion.captured import capture_all
from levsha.conversion.opening import open_model
from levsha.conversion.sensitivity import sensitivity
from levsha.recipes.bench import Bench
from levsha.recipes.convert.settings import Convert
from levsha.recipes.integers import about_capture, goal_for, make, measure_float, measure_made
from levsha.recipes.pipeline import folder_of
from levsha.recipes.variant import Variant

Report = Callable[[int, str], None]


def convert_split(
    settings: Convert, bench: Bench, variants: list[Variant], seed: int, report: Report
) -> dict[str, Any]:
    """Make and measure every variant of a split; return its metrics by variant, and what was found on the way."""
    parts = bench.parts(settings.calibration_rows, bool(settings.fine_tune), seed)
    calibration, test = parts.calibration, parts.test
    report(0, "reading the model")
    opened = open_model(settings.model, calibration.x, settings.state)
    captured = capture_all(
        opened, test.x, calibration.x, calibration.names, calibration.units, settings.keep_sigmoid, test.y
    )
    float_NO = captured.float_outputs(test.x)
    goal, room = goal_for(captured, test, float_NO), folder_of(settings.out, "split", seed, "training")
    found = measure_float(captured, goal, float_NO)
    for k, variant in enumerate((v for v in variants if v.format), 1):
        report(k, variant.name)

        def tell(text: str, k: int = k, name: str = variant.name) -> None:
            report(k, f"{name}  {text}")

        made = make(settings, captured, variant, parts, goal, seed, room, tell)
        made.net.save(room / f"{variant.name}.net.safetensors")
        found[variant.name] = measure_made(made, captured, test, goal, float_NO)
    report(len(variants), "what each layer costs")
    rows = sensitivity(captured, test.x, goal)
    return found | {"capture": about_capture(captured, test), "sensitivity": rows, "kind": goal.kind}
