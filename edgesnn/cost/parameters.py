"""Memory of the parameters, as they would be stored for inference."""

from dataclasses import dataclass

from edgesnn.layers import is_binary
from edgesnn.models import Network
from edgesnn.models.units import SYNAPSES

FLOAT_BYTES = 4


@dataclass(frozen=True)
class ParameterBytes:
    """Bytes of a network's parameters.

    weights: of all synapses; a binary one has a bit, and each output channel starts at a whole byte; others have
    float32. scales: a float32 for each output channel of binary synapses. others: float32 biases, norms, neurons,
    attention. float_weights: of all synapses as float32. paper: the convention of EM-PF's Table 2, worked back from its
    rows: weights alone, float32 or *two* bits a binary weight.
    """

    weights: int
    scales: int
    others: int
    float_weights: int
    paper: int

    @property
    def total(self) -> int:
        return self.weights + self.scales + self.others


def parameters(net: Network) -> ParameterBytes:
    """Counted from shapes; the network may be on the meta device."""
    synapses = [layer for layer in net.modules() if isinstance(layer, SYNAPSES)]
    weights = scales = paper = total = 0
    for layer in synapses:
        count, rows = layer.weight.numel(), layer.weight.shape[0]
        total += count
        if is_binary(layer):
            weights += rows * -(-count // rows // 8)
            scales += FLOAT_BYTES * rows
            paper += -(-count // 4)
        else:
            weights += FLOAT_BYTES * count
            paper += FLOAT_BYTES * count
    others = FLOAT_BYTES * (sum(parameter.numel() for parameter in net.parameters()) - total)
    return ParameterBytes(weights, scales, others, FLOAT_BYTES * total, paper)
