"""The learning graph of scope `readout`: gradient descent on its weights, from the trace that every step keeps."""

from __future__ import annotations

import math

import numpy as np
import onnx

from edgesnn.errors import ExportError
from edgesnn.export.bounds import CURRENT_LIMIT, SAT24, TRAINED_WEIGHT
from edgesnn.export.builder import GraphBuilder
from edgesnn.export.fixed_point import Q15, multiplier
from edgesnn.export.lower import LOGIT_BITS, ReadoutLayer
from edgesnn.export.trace import TRACE, TraceScale
from edgesnn.runtime.graph import NEW
from edgesnn.runtime.model import LearnSpec

WEIGHT, BIAS, COUNT = "readout.weight", "readout.bias", "learn.count"


def trace_limit(inputs: int) -> int:
    """The largest trace whose products with weights fit int32 in a sum over the inputs, and 24 bits."""
    return min((2**31 - 1) // (TRAINED_WEIGHT * inputs), SAT24[1])


def learn_spec(readout: ReadoutLayer, scale: TraceScale, rate: float, seed: int) -> LearnSpec:
    """Step sizes as shifts: the powers of two nearest to the learning rate of gradient descent on real weights.

    With e in Q15, a weight unit s_w and a trace unit q (both in real values), one step changes an integer weight by
    rate * (e/2^15) * trace*q / s_w, and the bias (2^-10 nat) by rate * (e/2^15) * 2^10.

    Raises:
        ExportError: a rate that has no such shifts, or a seed that does not fit 32 bits.
    """
    if not 0 < rate < math.inf:
        raise ExportError(f"learn: expected a learning rate above 0, got {rate:g}; choose one near 3e-4")
    if not 0 <= seed < 2**32:
        raise ExportError(f"learn: expected a seed from 0 to {2**32 - 1}, got {seed}; choose one of 32 bits")
    weight_unit = readout.unit / readout.spikes.unit
    weight_step = rate * readout.spikes.unit * 2.0**-scale.bits / weight_unit / Q15
    bias_step = rate * 2.0**LOGIT_BITS / Q15 / Q15
    shifts = [round(-math.log2(step)) for step in (weight_step, bias_step)]
    if not all(1 <= shift <= 32 for shift in shifts):
        raise ExportError(
            f"learn: expected a learning rate whose shifts are 1 to 32, got {rate:g} with shifts {shifts}; "
            f"choose a {'larger' if max(shifts) > 32 else 'smaller'} rate"
        )
    return LearnSpec("readout", {"weight_shift": shifts[0], "bias_shift": shifts[1], "seed": seed})


def error_operands(builder: GraphBuilder, readout: ReadoutLayer, scale: TraceScale) -> tuple[list[str], int]:
    """What the error at the readout is computed from: weight, bias, trace, M and label; and the shift that M goes with.

    Raises:
        ExportError: weights and trace at their limits could give logits outside 31 bits.
    """
    largest = readout.spikes.shape[0] * TRAINED_WEIGHT * scale.limit
    logit = readout.unit * 2.0 ** (LOGIT_BITS - scale.bits)
    m, shift = multiplier(np.full(readout.classes, logit), largest, "readout")
    bound = ((largest * int(np.abs(m).max()) + 2 ** (shift - 1)) >> shift) - SAT24[0]
    if bound > CURRENT_LIMIT:
        raise ExportError(
            f"readout.learn: expected logits within +-{CURRENT_LIMIT}, got a bound of {bound}; "
            "reduce the scale of the readout's weights or of its input spikes"
        )
    operands = [WEIGHT, BIAS, TRACE, builder.constant("readout.learn_M", m), "label"]
    return operands, shift


def learn_graph(readout: ReadoutLayer, scale: TraceScale, spec: LearnSpec, metadata: dict[str, str]) -> onnx.ModelProto:
    """`learn.onnx` of scope `readout`.

    Raises:
        ExportError: weights and trace at their limits could give logits outside 31 bits.
    """
    builder, inputs = GraphBuilder(), readout.spikes.shape[0]
    trained: tuple[tuple[str, str, list[int | str]], ...] = (
        (WEIGHT, "int8", [readout.classes, inputs]),
        (BIAS, "int32", [readout.classes]),
        (COUNT, "int32", [1]),
    )
    for name, dtype, shape in trained:
        builder.input(name, dtype, shape)
        builder.output(name + NEW, dtype, shape)
    builder.input(TRACE, "int32", [1, inputs])
    builder.input("label", "int32", [1])
    operands, shift = error_operands(builder, readout, scale)
    builder.call(
        "LearnReadout", "readout.learn", [*operands, COUNT],
        [WEIGHT + NEW, BIAS + NEW, COUNT + NEW],
        shift=shift, **spec.numbers,
    )  # fmt: skip
    return builder.build("learn", metadata, "One learning step on the readout from the trace of its input spikes.")
