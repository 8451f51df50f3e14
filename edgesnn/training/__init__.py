"""`fit`: the training loop, alone or one of several processes, and what is kept of a training."""

from edgesnn.training.history import Epoch, History
from edgesnn.training.settings import Settings, cosine
from edgesnn.training.train import fit

__all__ = ["Epoch", "History", "Settings", "cosine", "fit"]
