"""Fake-quantized layers with the interfaces of the float ones: rules, `fit` and `evaluate` use them unchanged."""

from __future__ import annotations

import math
from typing import Any

import brevitas.nn as qnn
import torch
from brevitas.inject.enum import ScalingImplType
from torch import Tensor, nn

from edgesnn.errors import QuantizationError
from edgesnn.layers import Readout
from edgesnn.neurons import EMPF
from edgesnn.neurons.base import at_step
from edgesnn.neurons.empf_norm import FoldedEMPF
from edgesnn.quant.class_means import MEANS, MOST_INPUTS, ClassMeans
from edgesnn.quant.quantizers import ReadoutWeight, SignedInput, Spike, UnsignedInput, restricted, scalar


class QuantReadout(qnn.QuantLinear, Readout):  # type: ignore[misc]
    """The readout with int8 weights of one common scale; the bias stays real until export.

    class_means [K*Q, C] and metric [C, C] are those of `edgesnn.quant.class_means`, zero until `edgesnn.quantize` has
    seen data, empty for wide readouts.

    Args:
        source: the float readout.
        limit: the value of weight 127, for a readout whose integers are those that a device learned; by default the
            largest weight there is.
        metric_shift: of the class means, for the same reason; by default export chooses it.
    """

    class_means: Tensor
    metric: Tensor

    def __init__(self, source: Readout, limit: float | None = None, metric_shift: int | None = None) -> None:
        fixed = (
            {} if limit is None else {"weight_scaling_impl_type": ScalingImplType.CONST, "weight_scaling_init": limit}
        )
        qnn.QuantLinear.__init__(
            self, source.in_features, source.out_features, source.bias is not None, weight_quant=ReadoutWeight, **fixed
        )
        self.leak, self.metric_shift = source.leak, metric_shift
        known = self.in_features <= MOST_INPUTS
        self.register_buffer("class_means", torch.zeros(self.out_features * MEANS if known else 0, self.in_features))
        self.register_buffer("metric", torch.zeros((self.in_features if known else 0, self.in_features)))
        self.load_state_dict(source.state_dict(), strict=False)

    def describe(self, found: ClassMeans) -> None:
        """Keep the class means of the training data."""
        self.class_means.copy_(torch.from_numpy(found.means))
        self.metric.copy_(torch.from_numpy(found.metric))


class QuantInput(nn.Module):
    """x -> scale * clip(round(x / scale)): the integer frame of the deployed model; the scale is not trained."""

    calibrated: Tensor

    def __init__(self, limit: float = 1.0, signed: bool = True, power_of_two: bool = False) -> None:
        super().__init__()
        self.signed, self.power_of_two = signed, power_of_two
        kwargs = {"act_quant": SignedInput, "min_val": -limit} if signed else {"act_quant": UnsignedInput}
        self.quant = qnn.QuantIdentity(max_val=limit, **kwargs, **restricted(power_of_two)).requires_grad_(False)
        self.register_buffer("calibrated", torch.tensor(False))

    @property
    def scale(self) -> float:
        return scalar(self.quant.act_quant.scale())

    def forward(self, x: Tensor) -> Tensor:
        quantized: Tensor = self.quant(x)
        return quantized


class QuantCurrent(QuantInput):
    """A current as a signal of 8 bits, where a synapse or a pooling reads it and no neuron is between.

    Until it is calibrated it passes values as they are.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.calibrated else x


class _QuantSpikes(nn.Module):
    """Spikes `scale * {0 .. 2^bits - 1}`: m charged, s = Q(m - theta), v' = m - s.

    What is emitted is what is subtracted, so the quantization error stays in the membrane. Q rounds to nearest and its
    scale is trained; gradients pass straight through inside the range.
    """

    calibrated: Tensor
    bits: int
    power_of_two: bool
    quant: Any

    def _add_quantizer(self, bits: int, power_of_two: bool) -> None:
        self.bits, self.power_of_two = bits, power_of_two
        self.quant = qnn.QuantIdentity(act_quant=Spike, max_val=1.0, bit_width=bits, **restricted(power_of_two))
        self.register_buffer("calibrated", torch.tensor(False))

    @property
    def scale(self) -> float:
        """The value of one spike unit."""
        return scalar(self.quant.act_quant.scale())

    def _fire_(self, m: Tensor, theta: Tensor, spikes: Tensor) -> float:
        """Firing without gradient, in place: m becomes v', spikes integers of the unit returned."""
        unit = self.scale
        torch.sub(m, theta, out=spikes).div_(unit).round_().clamp_(0, 2**self.bits - 1)
        m.sub_(spikes, alpha=unit)
        return unit


