"""Channel attention: means, a convolution over channels, a sigmoid by table, a product, at the ends of their ranges."""

from __future__ import annotations

import golden
import golden_layers
import hypothesis.extra.numpy as hnp
import numpy as np
from functions import assert_function
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesnn.export.functions.attention import SIGMOID_Q15

CURRENT = st.sampled_from([-(2**30), -1, 0, 1, 2**30]) | st.integers(-(2**20), 2**20)


@settings(max_examples=30)
@given(shape=hnp.array_shapes(min_dims=2, max_dims=4, max_side=5).filter(lambda shape: len(shape) != 3),
       size=st.sampled_from([1, 3, 5]), same=st.booleans(), shift=st.integers(1, 20), data=st.data())  # fmt: skip
def test_channel_attention(shape, size, same, shift, data):
    current, context = (data.draw(hnp.arrays(np.int32, shape, elements=CURRENT)) for _ in range(2))
    kernel = data.draw(hnp.arrays(np.int32, size, elements=st.integers(-(2**12), 2**12)))
    numbers = {"mean": data.draw(st.integers(1, 2**15)), "mean_shift": data.draw(st.integers(14, 20)), "shift": shift}
    inputs = {"I": current, "context": current if same else context, "kernel": kernel, "table": SIGMOID_Q15}
    rows = zip(current, inputs["context"], strict=True)
    expected = np.stack([golden.channel_attention(*row, kernel, SIGMOID_Q15, **numbers) for row in rows])
    pixels = int(np.prod(shape[2:]))
    assert_function("ChannelAttention", inputs, [expected], ["int32"], ["kernel", "table"], pixels=pixels, **numbers)


@settings(max_examples=20)
@given(shape=hnp.array_shapes(min_dims=2, max_dims=4, max_side=5).filter(lambda shape: len(shape) != 3),
       size=st.sampled_from([1, 3, 5]), shift=st.integers(1, 20), data=st.data())  # fmt: skip
def test_gradient_through_the_score(shape, size, shift, data):
    shape = (1, *shape[1:])
    errors = st.integers(-(2**17), 2**17)
    g, current, context = (
        data.draw(hnp.arrays(np.int32, shape, elements=elements)) for elements in (errors, CURRENT, CURRENT)
    )
    kernel = data.draw(hnp.arrays(np.int32, size, elements=st.integers(-(2**8), 2**8)))
    numbers = {"mean": data.draw(st.integers(1, 2**15)), "mean_shift": data.draw(st.integers(14, 20)), "shift": shift}
    numbers |= {"sum_shift": data.draw(st.integers(26, 30)), "out_shift": data.draw(st.integers(8, 12))}
    inputs = {"g": g, "I": current, "context": context, "kernel": kernel, "table": SIGMOID_Q15}
    wanted = golden_layers.attention_gradient(g[0], current[0], context[0], kernel, SIGMOID_Q15, **numbers)[None]
    pixels = int(np.prod(shape[2:]))
    assert_function("AttentionGradient", inputs, [wanted], ["int32"], ["kernel", "table"], pixels=pixels, **numbers)


def test_the_table_is_a_sigmoid():
    """A current of 2^15 becomes its score, within three units of Q15 for every context z in units of 2^-12."""
    z = np.arange(-(2**15), 2**15)[:, None]
    numbers = {"mean": 1, "mean_shift": 1, "shift": 1}
    score = golden.channel_attention(np.full_like(z, 2**15), 2 * z, np.array([2]), SIGMOID_Q15, **numbers)
    assert np.abs(score - 2**15 / (1 + np.exp(-z / 2**12))).max() < 3
    assert (np.diff(score[:, 0]) >= 0).all()
