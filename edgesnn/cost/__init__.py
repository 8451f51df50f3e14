"""What a network and a learning rule cost, from shapes alone: no data, and no memory for weights.

    with torch.device("meta"):                       # or a network with weights; they are not touched
        net = es.models.alexnet(neuron=es.LIF())
    cost.parameters(net).total                       # bytes
    cost.state_bytes(net), cost.saved_bytes(net, batch=128)
    cost.training(net, rule=es.rules.SLTT(), steps=10, batch=128).macs

The models of training are those of TT-LBP (Guo et al., 2023, eq. 8-17).
"""

from edgesnn.cost.activations import saved_bytes, state_bytes
from edgesnn.cost.parameters import ParameterBytes, parameters
from edgesnn.cost.schedule import Schedule, schedule
from edgesnn.cost.shapes import Synapse, Unit, units
from edgesnn.cost.training import TrainingCost, training

__all__ = [
    "ParameterBytes",
    "Schedule",
    "Synapse",
    "TrainingCost",
    "Unit",
    "parameters",
    "saved_bytes",
    "schedule",
    "state_bytes",
    "training",
    "units",
]
