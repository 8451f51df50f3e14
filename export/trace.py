"""The presynaptic trace in fixed point: the running mean of the readout's input spikes, from which devices learn."""

from __future__ import annotations

from dataclasses import dataclass

from edgesnn.errors import ExportError
from edgesnn.export.builder import GraphBuilder
from edgesnn.export.fixed_point import Q15
from edgesnn.export.lower import ReadoutLayer, Signal
from edgesnn.runtime.graph import NEW

TRACE = "readout.trace"
#: Finest unit of the trace: 2^-10 of a spike.
_TRACE_BITS = 10


@dataclass(frozen=True)
class TraceScale:
    """The trace is the mean spike in units of 2^-bits; a spike of one unit adds `gain`, the sum stops at `limit`."""

    bits: int
    gain: int
    limit: int


def trace_scale(spikes: Signal, leak: int, steps: int, limit: int) -> TraceScale:
    """The finest trace that stays within `limit`.

    An input of weight (1 - leak) makes the trace a mean over the stream; without a leak it is the mean over `steps`.

    Raises:
        ExportError: no trace that fits moves with each spike.
    """
    share = (Q15 - leak) / Q15 if leak < Q15 else 1 / steps
    for bits in range(_TRACE_BITS, -1, -1):
        gain = round(share * 2**bits)
        if gain and spikes.high * gain / share <= limit:
            return TraceScale(bits, gain, limit)
    raise ExportError(
        f"readout: expected a trace of {spikes.shape[0]} inputs that stays within {limit} and moves with each spike, "
        f"got a readout leak of {leak / Q15:g} with spikes up to {spikes.high}; use fewer inputs, fewer bits "
        "or a smaller leak"
    )


def add_trace(builder: GraphBuilder, readout: ReadoutLayer, scale: TraceScale) -> None:
    """Keep the trace beside the step graph's states."""
    trace = builder.state(TRACE, readout.spikes.shape)
    builder.call(
        "Trace",
        "readout.average",
        [trace, readout.spikes.name, "readout.leak"],
        [trace + NEW],
        gain=scale.gain,
        limit=scale.limit,
    )
