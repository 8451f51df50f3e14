"""The interface of a learning rule. Shapes: T time steps, N batch."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from edgesnn.errors import ConfigError, TrainingError
from edgesnn.models import Network
from edgesnn.models.network import State

#: Applies the gradient that lies in `.grad` and clears it; called with the loss it belongs to.
Update = Callable[[float], None]


class Rule(ABC):
    """How the gradient of L = 1/T sum_t l(o[t], y) (SLTT eq. 14) over a window is found, or what is taken for it."""

    #: Whether `learn` updates after every part of a window, not once at its end.
    updates_within_window = False
    #: Whether what makes a gradient is `Network.step`, so that it can be compiled.
    steps_network = True

    @abstractmethod
    def parts(self, net: Network, x: Tensor, y: Tensor, generator: torch.Generator) -> Iterator[float]:
        """Runs the window x [T, N, ...] with labels y [N], adds the gradient to `.grad` part by part, and yields the
        loss of each part. The losses add up to that of the window. Between two parts the parameters may change.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """JSON description for `rules.build`."""

    def backward(self, net: Network, x: Tensor, y: Tensor, generator: torch.Generator) -> float:
        """Adds this rule's gradient of the whole window to `.grad`; returns the loss.

        Raises TrainingError for an empty window, and for labels that are not one for each of its samples.
        """
        check_window(x, y)
        return sum(self.parts(net, x, y, generator))

    def learn(self, net: Network, x: Tensor, y: Tensor, generator: torch.Generator, update: Update) -> float:
        """Learns one window: the gradient, and `update` when this rule wants it. Returns the loss, or raises as
        `backward` does.
        """
        if not self.updates_within_window:
            loss = self.backward(net, x, y, generator)
            update(loss)
            return loss
        check_window(x, y)
        total = 0.0
        for loss in self.parts(net, x, y, generator):
            update(loss)
            total += loss
        return total

    def prepare(self, net: Network) -> nn.Module:
        """What the rule trains beside the network, made before training with `net`; most rules have nothing.

        Raises ConfigError for a network without a readout, and TrainingError where nothing of it is trained.
        """
        check_trainable(net)
        return nn.Module()


def checked_count(rule: str, name: str, value: Any) -> int | None:
    """A whole number of at least 1, or None, which an argument of the rule is; else ConfigError."""
    if value is None:
        return None
    count = operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else 0
    if count < 1:
        raise ConfigError(f"{rule}: expected {name} >= 1 or None, got {value!r}; give a whole number")
    return count


def check_window(x: Tensor, y: Tensor) -> None:
    """Raises TrainingError unless x is [T, N, ...] and y [N] with T and N above 0. Looks at no value."""
    if len(x.shape) < 2 or 0 in x.shape[:2]:
        raise TrainingError(
            f"training: expected a window x [T, N, ...] of at least one step and one sample, got {list(x.shape)}; "
            "give time first, then the batch"
        )
    if list(y.shape) != [x.shape[1]]:
        raise TrainingError(
            f"training: expected classes y [{x.shape[1]}], one for each sample of x {list(x.shape)}, got "
            f"{list(y.shape)}; x is [T, N, ...], time first"
        )


def check_trainable(net: Network) -> None:
    """What every rule needs of a network: see `Rule.prepare`."""
    _ = net.readout
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise TrainingError(
            "training: expected a network with parameters that are trained, got one in which all are frozen; call "
            "requires_grad_(True) on those to train"
        )


def detached(state: State) -> State:
    """The same membranes, without the graph that they came from."""
    return {name: v.detach() for name, v in state.items()}
