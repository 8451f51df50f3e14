"""Bits of weights and spikes: one number for all layers, or chosen a layer at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from edgesnn.errors import QuantizationError
from edgesnn.layers import Readout
from edgesnn.models import Network, leaves
from edgesnn.models.units import SYNAPSES
from edgesnn.neurons.base import Neuron

WEIGHT_BITS = SPIKE_BITS = (1, 2, 4, 8)
#: Bits of the first layer and of the readout, which carry few weights and most of the information.
OUTER_BITS = 8
#: The key for all layers that are not named, and what it stands for where it is missing.
REST = "rest"
_DEFAULT_WEIGHTS, _DEFAULT_SPIKES = 1, 4


@dataclass(frozen=True)
class Widths:
    """Bits by path of a layer, and of all others."""

    weights_of: Mapping[str, int]
    spikes_of: Mapping[str, int]
    weights_rest: int
    spikes_rest: int

    @classmethod
    def of(cls, net: Network, weights: int | Mapping[str, int], spikes: int | Mapping[str, int]) -> Widths:
        """The widths for a network: a number, or numbers by path ("conv2", "block1.branch.conv1") and for the `rest`.

        Raises:
            QuantizationError: a width that is not offered, or a layer that the network does not have.
        """
        weights_of, weights_rest = _split(weights, _DEFAULT_WEIGHTS)
        spikes_of, spikes_rest = _split(spikes, _DEFAULT_SPIKES)
        given = (*weights_of.values(), weights_rest), (*spikes_of.values(), spikes_rest)
        if not set(given[0]) <= set(WEIGHT_BITS) or not set(given[1]) <= set(SPIKE_BITS):
            raise QuantizationError(
                f"quantize: expected weights (--weights) in {WEIGHT_BITS} and spikes (--spikes) in {SPIKE_BITS} bits, "
                f"got {weights} and {spikes}; choose among these"
            )
        layers = dict(leaves(net))
        synapses = [path for path, layer in layers.items() if _has_weights(layer)]
        neurons = [path for path, layer in layers.items() if isinstance(layer, Neuron)]
        for what, names, known in (("weights", weights_of, synapses), ("spikes", spikes_of, neurons)):
            if unknown := [name for name in names if name not in known]:
                raise QuantizationError(
                    f"quantize: expected {what} for some of {', '.join(known)} and '{REST}', got "
                    f"{', '.join(unknown)}; correct the names"
                )
        return cls(weights_of, spikes_of, weights_rest, spikes_rest)

    def weights(self, path: str, default: int | None = None) -> int:
        """Bits of the weights of a synapse; `default` where it is not named."""
        return self.weights_of.get(path, self.weights_rest if default is None else default)

    def spikes(self, path: str) -> int:
        """Bits of the spikes of a layer of neurons."""
        return self.spikes_of.get(path, self.spikes_rest)


def _split(bits: int | Mapping[str, int], default: int) -> tuple[dict[str, int], int]:
    if isinstance(bits, int):
        return {}, bits
    if not isinstance(bits, Mapping):
        raise QuantizationError(
            f"quantize: expected bits as a number, or numbers by layer, got a {type(bits).__name__}; "
            "give data as calibrate=..."
        )
    named = dict(bits)
    return named, named.pop(REST, default)


def _has_weights(layer: nn.Module) -> bool:
    return isinstance(layer, SYNAPSES) and not isinstance(layer, Readout)
