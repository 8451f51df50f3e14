"""Packing of 1-bit weights: the bit order that the functions and the C kernels read."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgesnn.export.pack import pack_signs


def test_lowest_bit_first_and_unused_bits_clear():
    weights = np.array([[1, -1, -1, -1, -1, -1, -1, -1, 1, 1], [-1] * 10], np.int8)
    assert pack_signs(weights).tolist() == [[0b1, 0b11], [0, 0]]


@given(
    weights=hnp.arrays(np.int8, hnp.array_shapes(min_dims=2, max_dims=4, max_side=7), elements=st.sampled_from([-1, 1]))
)
def test_bits_are_the_signs_row_by_row(weights):
    packed = pack_signs(weights)
    rows = weights.reshape(len(weights), -1)
    assert packed.dtype == np.uint8
    assert packed.shape == (len(weights), -(-rows.shape[1] // 8))
    for o, row in enumerate(rows):
        for i, weight in enumerate(row):
            assert (packed[o, i // 8] >> (i % 8) & 1) == (weight == 1)
