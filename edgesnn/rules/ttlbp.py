"""Temporally truncated local back-propagation through time (Guo et al., Frontiers in Neuroscience 2023)."""

import math
import operator
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from edgesnn.errors import ConfigError, TrainingError
from edgesnn.layers.window import WindowWeights
from edgesnn.models import Network, evaluating, units
from edgesnn.models.blocks import Chain
from edgesnn.models.network import State
from edgesnn.models.registry import SEEDS
from edgesnn.models.units import in_blocks
from edgesnn.rules.base import Rule, check_trainable, checked_count, detached
from edgesnn.rules.loss import check_mse, step_loss

CLASSIFIERS = ("trained", "random")


class TTLBP(Rule):
    """BPTT within intervals of k time steps and blocks of n layers (Algorithm 1); nothing flows from one to another.

    Every block but the last has a linear classifier of its own, with weights that are `trained` or stay `random`; that
    of the last is the readout. The loss of a block is l(o, y) / T summed over the interval (`step_loss`), so that one
    block and k = T is BPTT, and k = 1 is SLTT. `learn` updates after every interval, as Algorithm 1 does; `backward`
    sums them. k or n None: all steps, one block. A rule that serves several networks keeps the classifiers of each,
    which follow it to another device or dtype.

    A layer is a unit of `models.units`; a residual block counts as one. The paper's
    classifiers fire and have the squared error of their rates (eq. 3); here they are like the readout.
    """

    updates_within_window = True
    steps_network = False

    def __init__(
        self,
        k: int | None = None,
        n: int | None = None,
        classifiers: str = "trained",
        mse: float = 0.0,
        seed: int = 0,
    ) -> None:
        if classifiers not in CLASSIFIERS:
            raise ConfigError(f"TTLBP classifiers: expected one of {', '.join(CLASSIFIERS)}, got {classifiers!r}")
        check_mse("TTLBP", mse)
        self.k, self.n = checked_count("TTLBP", "k", k), checked_count("TTLBP", "n", n)
        self.classifiers, self.mse, self.seed = classifiers, mse, _checked_seed(seed)
        self._prepared = _ByNetwork()

    def parts(self, net: Network, x: Tensor, y: Tensor, generator: torch.Generator) -> Iterator[float]:  # noqa: ARG002
        steps, k = x.shape[0], self.k or x.shape[0]
        if k > steps:
            raise TrainingError(
                f"TTLBP: cannot cut k={k} steps from a window of {steps}; use a smaller k or more steps"
            )
        chains, classifiers = blocks(net, self.n), self._classifiers(net)
        state: State = {}
        for start in range(0, steps, k):
            state, loss, weights = detached(state), x.new_zeros(()), WindowWeights()
            for t in range(start, min(start + k, steps)):
                h, new = net.shaped(x[t]), State()
                with weights:
                    for i, chain in enumerate(chains):
                        h, inner = chain.step(h, state, t)
                        new |= inner
                        if i < len(classifiers):
                            loss = loss + step_loss(classifiers[i](h.flatten(1)), y, self.mse)
                            h = h.detach()
                loss, state = loss + step_loss(h, y, self.mse), new
            loss = loss / steps
            loss.backward()
            weights.backward()
            yield loss.item()

    def prepare(self, net: Network) -> nn.ModuleList:
        """New local classifiers, one for each block but the last: features of the block -> classes.

        They replace those that the rule had for this network, so that a second `fit` starts them anew. A loop of one's
        own calls this once before it trains, and hands their parameters to its optimizer beside the network's.
        """
        check_trainable(net)
        chains = blocks(net, self.n)[:-1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            made = nn.ModuleList(nn.Linear(size, net.classes) for size in _features(net, chains))
        self._prepared[net] = made.requires_grad_(self.classifiers == "trained")
        return self._classifiers(net)

    def _classifiers(self, net: Network) -> nn.ModuleList:
        """Those of the network, where it is now; their parameters stay the ones that an optimizer may hold."""
        known, like = self._prepared.get(net), next(net.parameters())
        return self.prepare(net) if known is None else known.to(like.device, like.dtype)

    def config(self) -> dict[str, Any]:
        return {
            "kind": "ttlbp",
            "k": self.k,
            "n": self.n,
            "classifiers": self.classifiers,
            "mse": self.mse,
            "seed": self.seed,
        }


class _ByNetwork(WeakKeyDictionary[Network, nn.ModuleList]):
    """Local classifiers, kept while their network is. They are pickled with the networks that they belong to, so that
    a rule and its network pickled together still know each other.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _ByNetwork, (dict(self),)


def _checked_seed(seed: Any) -> int:
    """A whole number that torch takes as a seed; else ConfigError."""
    whole = hasattr(seed, "__index__") and not isinstance(seed, bool)
    if not whole or operator.index(seed) not in SEEDS:
        raise ConfigError(f"TTLBP: expected a whole number as seed, -2^63 to 2^64 - 1, got {seed!r}")
    return operator.index(seed)


def blocks(net: Network, n: int | None) -> list[Chain]:
    """Every n hidden units of the network (`models.units`) joined; the readout belongs to the last block."""
    *hidden, readout = units(net).values()
    groups = in_blocks(hidden, n)
    groups[-1].append(readout)
    return [Chain({name: layer for unit in group for name, layer in unit.layers.items()}) for group in groups]


@torch.no_grad()
def _features(net: Network, chains: list[Chain]) -> list[int]:
    """How many values leave each block."""
    h = torch.zeros(1, *net.input_shape, device=next(net.parameters()).device, dtype=next(net.parameters()).dtype)
    sizes = []
    with evaluating(net):
        for chain in chains:
            h, _ = chain.step(h, {}, 0)
            sizes.append(math.prod(h.shape[1:]))
    return sizes
