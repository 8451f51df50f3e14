"""The parallel-time-step graph, derived from the step graph.

Synapses, rescales and pooling run once on T*N samples; nodes that read a state, or a parameter that depends on the time
step, run one step after the other, and so does all that lies between a state and its new value. The result equals T
calls of the step graph, states included.
"""

from __future__ import annotations

import onnx

from edgesnn.export.builder import finish
from edgesnn.export.window_plan import plan
from edgesnn.export.window_scan import scanned
from edgesnn.export.window_unrolled import unrolled


def window(step: onnx.ModelProto, steps: int | None, *, held: bool = False) -> onnx.ModelProto:
    """Time steps of `step` in one graph, with the same weights, states and metadata.

    Args:
        step: the step graph.
        steps: T, and the recurrences are unrolled; or None, and T is free: they are bodies of Scan.
        held: x is one frame [N, ...] that stands still for all steps, instead of [T, N, ...]. What reads it alone runs
            once. Where T is free, it is the input `steps`, int64 [1].
    """
    groups = plan(step.graph, held=held)
    graph = scanned(step, groups, held=held) if steps is None else unrolled(step.graph, groups, steps, held=held)
    return finish(graph, {entry.key: entry.value for entry in step.metadata_props})
