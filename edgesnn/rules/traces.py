"""Presynaptic traces: run a step so that the gradient of every synapse meets a trace of its input, not the input.

Shapes: N batch, C inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from edgesnn.errors import TrainingError
from edgesnn.models import Network
from edgesnn.models.network import State
from edgesnn.neurons import Neuron
from edgesnn.neurons.base import at_step
from edgesnn.rules.targets import Targets


class _TracedLinear(torch.autograd.Function):
    """y = x W^T + b; dL/dW = g^T trace, all else as usual."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, trace: Tensor) -> Tensor:
        ctx.save_for_backward(weight, trace)
        return functional.linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = grads
        weight, trace = _multiplied_with(g, ctx.saved_tensors)
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        rows = g.flatten(0, -2)
        return (
            g @ weight if of_x else None,
            rows.T @ trace.flatten(0, -2) if of_weight else None,
            rows.sum(0) if of_bias else None,
            None,
        )


class _TracedConv(torch.autograd.Function):
    """torch's conv1d or conv2d with the trace in the place of the input in dL/dW."""

    @staticmethod
    def forward(
        ctx: Any, convolve: Any, x: Tensor, weight: Tensor, bias: Tensor | None, trace: Tensor, *settings: Any
    ) -> Tensor:
        ctx.save_for_backward(weight, trace)
        ctx.settings = settings
        result: Tensor = convolve(x, weight, bias, *settings)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = grads
        weight, trace = _multiplied_with(g, ctx.saved_tensors)
        stride, padding, dilation, groups = ctx.settings
        # dL/dx does not depend on the input, so that one call with the trace gives all three
        result = torch.ops.aten.convolution_backward(
            g, trace, weight, [weight.shape[0]], stride, padding, dilation, False, [0] * len(stride), groups,
            [*ctx.needs_input_grad[1:4]],
        )  # fmt: skip
        return (None, *result, *(None,) * 5)


def _multiplied_with(g: Tensor, saved: Iterable[Tensor]) -> Iterator[Tensor]:
    """In the gradient's precision, as autograd has them: in mixed precision that is not the one they are kept in."""
    return (value.to(g.dtype) for value in saved)


class Traces:
    """The traces of one window at all synapses of a network: a^[t] = lam(t)*a^[t-1] + x[t] (OTTT supplement,
    Algorithm 1, line 4), x the synapse's input.

    lam is the leak of the neuron that the synapse feeds (`Targets`): that is how long a current lasts in its membrane.
    What feeds no neuron (the readout) has the leak of the last neuron. What a layer that is no synapse makes of
    parameters of its own has no trace.
    """

    def __init__(self, net: Network) -> None:
        self.net = net
        self.traces: dict[nn.Module, Tensor] = {}
        found = Targets.of(net)
        last = found.neurons[-1] if found.neurons else None
        #: by synapse, the neuron whose leak it has
        self.targets = {synapse: last if neuron is None else neuron for synapse, neuron in found.synapses}
        self.neurons = {module: name for name, module in net.named_modules() if isinstance(module, Neuron)}
        self.running: list[nn.Module] = []  # synapses that are running, those inside of others last
        self.ran: set[nn.Module] = set()  # synapses that have made their product in this step
        self.leaks: dict[Neuron, float] = {}

    def step(self, x: Tensor, state: State, t: int) -> tuple[Tensor, State]:
        """`Network.step` with traced synapses."""
        self.leaks = {neuron: _leak(name, neuron, t) for neuron, name in self.neurons.items()}
        self.running, self.ran = [], set()
        hooks = [synapse.register_forward_pre_hook(self._enter) for synapse in self.targets]
        hooks += [synapse.register_forward_hook(self._leave) for synapse in self.targets]
        try:
            with _Intercept(self._trace):
                return self.net.step(x, state, t)
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, synapse: nn.Module, _: Any) -> None:
        self.running.append(synapse)

    def _leave(self, synapse: nn.Module, _: Any, __: Any) -> None:
        self.running.pop()
        if synapse not in self.ran:
            raise TrainingError(
                f"OTTT: {self._name(synapse)}: expected a synapse made of torch's {_names()}, got one that calls none "
                "of them, which cannot be traced; use bptt or sltt"
            )

    def _name(self, synapse: nn.Module) -> str:
        return next(name for name, module in self.net.named_modules() if module is synapse)

    @torch.no_grad()
    def _trace(self, x: Tensor, padding: Any) -> Tensor | None:
        """The trace of the innermost running synapse, whose input is x; None for a call that is no synapse's."""
        if not self.running:
            return None
        synapse = self.running[-1]
        if isinstance(padding, str):
            raise TrainingError(
                f"OTTT: {self._name(synapse)}: expected a padding in numbers, got {padding!r}; give the padding as "
                "numbers"
            )
        if synapse in self.ran:
            raise TrainingError(
                f"OTTT: {self._name(synapse)}: expected a synapse that runs once a step, with one product, got two; "
                "use bptt or sltt"
            )
        self.ran.add(synapse)
        if synapse not in self.traces:
            self.traces[synapse] = x.clone()
        else:
            target = self.targets[synapse]
            self.traces[synapse].mul_(0.0 if target is None else self.leaks[target]).add_(x)
        return self.traces[synapse]


@torch.no_grad()
def _leak(name: str, neuron: Neuron, t: int) -> float:
    lam = at_step(neuron.lam_values(), t)
    if lam.numel() != 1:
        raise TrainingError(
            f"OTTT: {name}: expected one leak for all channels of a layer, got {lam.numel()}; a presynaptic trace has "
            "one leak: use a neuron with a leak by layer, or another rule such as sltt"
        )
    return lam.item()


class _Intercept(TorchFunctionMode):
    """Runs every `linear` and convolution through the functions above."""

    def __init__(self, trace: Callable[[Tensor, Any], Tensor | None]) -> None:
        super().__init__()
        self.trace = trace

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.linear:
            x, weight, bias = map(_values, _linear_arguments(*args, **kwargs))
            if (trace := self.trace(x, 0)) is not None:
                return _TracedLinear.apply(x, weight, bias, trace)
        elif func in _CONVOLUTIONS:
            tensors, (stride, padding, dilation, groups) = _conv_arguments(*args, **kwargs)
            x, weight, bias = map(_values, tensors)
            if (trace := self.trace(x, padding)) is not None:
                sides = (_by_axis(value, weight.dim() - 2) for value in (stride, padding, dilation))
                return _TracedConv.apply(func, x, weight, bias, trace, *sides, groups)
        return func(*args, **kwargs)


_CONVOLUTIONS = (functional.conv1d, functional.conv2d)


def _names() -> str:
    return ", ".join(function.__name__ for function in (functional.linear, *_CONVOLUTIONS))


def _values(tensor: Any) -> Any:
    """What is multiplied: fake-quantized tensors come with their scale and width beside the `value`."""
    return tensor if tensor is None or isinstance(tensor, Tensor) else tensor.value


def _linear_arguments(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Any, ...]:  # noqa: A002
    return input, weight, bias


def _conv_arguments(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Any, ...]:
    return (input, weight, bias), (stride, padding, dilation, groups)


def _by_axis(value: Any, axes: int) -> list[int]:
    return [value] * axes if isinstance(value, int) else list(value)
