"""Neurons: the unit of the membrane, the current in it, threshold and leak as integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgesnn.export.builder import GraphBuilder
from edgesnn.export.fixed_point import Q15, rounded
from edgesnn.export.lower.currents import in_units, numpy, per_step
from edgesnn.export.lower.values import Array, Current, HiddenLayer, Signal, Weights
from edgesnn.neurons import LIF, MultiLIF
from edgesnn.quant import QuantEMPF, QuantFoldedEMPF
from edgesnn.runtime.graph import NEW

#: Membrane bits below one spike step of a graded neuron, and below the threshold of a LIF neuron.
EMPF_FRACTION_BITS, LIF_FRACTION_BITS = 8, 12

FiringLayer = QuantEMPF | QuantFoldedEMPF | LIF | MultiLIF


def neuron(builder: GraphBuilder, name: str, layer: FiringLayer, current: Current, trainable: bool) -> Signal:
    """The neuron behind a current; its threshold is a parameter if trainable."""
    theta = numpy(layer.theta_values())
    if isinstance(layer, LIF):
        signal = Signal(f"{name}.s", 1.0, 0, 1, current.shape)
    elif isinstance(layer, MultiLIF):
        signal = Signal(f"{name}.s", 1.0, 0, layer.most, current.shape)
    else:
        signal = Signal(f"{name}.s", layer.scale, 0, 2**layer.bits - 1, current.shape)
    if isinstance(layer, QuantFoldedEMPF):
        current = current.scaled(numpy(layer.gain), numpy(layer.shift))
    unit, rank = membrane_unit(layer), len(current.shape)
    drive, _ = in_units(builder, name, current, unit)
    threshold = per_step(builder, f"{name}.theta", _level(layer, theta, unit, name), rank, trainable)
    if isinstance(layer, QuantEMPF) and layer.parallel:
        grade = {"k": EMPF_FRACTION_BITS, "bits": layer.bits}
        builder.call("ParallelEMPF", f"{name}.fire", [drive, threshold], [signal.name], **grade)
        return signal
    leak = per_step(builder, f"{name}.lam", rounded(numpy(layer.lam_values()) * Q15, name), rank)
    membrane = builder.state(f"{name}.v", current.shape)
    inputs, outputs = [membrane, drive, leak, threshold], [signal.name, membrane + NEW]
    if isinstance(layer, LIF):
        _fire(builder, name, layer, inputs, outputs)
    else:
        k = LIF_FRACTION_BITS if isinstance(layer, MultiLIF) else EMPF_FRACTION_BITS
        builder.call("EMPF", f"{name}.fire", inputs, outputs, k=k, bits=layer.bits)
    return signal


def membrane_unit(layer: FiringLayer) -> float:
    """The value of one unit of a membrane."""
    if isinstance(layer, LIF | MultiLIF):
        return float(numpy(layer.theta_values()).max()) / 2**LIF_FRACTION_BITS
    return layer.scale / 2**EMPF_FRACTION_BITS


def hidden_layer(name: str, layer: FiringLayer, synapses: Sequence[Weights]) -> HiddenLayer:
    """What learning wants to know of the neuron and the synapses before it."""
    unit = membrane_unit(layer)
    # What a neuron fires at moves by alpha times what its threshold moves by.
    level = unit / layer.alpha if isinstance(layer, LIF) else unit
    return HiddenLayer(name, level, triangle(layer, unit), tuple(synapses), threshold_learns(layer))


def threshold_learns(layer: FiringLayer) -> bool:
    """Whether a neuron's threshold is one number: not where it subtracts another one, or counts in thresholds."""
    if isinstance(layer, LIF):
        return layer.reset == "zero" or _fires_at_theta(layer)
    return not isinstance(layer, MultiLIF)


def triangle(layer: FiringLayer, unit: float) -> int | None:
    """Half of the width of LIF's surrogate gradient in membrane units; None for other neurons."""
    if not isinstance(layer, LIF):
        return None
    return max(1, round((layer.width or float(numpy(layer.theta_values()).max())) / unit))


def _fire(builder: GraphBuilder, name: str, layer: LIF, inputs: list[str], outputs: list[str]) -> None:
    """The function that resets as the neuron does."""
    if layer.reset == "zero":
        builder.call("LIFClear", f"{name}.fire", inputs, outputs)
    elif _fires_at_theta(layer):
        builder.call("LIF", f"{name}.fire", inputs, outputs)
    else:
        drop = rounded(np.array([2**LIF_FRACTION_BITS]), name)
        builder.call("LIFDrop", f"{name}.fire", [*inputs, builder.constant(f"{name}.drop", drop)], outputs)


def _fires_at_theta(layer: LIF) -> bool:
    return layer.alpha == 1 and not layer.strict


def _level(layer: FiringLayer, theta: Array, unit: float, name: str) -> Array:
    """The integer that a membrane must reach to fire; above a number is from the next integer on.

    floor(m / 2^k) is the rounding (m - theta + 2^(k-1)) >> k of EM-PF with theta = 2^(k-1).
    """
    if isinstance(layer, MultiLIF):
        return rounded(np.array([2 ** (LIF_FRACTION_BITS - 1)]), name)
    if not isinstance(layer, LIF):
        return rounded(theta / unit, name)
    return rounded(theta * layer.alpha / unit, name) + np.int32(layer.strict)
