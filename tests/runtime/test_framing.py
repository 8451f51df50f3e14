"""Rows become frames."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from toy import make_model

from edgesnn.runtime.framing import Framer


@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 3), st.integers(0, 40))
def test_a_frame_is_the_last_rows_flattened_one_every_hop(length: int, hop: int, channels: int, count: int) -> None:
    model = make_model({"length": length, "hop": hop, "channels": channels}, (length * channels,))
    rows = np.arange(count * channels, dtype=float).reshape(count, channels)
    framer = Framer(model)
    frames = [frame for frame in map(framer.push, rows) if frame is not None]
    expected = [rows[end - length : end].ravel() for end in range(length, count + 1, hop)]
    assert [frame.tolist() for frame in frames] == [frame.tolist() for frame in expected]
