"""The trace of the readout's input spikes: as fine as its limit allows, never beyond it."""

from __future__ import annotations

import golden
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgesnn.errors import ExportError
from edgesnn.export import class_means, learn
from edgesnn.export.lower import Signal
from edgesnn.export.trace import TraceScale, trace_scale

Q15 = 2**15


def spikes(inputs, high=15, unit=0.1):
    return Signal("s", unit, 0, high, (inputs,))


def settled(scale, high, leak, steps):
    """The trace of a spike that stays at `high`: until it no longer moves, or over `steps` without a leak."""
    value = np.zeros(1, np.int64)
    for _ in range(steps if leak == Q15 else 400_000):
        after = golden.trace(value, np.array([high]), leak, scale.gain, scale.limit)
        if leak < Q15 and after == value:
            break
        value = after
    return int(value[0])


@pytest.mark.parametrize("scope", [learn, class_means], ids=["readout", "means"])
@given(inputs=st.integers(1, 4000), high=st.sampled_from([1, 3, 15, 255]), steps=st.integers(1, 100),
       leak=st.sampled_from([0, 1, 16384, 29491, 32000, 32440, Q15]) | st.integers(0, 32600))  # fmt: skip
def test_trace_never_overflows_what_reads_it(scope, inputs, high, leak, steps):
    """C * 127 * limit < 2^31 (a third of that with a bias of class means); and the limit is above what a constant spike
    settles at, so that it only ever guards.
    """
    limit = scope.trace_limit(inputs)
    try:
        scale = trace_scale(spikes(inputs, high), leak, steps, limit)
    except ExportError:
        assume(False)
    assert scale.limit == limit
    assert (3 if scope is class_means else 1) * inputs * 127 * limit < 2**31
    assert limit < (2**15 if scope is class_means else 2**23)
    assert scale.gain >= 1
    assert 0 <= scale.bits <= 10
    share = (Q15 - leak) / Q15 if leak < Q15 else 1 / steps
    assert high * scale.gain / share <= scale.limit
    assert scale.gain == round(share * 2**scale.bits)


@pytest.mark.parametrize("leak", [0, 16384, 29491, 32000])
def test_trace_is_the_mean_spike(leak):
    """A spike of 9 that stays settles at 9 units, up to the rounding of the gain and of each step."""
    scale = trace_scale(spikes(24), leak, 1, 2**20)
    share = (Q15 - leak) / Q15
    exact = 9 * scale.gain / share
    assert abs(settled(scale, 9, leak, 1) - exact) <= 0.5 / share + 1
    assert abs(exact / 2**scale.bits - 9) <= 9 * 0.5 / scale.gain


def test_trace_without_a_leak_is_the_mean_of_the_window():
    scale = trace_scale(spikes(24), Q15, 4, 2**20)
    assert scale == TraceScale(10, 256, 2**20)
    assert settled(scale, 9, Q15, 4) == 9 * 2**10


def test_wide_readouts_have_coarser_traces():
    assert [
        trace_scale(spikes(inputs, 255), 29491, 1, learn.trace_limit(inputs)).bits for inputs in (10, 100, 1000)
    ] == [10, 9, 6]


@pytest.mark.parametrize(("inputs", "leak"), [(10_000_000, 29491), (300_000, 32767), (24, 32767 + 1)])
def test_traces_that_would_not_move_are_refused(inputs, leak):
    """Too many inputs, or a leak so small that a spike adds less than half a unit."""
    with pytest.raises(
        ExportError, match=rf"^readout: expected a trace of {inputs} inputs that stays within .*; use fewer"
    ) as e:
        trace_scale(spikes(inputs), leak, 2**15, learn.trace_limit(inputs))
    assert "\n" not in str(e.value)
