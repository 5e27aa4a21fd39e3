"""The three examples, as a user has them: trained in seconds, converted unedited, exact on this machine and on the chip."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import levsha
from levsha.targets import TARGETS

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def digits() -> levsha.Net:
    module = load("digits_2d")
    (x, y), test = module.load()
    return levsha.convert(module.train(x, y, 6), x, y, test=test)


def gestures() -> levsha.Net:
    module = load("gesture_1d")
    (x, y), test = module.make(1200, 0), module.make(500, 1)
    return levsha.convert(module.train(x, y, 8), x, y, classes=module.GESTURES, test=test)


def power() -> levsha.Net:
    module = load("sensor_mlp")
    (x, y), test = module.make(2000, 0), module.make(500, 1)
    return levsha.convert(module.train(x, y, 30), x, y, test=test)


@pytest.mark.parametrize(
    ("make", "figure", "floor", "least"),
    [(digits, "accuracy", 92.0, 0.6), (gestures, "accuracy", 90.0, 0.9), (power, "r2", 0.97, 0.005)],
)
def test_an_example_is_converted_and_exact(make, figure: str, floor: float, least: float, need) -> None:
    net = make()
    source, made = net.about["float"][figure], net.about["integer"][figure]
    assert source > floor and made > source - least, net.about
    assert net.about["import_difference"] < 1e-3
    for target, vectors in (("host", 1000), ("uno", 40)):
        need(TARGETS[target])
        found = net.check(target, vectors)
        assert (found.vectors, found.mismatches) == (vectors, 0)


def test_a_net_is_called_with_what_the_model_takes(tmp_path: Path) -> None:
    """One example or many, real numbers in and out, through the integers; the same after a file."""
    net = power()
    x = load("sensor_mlp").make(20, 5)[0]
    assert net(x).shape == (20, 1) and net(x[0]).shape == (1,)
    np.testing.assert_array_equal(net(x)[3], net(x[3]))
    integers = net.run(net.integers("input", x))["output"]
    np.testing.assert_allclose(net(x), net.meaning.to_real("output", integers))
    net.save(tmp_path / "net.safetensors")
    again = levsha.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again(x), net(x))
    assert again.about == net.about and repr(again) == repr(net) and "<table>" in again._repr_html_()
    with pytest.raises(levsha.LevshaError, match=r"the input has shape \(3,\); \(4,\) is needed"):
        net(x[0, :3])
