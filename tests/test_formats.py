"""Formats: packing loses nothing, rounding goes to the nearest grid point, in numpy and torch alike."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from levsha.formats import FORMATS, Format

every_format = pytest.mark.parametrize("weights", FORMATS.values(), ids=lambda f: f.name)


@every_format
@given(data=st.data())
def test_pack_then_unpack_is_the_identity(weights: Format, data: st.DataObject) -> None:
    run = np.array(data.draw(st.lists(st.sampled_from(weights.grid.tolist()), max_size=40)), np.int64)
    packed = weights.pack(run)
    assert packed.dtype == np.uint8
    assert (
        len(packed)
        == weights.packed_bytes(len(run))
        == -(-len(run) // weights.digits_per_group) * weights.bytes_per_group
    )
    np.testing.assert_array_equal(weights.unpack(packed, len(run)), run)


@every_format
@given(x=st.floats(-40_000, 40_000))
def test_rounds_to_the_nearest_grid_point(weights: Format, x: float) -> None:
    got = float(weights.to_integers(np.array([x]))[0])
    assert got in weights.grid
    assert abs(got - x) == np.abs(weights.grid - x).min()
    assert float(weights.to_integers(torch.tensor([x], dtype=torch.float64))[0]) == got


@every_format
def test_scale_is_positive_and_alike_in_numpy_and_torch(weights: Format) -> None:
    weight = np.random.default_rng(0).normal(size=(5, 64))
    scale = weights.scale(weight)
    assert scale.shape == (5, 1) and (scale > 0).all()
    np.testing.assert_allclose(scale, weights.scale(torch.from_numpy(weight)).numpy(), rtol=1e-12)
    error = ((weights.to_integers(weight / scale) * scale - weight) ** 2).sum() / (weight**2).sum()
    most = {"binary": 0.4, "ternary": 0.25, "two_bit": 0.15, "two_bit_z80": 0.5, "int3": 0.05, "int16": 1e-8}
    assert error < most.get(weights.name, 0.03)


def test_known_bytes() -> None:
    assert FORMATS["binary"].pack(np.array([1, -1, -1, 1, 1, 1, 1, 1])).tolist() == [0b11111001]
    assert FORMATS["two_bit"].pack(np.array([-3, -1, 1, 3])).tolist() == [0b11100100]
    assert FORMATS["two_bit_z80"].pack(np.array([-2, -1, 0, 1])).tolist() == [0b11100100]
    assert FORMATS["int3"].pack(np.array([-4, -3, -2, -1, 0, 1, 2, 3])).tolist() == [0b10001000, 0b11000110, 0b11111010]
    assert FORMATS["int4"].pack(np.array([-7, 7])).tolist() == [0xE0]
    assert FORMATS["int16"].pack(np.array([-32767, 258])).tolist() == [1, 0x80, 2, 1]
    assert FORMATS["int8"].pack(np.array([-127, 5])).tolist() == [0x81, 5]
    assert FORMATS["ternary"].pack(np.array([1, 1, 1, 1, 1])).tolist() == [-(-242 * 256 // 243)]


def test_all_243_ternary_bytes_read_back() -> None:
    ternary = FORMATS["ternary"]
    every = np.stack(np.meshgrid(*[[-1, 0, 1]] * 5, indexing="ij"), -1).reshape(-1)
    packed = ternary.pack(every)
    assert len(set(packed.tolist())) == 243
    np.testing.assert_array_equal(ternary.unpack(packed, len(every)), every)