class QuantEMPF(_QuantSpikes, EMPF):
    """EM-PF versions I and III with spikes of so many bits: m = lam*v + I."""

    def __init__(self, source: EMPF, bits: int, power_of_two: bool = False) -> None:
        EMPF.__init__(self, **source.initial)
        for name, parameter in source.named_parameters():
            setattr(self, name, nn.Parameter(parameter.detach().clone(), parameter.requires_grad))
        self._add_quantizer(bits, power_of_two)

    def forward(self, current: Tensor, v: Tensor | None, t: int) -> tuple[Tensor, Tensor | None]:
        theta = at_step(self.theta_values(), t, current.dim())
        if self.parallel:
            return self.quant(current - theta), None
        m = current if v is None else at_step(self.lam_values(), t, current.dim()) * v + current
        s = self.quant(m - theta)
        return s, m - s

    def integer_step_(self, current: Tensor, v: Tensor, spikes: Tensor, t: int) -> float:
        """`forward` of version I without gradient, in place: v becomes v', spikes integers of the unit returned."""
        v.mul_(at_step(self.lam_values(), t, v.dim())).add_(current)
        return self._fire_(v, at_step(self.theta_values(), t, v.dim()), spikes)


class QuantFoldedEMPF(_QuantSpikes, FoldedEMPF):
    """What version II became, with spikes of so many bits: m = lam*v + gain*I + shift."""

    def __init__(self, source: FoldedEMPF, bits: int, power_of_two: bool = False) -> None:
        FoldedEMPF.__init__(self, **source.initial)
        for name, buffer in source.named_buffers():
            setattr(self, name, buffer.clone())
        self._add_quantizer(bits, power_of_two)

    def forward(self, current: Tensor, v: Tensor | None, t: int) -> tuple[Tensor, Tensor | None]:
        m = self._drive(current, t)
        if v is not None:
            m = at_step(self.lam, t, current.dim()) * v + m
        s = self.quant(m - at_step(self.theta, t))
        return s, m - s

    def integer_step_(self, current: Tensor, v: Tensor, spikes: Tensor, t: int) -> float:
        """`forward` without gradient, in place: v becomes v', spikes integers of the unit returned."""
        v.mul_(at_step(self.lam, t, v.dim())).add_(self._drive(current, t))
        return self._fire_(v, at_step(self.theta, t), spikes)

    def _drive(self, current: Tensor, t: int) -> Tensor:
        return at_step(self.gain, t, current.dim()) * current + at_step(self.shift, t, current.dim())


#: Neurons with graded spikes, and what rounds values outside of neurons: the layers that data calibrate.
QuantNeuron = QuantEMPF | QuantFoldedEMPF
Calibrated = QuantInput | QuantNeuron


def set_range(layer: Calibrated, limit: float, name: str) -> None:
    """Set the largest value a quantizer represents, and mark it calibrated; `name` is the layer's, for the error.

    One whose scale is a power of two takes the nearest one, and keeps its logarithm.
    """
    if not 0 < limit < float("inf"):
        raise QuantizationError(
            f"{name}: expected values above 0 on the calibration data, got a range of {limit}; the layer is silent: "
            "train longer or lower its threshold"
        )
    for parameter in layer.quant.parameters():
        parameter.data.fill_(math.log2(limit) if layer.power_of_two else limit)
    layer.calibrated.fill_(True)
