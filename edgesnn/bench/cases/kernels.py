"""Work of single layers on an emulated core, in executed instructions per dense multiply-accumulate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgesnn.bench.layer_shape import LayerShape
from edgesnn.bench.registry import Measured, benchmark

if TYPE_CHECKING:
    from edgesnn.export.builder import GraphBuilder

#: Kernels of a layer that are not its synapse.
_AFTER_SYNAPSE = ("esnn_rescale", "esnn_empf", "esnn_lif")
_FRAMES = 2
#: Share of inputs that are 1 in a frame of binary spikes, and a scale of weights times inputs in membrane units.
_ACTIVITY, _SCALE = 0.13, 0.37


@dataclass(frozen=True)
class _Layer(LayerShape):
    """A layer of the table."""

    synapse: str
    spikes: bool = False  # binary spikes instead of uint8
    bits: int = 8  # of a weight, where they are packed


#: What is published, by figure.
_PUBLISHED = {
    "dense_u8_w1": _Layer((256,), 128, "BinaryLinear"),
    "conv_u8_w1": _Layer((32, 16, 16), 32, "BinaryConv2d"),
    "dense_s1_w8": _Layer((256,), 128, "Linear", spikes=True),
    "conv_s1_w8": _Layer((32, 16, 16), 32, "Conv2d", spikes=True),
    "dense_int8_reference": _Layer((256,), 128, "Linear"),
    "conv_int8_reference": _Layer((32, 16, 16), 32, "Conv2d"),
}
#: Weights of 4 and 2 bits, and the first layer of the demo's network: rows of the table, no figures.
_OTHERS = {
    **{f"dense_u8_w{bits}": _Layer((256,), 128, "PackedLinear", bits=bits) for bits in (4, 2)},
    **{f"conv_u8_w{bits}": _Layer((32, 16, 16), 32, "PackedConv2d", bits=bits) for bits in (4, 2)},
    **{f"dense_s1_w{bits}": _Layer((256,), 128, "PackedLinear", True, bits) for bits in (4, 2)},
    **{f"conv_s1_w{bits}": _Layer((32, 16, 16), 32, "PackedConv2d", True, bits) for bits in (4, 2)},
    "dense_u8_w1_96": _Layer((96,), 128, "BinaryLinear"),
    "dense_int8_96": _Layer((96,), 128, "Linear"),
}


@benchmark(
    "kernels",
    "instructions per dense multiply-accumulate of single layers on an emulated board",
    packages=("onnx", "ziglang"),
)
def kernels(board: str = "mps2-an386") -> Measured:
    rows = {name: _measure(layer, board) for name, layer in (_PUBLISHED | _OTHERS).items()}
    figures = {name: float(rows[name]["instructions_per_mac"]) for name in _PUBLISHED}
    figures["rescale_neuron_per_output"] = float(rows["dense_u8_w1"]["rescale_neuron_per_output"])
    return Measured(figures, [{"layer": name, "board": board, **row} for name, row in rows.items()])


def _measure(layer: _Layer, board: str) -> dict[str, Any]:
    """Profile a model of one layer and a readout; the readout is left out, and the layer that hands spikes on."""
    from edgesnn import boards, export
    from edgesnn.runtime.profile import profile

    with TemporaryDirectory(prefix="edgesnn-") as scratch:
        _write(layer, Path(scratch))
        package = export.c(scratch, board)
        counts = profile(package, boards.load(board), _frames(layer)).layers[1 if layer.spikes else 0]
    after = sum(counts[name] for name in _AFTER_SYNAPSE) / _FRAMES
    synapse = sum(counts.values()) / _FRAMES - after
    return {
        "macs": layer.macs,
        "instructions_synapse": synapse,
        "instructions_per_mac": synapse / layer.macs,
        "rescale_neuron_per_output": after / float(np.prod(layer.output_shape)),
    }


def _frames(layer: _Layer) -> NDArray[np.uint8]:
    rng, shape = np.random.default_rng(1), (_FRAMES, *layer.inputs)
    return (rng.random(shape) < _ACTIVITY).astype(np.uint8) if layer.spikes else rng.integers(0, 256, shape, np.uint8)


def _write(layer: _Layer, folder: Path) -> None:
    """An exported folder: the layer with EM-PF neurons, and a readout of two classes.

    Binary spikes come from a layer before that hands on its input.
    """
    import onnx

    from edgesnn.export.builder import BATCH, GraphBuilder
    from edgesnn.export.vectors import write_vectors
    from edgesnn.runtime.model import Model

    b, rng = GraphBuilder(), np.random.default_rng(0)
    size = int(np.prod(layer.output_shape))
    b.input("x", "uint8", [BATCH, *layer.inputs])
    if layer.spikes:
        _hand_on(b, layer.inputs)
    _synapse(b, layer, rng)
    _rescale(b, "layer", layer.outputs, _bound(layer), spatial=len(layer.inputs) - 1)
    b.constant("layer.lam", np.array([30000], np.int32))
    b.constant("layer.theta", np.array([1000], np.int32))
    b.state("layer.v", layer.output_shape)
    b.call("EMPF", "layer.fire", ["layer.v", "layer.I", "layer.lam", "layer.theta"], ["layer.s", "layer.v.new"],
           k=8, bits=4)  # fmt: skip
    b.standard("Flatten", "flat", ["layer.s"], ["flat.s"], axis=1)
    b.constant("readout.weight", rng.integers(-127, 128, (2, size)).astype(np.int8))
    b.call("Linear", "readout.synapse", ["flat.s", "readout.weight"], ["readout.a"])
    _rescale(b, "readout", 2, 127 * 15 * size)
    b.constant("readout.leak", np.array([31000], np.int32))
    b.state("readout.acc", (2,))
    b.call("LeakyIntegrate", "readout.integrate", ["readout.acc", "readout.I", "readout.leak"], ["y"])
    b.standard("Identity", "readout.keep", ["y"], ["readout.acc.new"])
    b.output("y", "int32", [BATCH, 2])
    onnx.save_model(b.build("step", _metadata(b, layer), "one layer"), folder / "step.onnx")
    write_vectors(Model.load(folder))


def _synapse(b: GraphBuilder, layer: _Layer, rng: np.random.Generator) -> None:
    from edgesnn.export.pack import pack_fields, pack_signs

    fan_in = int(np.prod(layer.weight_shape[1:]))
    attributes: dict[str, Any] = {}
    half = 2 ** (layer.bits - 1)
    weights: NDArray[Any] = rng.integers(-half, half, layer.weight_shape).astype(np.int8)
    if layer.synapse.startswith("Binary"):
        weights = pack_signs(weights)
        attributes["fan_in"] = fan_in
    elif layer.synapse.startswith("Packed"):
        weights = pack_fields(weights, layer.bits)
        attributes |= {"fan_in": fan_in, "bits": layer.bits}
    if len(layer.inputs) == 3:
        attributes |= {"strides": [1, 1], "pads": [1, 1, 1, 1]}
        attributes |= {"kernel": list(layer.weight_shape)} if "fan_in" in attributes else {}
        attributes |= {"dilations": [1, 1], "group": 1} if "bits" in attributes else {}
    b.constant("layer.weight", weights)
    x = "front.s" if layer.spikes else "x"
    b.call(layer.synapse, "layer.synapse", [x, "layer.weight"], ["layer.a"], **attributes)


def _hand_on(b: GraphBuilder, shape: tuple[int, ...]) -> None:
    """Spikes front.s where x is not 0."""
    identity = np.eye(shape[0], dtype=np.int8)
    if len(shape) == 1:
        b.constant("front.weight", identity)
        b.call("Linear", "front.synapse", ["x", "front.weight"], ["front.a"])
    else:
        b.constant("front.weight", identity[:, :, None, None])
        b.call("Conv2d", "front.synapse", ["x", "front.weight"], ["front.a"], strides=[1, 1], pads=[0, 0, 0, 0])
    b.constant("front.lam", np.array([0], np.int32))
    b.constant("front.theta", np.array([1], np.int32))
    b.state("front.v", shape)
    b.call("LIF", "front.fire", ["front.v", "front.a", "front.lam", "front.theta"], ["front.s", "front.v.new"])


def _bound(layer: _Layer) -> int:
    """Of the sums of a layer."""
    weight = 1 if layer.synapse.startswith("Binary") else 2 ** (layer.bits - 1)
    return int(np.prod(layer.weight_shape[1:])) * weight * (1 if layer.spikes else 255)


def _rescale(b: GraphBuilder, name: str, outputs: int, bound: int, spatial: int = 0) -> None:
    """With the constants that an exported model has for this bound."""
    from edgesnn.export.fixed_point import multiplier

    column = (-1,) + (1,) * spatial
    m, shift = multiplier(np.full(outputs, _SCALE), bound, name)
    b.constant(f"{name}.M", m.reshape(column))
    b.constant(f"{name}.b", np.zeros(outputs, np.int32).reshape(column))
    b.call("Rescale", f"{name}.rescale", [f"{name}.a", f"{name}.M", f"{name}.b"], [f"{name}.I"], shift=shift)


def _metadata(b: GraphBuilder, layer: _Layer) -> dict[str, str]:
    channels = layer.inputs[0]
    entry = {"shape": list(layer.inputs), "dtype": "uint8", "scale": 1.0, "zero_point": 0,
             "mean": [0.0] * channels, "std": [1.0] * channels}  # fmt: skip
    values = {"format": "1", "name": "kernels", "rule": "none", "time_steps": "1", "input": json.dumps(entry),
              "frame": "null", "rate_hz": "0", "classes": json.dumps(["a", "b"]),
              "tensors": json.dumps(b.tensors), "learn": "null"}  # fmt: skip
    return {f"edgesnn.{key}": value for key, value in values.items()}
