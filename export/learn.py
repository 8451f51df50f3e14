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


#: Learning rate of gradient descent on real weights, where none is given and the integers can follow it.
RATE = 3e-4
#: A stochastic rounding draws 32 bits.
LARGEST_SHIFT = 32


def trace_limit(inputs: int) -> int:
    """The largest trace whose products with weights fit int32 in a sum over the inputs, and 24 bits."""
    return min((2**31 - 1) // (TRAINED_WEIGHT * inputs), SAT24[1])


def usable_rate(
    readout: ReadoutLayer, scale: TraceScale, rate: float | None, largest_shift: int = LARGEST_SHIFT
) -> float:
    """The learning rate, if the shifts of the readout can follow it; for None the one nearest to `RATE` that they can.

    largest_shift: of the weights; that of the bias is `LARGEST_SHIFT`.

    Raises:
        ExportError: another rate, or a readout that has none.
    """
    if rate is not None and not 0 < rate < math.inf:
        raise ExportError(f"learn: expected a learning rate above 0, got {rate:g}; choose one near {RATE:g}")
    weight, bias = _halvings(readout, scale, 1.0)
    low = 2.0 ** max(weight - largest_shift, bias - LARGEST_SHIFT)
    high = 2.0 ** (min(weight, bias) - 1)
    if low > high:
        raise ExportError(
            f"learn: expected a readout with a learning rate for weights and bias, got weights up to "
            f"{TRAINED_WEIGHT * readout.unit / readout.spikes.unit:.2g}; train it, or export with learn='means'"
        )
    if rate is None:
        return min(max(RATE, low), high)
    shifts = [round(halvings) for halvings in _halvings(readout, scale, rate)]
    if min(shifts) < 1 or shifts[0] > largest_shift or shifts[1] > LARGEST_SHIFT:
        raise ExportError(
            f"learn: expected a learning rate from {low:.2g} to {high:.2g}, which steps of the readout's integers "
            f"can follow, got {rate:g}; choose one of them"
        )
    return rate


def _halvings(readout: ReadoutLayer, scale: TraceScale, rate: float) -> tuple[float, float]:
    """-log2 of one step of a weight and of the bias, in their units, for an error and a trace of 1.

    With e in Q15, a weight unit s_w and a trace unit q (both in real values), one step changes an integer weight by
    rate * (e/2^15) * trace*q / s_w, and the bias (2^-10 nat) by rate * (e/2^15) * 2^10.
    """
    weight_unit = readout.unit / readout.spikes.unit
    weight_step = rate * readout.spikes.unit * 2.0**-scale.bits / weight_unit / Q15
    bias_step = rate * 2.0**LOGIT_BITS / Q15 / Q15
    return -math.log2(weight_step), -math.log2(bias_step)


def learn_spec(readout: ReadoutLayer, scale: TraceScale, rate: float, seed: int) -> LearnSpec:
    """Step sizes as shifts: the powers of two nearest to a `usable_rate` of gradient descent on real weights.

    Raises:
        ExportError: a seed that does not fit 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise ExportError(f"learn: expected a seed from 0 to {2**32 - 1}, got {seed}; choose one of 32 bits")
    weight, bias = (round(halvings) for halvings in _halvings(readout, scale, rate))
    return LearnSpec("readout", {"weight_shift": weight, "bias_shift": bias, "seed": seed})


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
