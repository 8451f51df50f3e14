"""`es.quantize`: from a float network to the fake-quantized one that export turns into integers."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch

from edgesnn.data.dataset import Images
from edgesnn.errors import QuantizationError
from edgesnn.evaluation import evaluate
from edgesnn.models import Network, build, leaves, reparameterize
from edgesnn.neurons import MembraneNormEMPF
from edgesnn.quant.calibrate import calibrate as calibrate_ranges
from edgesnn.quant.class_means import MOST_INPUTS, class_means
from edgesnn.quant.health import LayerHealth, health
from edgesnn.quant.layers import QuantEMPF, QuantFoldedEMPF, QuantInput, QuantReadout
from edgesnn.quant.prepare import prepare
from edgesnn.quant.soundness import check_sound
from edgesnn.training import fit

if TYPE_CHECKING:
    from edgesnn.data import Dataset
    from edgesnn.rules import Rule

_CALIBRATION_BATCHES, _BATCH = 8, 64


@dataclass(frozen=True)
class QuantizationReport:
    """What quantization changed. Accuracies on the validation split; None where the data has none."""

    accuracy_float: float | None
    accuracy_calibrated: float | None
    accuracy_tuned: float | None
    layers: list[LayerHealth]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class QuantizedNetwork(Network):
    """A fake-quantized network, and what quantization did to it (`report`; None after loading from a file)."""

    report: QuantizationReport | None = None

    @property
    def readout(self) -> QuantReadout:
        return cast(QuantReadout, self.layers["readout"])


def quantize(
    net: Network,
    weights: int | Mapping[str, int] = 1,
    spikes: int | Mapping[str, int] = 4,
    calibrate: Dataset | None = None,
    *,
    scales: str = "free",
    rule: Rule | None = None,
    epochs: int = 3,
    lr: float = 1e-3,
    steps: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> QuantizedNetwork:
    """Quantize weights, spikes and input; calibrate the ranges on data; fine-tune with the quantization in the loop.

    Args:
        net: a trained float network; it is not changed. Version II neurons are turned into version I first
            (`models.reparameterize`), and one of float64 or bfloat16 into float32, in which integers are made.
        weights: bits of the hidden weights, 1, 2, 4 or 8; the first layer and the readout have 8. Or bits by layer,
            {"conv2": 4, "block1.branch.conv1": 8, "rest": 1}, where the first layer may be named too.
        spikes: bits of a spike, 1, 2, 4 or 8, or bits by layer of neurons; LIF neurons have 1.
        calibrate: data whose training split sets the ranges; without it the result cannot be exported.
        scales: "free", or "power-of-two": the values of one unit of weights, spikes and input are powers of two.
        rule: learning rule of the fine-tuning (default: SLTT).
        epochs: epochs of fine-tuning; 0 only calibrates.
        lr: learning rate of the fine-tuning.
        steps: time steps of a training window, and of the window that `export.onnx` writes (default: the data's).
        seed: seed of the order of the training data.
        progress: show a progress bar.

    Raises:
        QuantizationError: widths that are not offered, a layer that cannot be quantized, one that is silent, or numbers
            that are not finite or shared by layers.
    """
    net = _in_float32(net)
    check_sound(net)
    if any(isinstance(layer, MembraneNormEMPF) for layer in net.modules()):
        net = reparameterize(net)
    if calibrate is None:
        return _as_quantized(prepare(net, weights, spikes, scales=scales))
    if steps is not None:
        calibrate = replace(calibrate, steps=steps)
    generator = torch.Generator().manual_seed(seed)
    windows = calibrate.training_batches(calibrate.steps, _BATCH, generator)
    batches = [x for _, (x, _) in zip(range(_CALIBRATION_BATCHES), windows, strict=False)]
    signed = any(float(batch.min()) < 0 for batch in batches)
    qnet = _as_quantized(prepare(net, weights, spikes, signed, scales=scales))
    qnet.config["data"] = describe(calibrate)
    calibrate_ranges(qnet, net, batches)
    measured = bool(
        len(calibrate.validation.labels if isinstance(calibrate.validation, Images) else calibrate.validation)
    )
    before, calibrated = (
        evaluate(model, calibrate, "validation").accuracy if measured else None for model in (net, qnet)
    )
    if epochs:
        fit(qnet, calibrate, rule, epochs=epochs, lr=lr, seed=seed, progress=progress)
    readout = qnet.readout
    if isinstance(readout, QuantReadout) and readout.in_features <= MOST_INPUTS:
        readout.describe(class_means(qnet, calibrate))
    tuned = evaluate(qnet, calibrate, "validation").accuracy if measured else None
    qnet.report = QuantizationReport(before, calibrated, tuned, health(qnet, batches))
    return qnet


def rebuild(config: dict[str, Any]) -> QuantizedNetwork:
    """The network that a quantized network's `config` describes, before its weights are loaded."""
    arguments = dict(config)
    quantization, data = arguments.pop("quantization"), arguments.pop("data", None)
    qnet = _as_quantized(prepare(build(arguments), **quantization))
    if data is not None:
        qnet.config["data"] = data
    return qnet


def check_calibrated(qnet: Network) -> None:
    """Raises QuantizationError for a network that is not quantized or not sound, or was never calibrated."""
    if "quantization" not in qnet.config:
        raise QuantizationError(
            "network: expected a quantized network, got a float one; "
            "run `edgesnn quantize RUN`, or call edgesnn.quantize, first"
        )
    for name, layer in leaves(qnet):
        if isinstance(layer, QuantInput | QuantEMPF | QuantFoldedEMPF) and not layer.calibrated:
            raise QuantizationError(
                f"{name}: expected a calibrated quantizer, got one that never saw data; "
                "pass calibrate=data to edgesnn.quantize"
            )
        if isinstance(layer, QuantInput | QuantEMPF | QuantFoldedEMPF) and not 0 < layer.scale < math.inf:
            raise QuantizationError(
                f"{name}: expected a quantizer with a scale above 0, got {layer.scale}; calibrate it again"
            )
    check_sound(qnet)


def describe(data: Dataset) -> dict[str, Any]:
    """What a deployed model must know of its data: names, normalization, rate and framing."""
    return {
        "name": data.name,
        "classes": list(data.classes),
        "channels": list(data.channels),
        "mean": [float(value) for value in data.mean],
        "std": [float(value) for value in data.std],
        "rate_hz": data.rate_hz,
        "frame": asdict(data.frame) if data.frame else None,
        "steps": data.steps,
    }


def _in_float32(net: Network) -> Network:
    """The network, or a copy where it has values of another precision."""
    values = (value for value in (*net.parameters(), *net.buffers()) if value.is_floating_point())
    return net if all(value.dtype == torch.float32 for value in values) else copy.deepcopy(net).float()


def _as_quantized(net: Network) -> QuantizedNetwork:
    return QuantizedNetwork(dict(net.layers.items()), net.config, net.input_shape, net.classes)
