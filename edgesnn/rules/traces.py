"""Presynaptic traces: run a step so that the gradient of every synapse meets a trace of its input, not the input.

Shapes: N batch, C inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from edgesnn.errors import TrainingError
from edgesnn.models import Network
from edgesnn.neurons import Neuron
from edgesnn.neurons.base import at_step


class _TracedLinear(torch.autograd.Function):
    """y = x W^T + b; dL/dW = g^T trace, all else as usual."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, trace: Tensor) -> Tensor:
        ctx.save_for_backward(weight, trace)
        return functional.linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, trace = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        (g,) = grads
        rows = g.flatten(0, -2)
        return (
            g @ weight if of_x else None,
            rows.T @ trace.flatten(0, -2) if of_weight else None,
            rows.sum(0) if of_bias else None,
            None,
        )


class _TracedConv2d(torch.autograd.Function):
    """torch's conv2d with the trace in the place of the input in dL/dW."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, trace: Tensor, *settings: Any) -> Tensor:
        ctx.save_for_backward(weight, trace)
        ctx.settings = settings
        return functional.conv2d(x, weight, bias, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, trace = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        # dL/dx does not depend on the input, so that one call with the trace gives all three
        result = torch.ops.aten.convolution_backward(
            grads[0], trace, weight, [weight.shape[0]], stride, padding, dilation, False, [0, 0], groups,
            [of_x, of_weight, of_bias],
        )  # fmt: skip
        return (*result, *(None,) * 5)


class Traces:
    """The traces of one window over all synapses of a network: a^[t] = lam(t)*a^[t-1] + x[t] (OTTT supplement,
    Algorithm 1, line 4), x the synapse's input.

    A synapse is a call of `linear` or `conv2d` during a step, whatever layer makes it, so that binary, standardized,
    quantized and recurrent weights are all traced; the n-th call of every step is the same synapse. lam is the leak of
    the neuron that runs next: that is how long a current lasts in its membrane. What feeds no neuron (the readout) has
    the leak of the last neuron before it.
    """

    def __init__(self, net: Network) -> None:
        self.net = net
        self.traces: list[Tensor] = []
        self.targets: list[Neuron] = []  # the neuron of each synapse, in the order of the calls
        self.call = 0
        self.leaks: dict[Neuron, float] = {}

    def step(self, x: Tensor, state: dict[str, Tensor], t: int) -> tuple[Tensor, dict[str, Tensor]]:
        """`Network.step` with traced synapses."""
        neurons = {name: module for name, module in self.net.named_modules() if isinstance(module, Neuron)}
        self.leaks = {neuron: _leak(name, neuron, t) for name, neuron in neurons.items()}
        self.call = 0
        hooks = [] if self.targets else [n.register_forward_pre_hook(self._claim) for n in neurons.values()]
        try:
            with _Intercept(self._trace):
                result = self.net.step(x, state, t)
        finally:
            for hook in hooks:
                hook.remove()
        while self.targets and len(self.targets) < len(self.traces):
            self.targets.append(self.targets[-1])
        return result

    def _claim(self, neuron: Any, _: Any) -> None:
        """A neuron is about to run in the first step: the synapses before it are its own."""
        while len(self.targets) < len(self.traces):
            self.targets.append(neuron)

    @torch.no_grad()
    def _trace(self, x: Tensor) -> Tensor:
        n, self.call = self.call, self.call + 1
        if n == len(self.traces):
            self.traces.append(x.clone())
        else:
            lam = self.leaks[self.targets[n]] if self.targets else 0.0
            self.traces[n].mul_(lam).add_(x)
        return self.traces[n]


def _leak(name: str, neuron: Neuron, t: int) -> float:
    lam = at_step(neuron.lam_values(), t)
    if lam.numel() != 1:
        raise TrainingError(
            f"OTTT: {name}: expected one leak for all channels of a layer, got {lam.numel()}; a presynaptic trace has "
            "one leak: use a neuron with a leak by layer, or another rule such as sltt"
        )
    return lam.item()


class _Intercept(TorchFunctionMode):
    """Runs every `linear` and `conv2d` through the functions above."""

    def __init__(self, trace: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.trace = trace

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.linear:
            x, weight, bias = _linear_arguments(*args, **kwargs)
            return _TracedLinear.apply(x, weight, bias, self.trace(x))
        if func is functional.conv2d:
            x, weight, bias, *settings = _conv2d_arguments(*args, **kwargs)
            return _TracedConv2d.apply(x, weight, bias, self.trace(x), *settings)
        return func(*args, **kwargs)


def _linear_arguments(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Any, ...]:  # noqa: A002
    return input, weight, bias


def _conv2d_arguments(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Any, ...]:
    if isinstance(padding, str):
        raise TrainingError(f"OTTT: a convolution has padding={padding!r}; give the padding as numbers")
    return input, weight, bias, _pair(stride), _pair(padding), _pair(dilation), groups


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
