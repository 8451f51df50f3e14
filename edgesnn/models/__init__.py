"""Networks: chains of named layers and blocks that can be stepped through time, and constructors for the shapes of the
literature.

All constructors share their options: `neuron` (a prototype, copied for each layer), `weights` ("binary" or "float",
of all synapses but the first and the readout), `norm` ("batch", "standardized" or "none"), `seed`, `leak` (of the
readout); image networks take `input_shape` (channels, height, width). `build(net.config)` makes a network again.
"""

from edgesnn.models.blocks import Attention, Block, Chain, Feedback, Residual, chains, leaves
from edgesnn.models.convolutional import alexnet, convnet, lenet1, lenet2
from edgesnn.models.dense import mlp, recurrent
from edgesnn.models.modes import evaluating
from edgesnn.models.network import Network
from edgesnn.models.nf_resnet import nf_resnet34, nf_resnet50
from edgesnn.models.registry import CONSTRUCTORS, NORMS, WEIGHTS, build, takes_images
from edgesnn.models.reparameterized import reparameterize
from edgesnn.models.resnet import resnet18, resnet19, resnet34
from edgesnn.models.sequence import sequence
from edgesnn.models.units import units
from edgesnn.models.vgg import vgg11, vgg13, vgg_f, vgg_snn

__all__ = [
    "CONSTRUCTORS",
    "NORMS",
    "WEIGHTS",
    "Attention",
    "Block",
    "Chain",
    "Feedback",
    "Network",
    "Residual",
    "alexnet",
    "build",
    "chains",
    "convnet",
    "evaluating",
    "leaves",
    "lenet1",
    "lenet2",
    "mlp",
    "nf_resnet34",
    "nf_resnet50",
    "recurrent",
    "reparameterize",
    "resnet18",
    "resnet19",
    "resnet34",
    "sequence",
    "takes_images",
    "units",
    "vgg11",
    "vgg13",
    "vgg_f",
    "vgg_snn",
]
