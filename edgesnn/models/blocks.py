"""What networks are made of: chains of named layers, and blocks that join chains.

A network is a chain. Where its graph is more than that, a part of it is one layer of the chain, a `Block`, which has
chains of its own inside: a sum of two (`Residual`), attention over the currents before and behind one (`Attention`), or
one that hears its own output of the step before (`Feedback`). So a network can be cut between any two of its layers,
and whatever walks the layers walks the blocks by recursion.

State is one flat dictionary of tensors: a layer's is under its path, "neuron1" or "block1.branch.neuron2". {} is the
state before the first step, and a missing entry is zero.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from edgesnn.checkpoint import with_prefix, without_prefix
from edgesnn.errors import ConfigError
from edgesnn.layers import SECA
from edgesnn.layers.block import Block, State
from edgesnn.neurons import Neuron

__all__ = ["Attention", "Block", "Chain", "Feedback", "Residual", "State", "chains", "leaves"]


class Chain(Block):
    """`layers` in order; neurons are called as `(current, v, t)`, blocks are stepped, all others are called as `(x)`.
    Without layers it is the identity.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)

    def step(self, x: Tensor, state: State, t: int) -> tuple[Tensor, State]:
        new_state: State = {}
        for name, layer in self.layers.items():
            if isinstance(layer, Block):
                x, inner = layer.step(x, without_prefix(name, state), t)
                new_state |= with_prefix(name, inner)
            elif isinstance(layer, Neuron):
                x, v = layer(x, state.get(name), t)
                if v is not None:
                    new_state[name] = v
            else:
                x = layer(x)
        return x, new_state

    def forward(self, x: Tensor) -> Tensor:
        """Layer by layer: every synapse sees all T steps at once and only what has state is sequential.

        In evaluation mode this equals T calls of `step`. In training mode a norm sees one batch of T*N, where `step`
        has T batches of N; the learning rules train with `step`. An image that stands still (x expanded over time) is
        computed once up to the first neurons, except in training mode.
        """
        steps = x.shape[0]
        for layer in self.layers.values():
            if isinstance(layer, Block):
                x = layer(x)
            elif isinstance(layer, Neuron):
                v, spikes = None, []
                for t in range(steps):
                    s, v = layer(x[t], v, t)
                    spikes.append(s)
                x = torch.stack(spikes)
            elif x.stride(0) == 0 and not self.training:
                y = layer(x[0])
                x = y.expand(steps, *y.shape)
            else:
                x = layer(x.flatten(0, 1)).unflatten(0, (steps, -1))
        return x


class Residual(Block):
    """y = branch(x) + shortcut(x); a shortcut without layers is the identity."""

    def __init__(self, branch: Mapping[str, nn.Module], shortcut: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        self.branch, self.shortcut = Chain(branch), Chain(shortcut or {})

    def step(self, x: Tensor, state: State, t: int) -> tuple[Tensor, State]:
        y, branch = self.branch.step(x, without_prefix("branch", state), t)
        z, shortcut = self.shortcut.step(x, without_prefix("shortcut", state), t)
        return y + z, with_prefix("branch", branch) | with_prefix("shortcut", shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + self.shortcut(x)


class Attention(Block):
    """SECA variant 2 (EM-PF eq. 10): y = score * body(x), where the score sees x, the current before a layer of
    neurons, and body(x), the current behind their synapse, together. Both have the same shape.
    """

    def __init__(self, body: Mapping[str, nn.Module], kernel: int = 3) -> None:
        super().__init__()
        self.body, self.seca = Chain(body), SECA(kernel)

    def step(self, x: Tensor, state: State, t: int) -> tuple[Tensor, State]:
        y, inner = self.body.step(x, without_prefix("body", state), t)
        return self.seca(y, x), with_prefix("body", inner)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.seca(y.flatten(0, 1), x.flatten(0, 1)).unflatten(0, (x.shape[0], -1))


class Feedback(Block):
    """y[t] = body(x[t] + feedback(y[t-1])): recurrence from the end of a chain to its start, one step late.

    The state "last" is y[t-1]. `feedback` has no state of its own, and no offset, so that no output and an output of
    zeros are the same; else ConfigError.
    """

    def __init__(self, body: Mapping[str, nn.Module], feedback: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.body, self.feedback = Chain(body), Chain(feedback)
        for name, layer in self.feedback.layers.named_modules():
            if isinstance(layer, Neuron) or (isinstance(layer, Block) and not isinstance(layer, STATELESS)):
                raise ConfigError(
                    f"Feedback: {name}: expected layers without a state in `feedback`, got {type(layer).__name__}; "
                    "put it at the end of `body`"
                )
            if getattr(layer, "bias", None) is not None:
                raise ConfigError(
                    f"Feedback: {name}: expected layers without an offset in `feedback`, got a {type(layer).__name__} "
                    "with one; pass bias=False, and leave norms to `body`"
                )

    def step(self, x: Tensor, state: State, t: int) -> tuple[Tensor, State]:
        if "last" in state:
            x = x + self.feedback.step(state["last"], {}, t)[0]
        y, inner = self.body.step(x, without_prefix("body", state), t)
        return y, {**with_prefix("body", inner), "last": y}


#: Blocks that have no state but that of the layers inside.
STATELESS = (Chain, Residual, Attention)


def leaves(block: Block, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of a block that are no blocks themselves, by path, as states are: "block1.branch.neuron2"."""
    parts = block.layers if isinstance(block, Chain) else block
    for name, part in parts.named_children():
        if isinstance(part, Block):
            yield from leaves(part, f"{path}{name}.")
        else:
            yield f"{path}{name}", part


def chains(block: Block) -> Iterator[Chain]:
    """The chain itself or the chains of a block, and all those inside, outermost first."""
    for module in block.modules():
        if isinstance(module, Chain):
            yield module
