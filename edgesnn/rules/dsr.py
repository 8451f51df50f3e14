"""Differentiation on spike representation (Meng et al., CVPR 2022): gradients of clamps, at mean currents and rates.

Shapes: T time steps, N batch, C channels.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.hooks import RemovableHandle

from edgesnn.errors import ConfigError, TrainingError
from edgesnn.layers import TemporalConv
from edgesnn.models import Network
from edgesnn.models.blocks import STATELESS, Block
from edgesnn.models.network import State
from edgesnn.neurons import LIF, Neuron
from edgesnn.rules.base import Rule
from edgesnn.rules.loss import check_mse, step_loss
from edgesnn.rules.targets import Targets


def clamped_rate(current: Tensor, theta: float | Tensor) -> Tensor:
    """r = clamp(I, 0, theta) / theta, the rate that a neuron's spikes tend to (Propositions 1 and 2, eq. 14-15).

    `current` is the weighted mean I^ = sum_n w_n I[n], w_n = lam^(T-n) / sum. The paper's spikes have height theta and
    their representation is a = theta*r; here they are 0 or 1. Its LIF multiplies I by 1 - lam (eq. 5), which is in I
    here, so that one clamp serves both neurons.
    """
    return torch.clamp(current / theta, 0, 1)


class DSR(Rule):
    """Loss of the readout at the spike representation, differentiated through `clamped_rate` layer by layer, eq. 16-17.

    The window runs once without gradient, and each neuron's mean current and rate are measured; then the network is
    passed through once, every neuron being its clamp, with the measured values and the clamp's derivative. The result
    is that of the paper where what is between neurons is linear and the same at every step; batch norm and maximum
    pooling act on the means. A convolution over time is linear too, but not the same at every step: its taps have
    measured means as well (`_Taps`), and so have the inputs of all synapses where neurons have different leaks
    (`_Input`). Memory does not grow with T, and only one step has a graph.

    For LIF and IF neurons. Trained thresholds (`train_theta`) get the clamp's derivative (eq. 19, for spikes of height
    1) and the penalty theta_decay * theta^2; firing at alpha*theta (eq. 20) is the neuron's `alpha`. The readout does
    not fire: its logits are those of the last layer's rates.
    """

    def __init__(self, theta_decay: float = 0.0, mse: float = 0.0) -> None:
        if not 0 <= theta_decay < math.inf:
            raise ConfigError(f"DSR: expected theta_decay >= 0, got {theta_decay}")
        check_mse("DSR", mse)
        self.theta_decay, self.mse = theta_decay, mse

    def parts(self, net: Network, x: Tensor, y: Tensor, generator: torch.Generator) -> Iterator[float]:  # noqa: ARG002
        neurons, means = _measured(net)
        source = _Mean(neurons[0])  # the input, with the weights of the neurons that it drives
        state: State = {}
        with torch.no_grad(), _handled(means, observing=True):
            for t in range(x.shape[0]):
                _, state = net.step(x[t], state, t)
                source.add(x[t], x[t])
        _check_turns(net, means, len(x))
        with _handled(means, observing=False), _deterministic(net):
            logits, _ = net.step(source.current, {}, 0)
            loss = step_loss(logits, y, self.mse)
            for neuron in dict.fromkeys(neurons):
                if self.theta_decay and neuron.theta_raw is not None:
                    loss = loss + self.theta_decay * neuron.theta_values().square().sum()
            loss.backward()
        yield loss.item()

    def config(self) -> dict[str, Any]:
        return {"kind": "dsr", "theta_decay": self.theta_decay, "mse": self.mse}


class _Mean:
    """Weighted means over the steps of a window of what a neuron gets and emits."""

    def __init__(self, neuron: LIF) -> None:
        self.neuron = neuron
        self.weight, self.steps = 0.0, 0
        self.current = self.rate = torch.zeros(())

    def add(self, current: Tensor, spikes: Tensor) -> None:
        """mean' = mean + (value - mean) / W', W' = lam*W + 1."""
        self.weight, self.steps = self.neuron.lam * self.weight + 1, self.steps + 1
        self.current = self.current + (current - self.current) / self.weight
        self.rate = self.rate + (spikes - self.rate) / self.weight

    def observe(self, _: nn.Module, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        self.add(inputs[0], output[0])

    def represent(self, _: nn.Module, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The measured rate, with the derivative of the clamp at the measured current."""
        current: Tensor = inputs[0]
        at = current + (self.current - current).detach()
        mapped = clamped_rate(at, self.neuron.threshold)
        return mapped + (self.rate - mapped).detach(), output[1]


class _Input:
    """Weighted means of what a synapse reads, with the leak of the neuron that it feeds: of these the mean current of
    that neuron is made. They are the rates of the neuron before it where both have one leak.
    """

    def __init__(self, neuron: LIF) -> None:
        self.mean = _Mean(neuron)

    def observe(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.mean.add(inputs[0], inputs[0])

    def represent(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        """The measured means, with the derivative of the input of this pass."""
        return (inputs[0] + (self.mean.current - inputs[0]).detach(),)


class _Taps(_Input):
    """Weighted means of what the taps of a `TemporalConv` read.

    Its current is I[n] = sum_j W_j x[n - d_j] + b, so that the mean current is that of the taps' own means x^_j. They
    differ from x^, the mean of the input, by the d_j steps at the ends of the window, which is nothing as N grows: all
    taps have the derivative of x^, as the rates have that of the clamp.
    """

    def __init__(self, neuron: LIF, kernel: int) -> None:
        super().__init__(neuron)
        self.kernel = kernel

    def represent(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        """The measured means [N, K*C], with the derivative of the newest tap, the input of this pass, in all."""
        newest = inputs[0].unflatten(1, (self.kernel, -1))[:, -1].repeat(1, self.kernel)
        return (newest + (self.mean.current - newest).detach(),)


#: What is measured at a module, in the order of the places where it stands.
_Places = dict[nn.Module, list[_Mean] | list[_Input]]


def _measured(net: Network) -> tuple[list[LIF], _Places]:
    """The neurons in the order they run, and what is measured: at neurons, at taps over time, and where neurons have
    different leaks at all synapses that feed one.
    """
    _check_supported(net)
    found = Targets.of(net)
    neurons = [neuron for neuron in found.neurons if isinstance(neuron, LIF)]
    means: dict[nn.Module, list[_Mean]] = {}
    for neuron in neurons:
        means.setdefault(neuron, []).append(_Mean(neuron))
    kernels = {block.synapse: block.kernel for block in net.modules() if isinstance(block, TemporalConv)}
    several = len({neuron.lam for neuron in neurons}) > 1
    inputs: dict[nn.Module, list[_Input]] = {}
    for synapse, target in found.synapses:
        fed = target if isinstance(target, LIF) else neurons[-1]
        if synapse in kernels:
            inputs.setdefault(synapse, []).append(_Taps(fed, kernels[synapse]))
        elif several and target is not None:
            inputs.setdefault(synapse, []).append(_Input(fed))
    return neurons, {**means, **inputs}


def _check_supported(net: Network) -> None:
    """Raises TrainingError where there is something whose spikes have no representation."""
    for name, module in net.named_modules():
        if isinstance(module, Block) and not isinstance(module, (*STATELESS, TemporalConv)):
            raise TrainingError(
                f"DSR: {name}: expected a feedforward network, got {type(module).__name__}, whose state has no "
                "representation; use ottt, sltt or bptt"
            )
    named = [(name, module) for name, module in net.named_modules() if isinstance(module, Neuron)]
    for name, module in named:
        if not isinstance(module, LIF):
            raise TrainingError(
                f"DSR: {name}: expected LIF or IF neurons, whose rates tend to a clamp, got {type(module).__name__}; "
                'use sltt, ottt or bptt, or neuron = { kind = "lif" } in the [model] of a configuration file'
            )
        if module.reset != "subtract":
            raise TrainingError(
                f"DSR: {name}: expected a reset by subtraction, which keeps the rate a clamp, got reset to "
                f"{module.reset}; use sltt, ottt or bptt"
            )
    if not named:
        raise TrainingError("DSR: expected a network with neurons, got none")


@contextmanager
def _handled(places: _Places, *, observing: bool) -> Iterator[None]:
    """Hooks while it is entered: a module that stands at several places takes their turn, step after step."""
    hooks = [_hook(module, measured, observing) for module, measured in places.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check_turns(net: Network, places: _Places, steps: int) -> None:
    """Raises TrainingError where a module did not run once a step at each of its places: their means are mixed."""
    for name, module in net.named_modules():
        ran = sum((place if isinstance(place, _Mean) else place.mean).steps for place in places.get(module, []))
        if ran != steps * len(places.get(module, [])):
            raise TrainingError(
                f"DSR: {name}: expected a layer that runs once a step wherever it stands, got {ran} runs in {steps} "
                "steps; use a layer of its own for each place, or ottt, sltt or bptt"
            )


def _hook(module: nn.Module, measured: list[_Mean] | list[_Input], observing: bool) -> RemovableHandle:
    turns = cycle(measured)

    def run(*arguments: Any) -> Any:
        place: Any = next(turns)
        return place.observe(*arguments) if observing else place.represent(*arguments)

    if isinstance(measured[0], _Mean):
        return module.register_forward_hook(run)
    return module.register_forward_pre_hook(run)


@contextmanager
def _deterministic(net: Network) -> Iterator[None]:
    """Nothing is dropped, whose mean is the value itself, and norms forget what they see: it is no data."""
    dropouts = [module for module in net.modules() if isinstance(module, _DropoutNd) and module.training]
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    kept = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    for dropout in dropouts:
        dropout.eval()
    try:
        yield
    finally:
        for dropout in dropouts:
            dropout.train()
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
