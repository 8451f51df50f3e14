"""Surrogate derivatives: the papers' values, and the height and area they share."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgesnn.neurons import SURROGATES

DISTANCE = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 0.9, 3.0])


def test_rectangle_and_triangle_are_equations_5_and_6():
    assert SURROGATES["rectangle"](DISTANCE, 2.0).tolist() == [0, 0, 0.5, 0.5, 0.5, 0.5, 0]
    torch.testing.assert_close(
        SURROGATES["triangle"](DISTANCE, 2.0), torch.tensor([0, 0.25, 0.375, 0.5, 0.375, 0.275, 0])
    )


@pytest.mark.parametrize(
    ("name", "primitive"),
    [
        ("sigmoid", lambda d, gamma: torch.sigmoid(4 * d / gamma)),
        ("arctan", lambda d, gamma: torch.atan(math.pi * d / gamma) / math.pi + 0.5),
    ],
)
@given(gamma=st.floats(0.25, 4))
def test_smooth_surrogates_are_derivatives(name, primitive, gamma):
    distance = DISTANCE.double().requires_grad_()
    primitive(distance, gamma).sum().backward()
    torch.testing.assert_close(SURROGATES[name](DISTANCE.double(), gamma), distance.grad)


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("gamma", [0.3, 1.0, 4.0])
def test_all_have_one_height_and_area_and_are_even(name, gamma):
    surrogate = SURROGATES[name]
    grid = torch.linspace(-400, 400, 800_001, dtype=torch.float64)
    values = surrogate(grid, gamma)
    assert values.max().item() == pytest.approx(1 / gamma)
    assert torch.trapezoid(values, grid).item() == pytest.approx(1, abs=5e-3)
    torch.testing.assert_close(values, values.flip(0))
