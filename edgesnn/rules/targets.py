"""Which neuron a synapse feeds: that in whose membrane its current lasts, and whose leak its traces and means have."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from edgesnn.layers import SECA
from edgesnn.models import Network
from edgesnn.models.blocks import Chain, Feedback, Residual
from edgesnn.models.units import SYNAPSES
from edgesnn.neurons import Neuron


@dataclass
class Targets:
    """The synapses, each with the neuron that it feeds, and the neurons of a network, in the order they run.

    A module that stands at several places is there once for each. A synapse is a layer of `SYNAPSES` of whatever
    subclass; the convolution over the channels of `SECA` is none: it makes factors, not currents. What feeds no neuron
    (the readout) has None.

    The branch and the shortcut of a `Residual` feed what follows it, the feedback of a `Feedback` feeds its body. What
    feeds several neurons, as what comes before a block whose branch begins with neurons, has the first to run. A
    network or block with a `step` of its own is read as a chain of its parts, in the order in which it holds them.
    """

    synapses: list[tuple[nn.Module, Neuron | None]] = field(default_factory=list)
    neurons: list[Neuron] = field(default_factory=list)

    @classmethod
    def of(cls, net: Network) -> Targets:
        found = cls()
        found._walk(net, None)
        found.synapses.reverse()
        found.neurons.reverse()
        return found

    def _walk(self, module: nn.Module, behind: Neuron | None) -> Neuron | None:
        """Goes from back to front; `behind` is what the module's output feeds, the result what its input feeds."""
        match module:
            case Neuron():
                self.neurons.append(module)
                return module
            case SECA():
                return behind
            case Residual():
                shortcut = self._walk(module.shortcut, behind)
                branch = self._walk(module.branch, behind)
                return shortcut if branch is behind else branch
            case Feedback():
                first = self._walk(module.body, behind)
                self._walk(module.feedback, first)
                return first
        if isinstance(module, SYNAPSES):
            self.synapses.append((module, behind))
        for part in reversed([*(module.layers.values() if isinstance(module, Chain) else module.children())]):
            behind = self._walk(part, behind)
        return behind
