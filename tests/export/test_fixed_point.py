"""Multipliers: as fine as 30 bits and exact 53-bit products allow, and refused where they would not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesnn.errors import ExportError
from edgesnn.export.fixed_point import EXACT, MULTIPLIER_LIMIT, multiplier, rounded

FACTORS = st.lists(st.floats(-1e4, 1e4, allow_subnormal=False), min_size=1, max_size=6).map(np.array)


def fits(factor, shift, largest):
    top = int(np.abs(np.rint(factor * 2.0**shift)).max())
    return top < MULTIPLIER_LIMIT and largest * top + 2 ** (shift - 1) < EXACT


@given(factor=FACTORS, largest=st.integers(1, 2**24))
def test_multipliers_are_rounded_and_as_fine_as_can_be(factor, largest):
    m, shift = multiplier(factor, largest, "fc")
    assert m.dtype == np.int32
    assert np.array_equal(m, np.rint(factor * 2.0**shift))
    assert fits(factor, shift, largest)
    assert shift == 46 or not fits(factor, shift + 1, largest)


def test_the_carry_of_rounding_counts():
    """(2^31 - 1) * 2^22 is below 2^53, but not with the 2^22 that a shift of 23 adds."""
    m, shift = multiplier(np.array([0.5]), 2**31 - 1, "fc")
    assert (m.tolist(), shift) == ([2**21], 22)


def test_no_factor_needs_no_multiplier():
    m, shift = multiplier(np.zeros(3), 10, "fc")
    assert (m.tolist(), shift) == ([0, 0, 0], 46)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_factors_that_are_not_finite(bad):
    with pytest.raises(ExportError, match=r"^fc3: expected finite scales, got .*; check the norm's variance") as error:
        multiplier(np.array([1.0, bad]), 10, "fc3")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("factor", "largest"), [(2.0**29, 1), (2.0**28, 2**24), (1.0, 2**53)])
def test_factors_that_are_too_large(factor, largest):
    assert not fits(np.array([factor]), 1, largest)
    with pytest.raises(
        ExportError, match=r"^fc3: expected a scale that fits 30 bits and 53-bit products, got .*; reduce"
    ):
        multiplier(np.array([factor]), largest, "fc3")


def test_rounded_is_half_to_even_in_int32():
    result = rounded(np.array([0.5, 1.5, -0.5, 2**31 - 1.0, -(2**31) + 1.0]), "fc")
    assert result.dtype == np.int32
    assert result.tolist() == [0, 2, 0, 2**31 - 1, -(2**31) + 1]


@pytest.mark.parametrize("bad", [2.0**31, -(2.0**31), np.nan, np.inf])
def test_offsets_outside_int32(bad):
    with pytest.raises(ExportError, match=r"^fc3: expected offsets within int32, got .*; check the norm's variance"):
        rounded(np.array([0.0, bad]), "fc3")
