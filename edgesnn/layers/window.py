"""Weights that are computed from parameters (sign and scale, standardization), computed once for many time steps.

    weights = WindowWeights()
    for t in range(steps):
        with weights:
            logits, state = net.step(x[t], state, t)
        loss(logits).backward()      # stops at the computed weights, and is summed there
        state = {name: v.detach() for name, v in state.items()}  # the graph of this step is gone
    weights.backward()               # from there to the parameters, once

Gradients are those without it.
"""

from collections.abc import Callable
from types import TracebackType

import torch
from torch import Tensor, nn

#: The one that is entered. Layers ask for it, so that a step needs no further argument.
_entered: list["WindowWeights"] = []


class WindowWeights:
    """The computed weights of the layers that run while it is entered. Parameters must not change before `backward`."""

    def __init__(self) -> None:
        self._of: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # layer -> weight with its graph, and the leaf in use

    def __enter__(self) -> None:
        _entered.append(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _entered.pop()

    def get(self, layer: nn.Module, compute: Callable[[], Tensor]) -> Tensor:
        known = self._of.get(layer)
        if known is None or (torch.is_grad_enabled() and not known[1].requires_grad):
            weight = compute()
            known = self._of[layer] = (weight, weight.detach().requires_grad_(weight.requires_grad))
        return known[1]

    def backward(self) -> None:
        """Adds what has gathered at the weights to the `.grad` of their parameters, and forgets the weights."""
        pairs = [(weight, leaf.grad) for weight, leaf in self._of.values() if leaf.grad is not None]
        self._of = {}
        if pairs:
            torch.autograd.backward([weight for weight, _ in pairs], [grad for _, grad in pairs])


def once(layer: nn.Module, compute: Callable[[], Tensor]) -> Tensor:
    """compute(), or what it gave before for this layer in the `WindowWeights` that is entered."""
    return _entered[-1].get(layer, compute) if _entered else compute()
