"""Networks: a list of named layers that can be stepped through time, and constructors for the common shapes."""

from edgesnn.models.builders import WEIGHTS, build, convnet, mlp
from edgesnn.models.network import Network

__all__ = ["WEIGHTS", "Network", "build", "convnet", "mlp"]
