"""What a device learned, back in the Python model: to look at it, to train on, and to export it as a new factory state.

Shapes: C inputs of the readout, K classes, G means of classes.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from edgesnn.errors import ExportError
from edgesnn.export.lower import LOGIT_BITS
from edgesnn.export.onnx_graphs import learner_of
from edgesnn.models import Network
from edgesnn.quant import QuantizedNetwork, rebuild
from edgesnn.runtime.class_means import learned_means, read_learner
from edgesnn.runtime.model import Array, Model


def pull(qnet: Network, model: Model, snapshot: bytes) -> QuantizedNetwork:
    """The network with what a device learned in place of what it left the factory with; `qnet` is not changed.

    Exported again with the same scope, its factory's integers are those that the device learned, weights and biases
    alike: scales and shifts are kept as they were, and recorded in `config["quantization"]["learned"]`.

    Args:
        qnet: the network that the model was exported from.
        model: the exported folder.
        snapshot: what the device has learned: `Session.snapshot`, or the payload of a state file.

    Raises:
        ExportError: the model was not exported from `qnet`, or learns neither class means nor the readout.
        StateError: the snapshot is not of this model.
    """
    tensors = model.unpack(snapshot)
    scope = model.learn.scope if model.learn else "nothing"
    if scope not in ("means", "readout"):
        raise ExportError(
            f"{model.path}: expected a model that learns means or readout, got one that learns {scope}; "
            "what such a device learned cannot be pulled"
        )
    learner = learner_of(qnet, model)
    if scope == "means":
        return _with_means(qnet, model, tensors, learner.trace_unit)
    return _with_readout(qnet, tensors)


def _with_means(qnet: Network, model: Model, tensors: dict[str, Array], unit: float) -> QuantizedNetwork:
    """Class means m of sums and counts, in real units: m times the value of a trace unit."""
    learner = read_learner(model)
    means = learned_means(learner.factory_mean, tensors["means.sum"], tensors["means.count"], learner.prior)
    pulled = _copy(qnet, {"metric_shift": learner.shift})
    pulled.readout.class_means.copy_(torch.from_numpy(means * unit))
    return pulled


def _with_readout(qnet: Network, tensors: dict[str, Array]) -> QuantizedNetwork:
    """The int8 weights times the scale they were exported with, and the biases in nats."""
    readout: Any = qnet.readout
    scale = readout.quant_weight().scale.detach().double()
    limit = (qnet.config["quantization"].get("learned") or {}).get("limit", float(readout.weight.detach().abs().max()))
    pulled = _copy(qnet, {"limit": limit})
    with torch.no_grad():
        pulled.readout.weight.copy_(torch.from_numpy(tensors["readout.weight"].astype(np.float64)) * scale)
        pulled.readout.bias.copy_(torch.from_numpy(tensors["readout.bias"] * 2.0**-LOGIT_BITS))
    return pulled


def _copy(qnet: Network, learned: dict[str, float]) -> QuantizedNetwork:
    """The same network, told to keep these numbers of its integers."""
    config = copy.deepcopy(qnet.config)
    quantization = config["quantization"]
    quantization["learned"] = {**quantization.get("learned", {}), **learned}
    pulled = rebuild(config)
    pulled.load_state_dict(qnet.state_dict())
    return pulled.eval()
