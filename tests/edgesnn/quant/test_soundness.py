"""Networks whose numbers cannot become integers: named by layer, before anything is calibrated or exported."""

from __future__ import annotations

import copy

import onnx
import pytest
import tiny_data
import torch
from torch import nn

import edgesnn as es
from edgesnn import export
from edgesnn.errors import EdgesnnError, ExportError, QuantizationError
from edgesnn.models import Network


@pytest.fixture(scope="module")
def trained():
    net = es.models.mlp(inputs=8, hidden=[6, 6], classes=3, neuron=es.EMPF(), weights="binary", seed=1)
    es.fit(net, tiny_data.stream(), epochs=1, progress=False)
    return net


def quantized(net):
    return es.quantize(net, weights=1, spikes=4, calibrate=tiny_data.stream(), epochs=0)


def change(net, layer, name, function):
    changed = copy.deepcopy(net)
    values = dict(changed.layers[layer].named_parameters()) | dict(changed.layers[layer].named_buffers())
    with torch.no_grad():
        values[name].copy_(function(values[name]))
    return changed


@pytest.mark.parametrize(
    ("layer", "name", "number"),
    [("linear2", "weight", "nan"), ("linear1", "weight", "inf"), ("norm1", "running_var", "nan"),
     ("neuron1", "theta_raw", "-inf"), ("neuron1", "lam_raw", "nan"), ("readout", "bias", "nan")],
)  # fmt: skip
def test_numbers_that_are_not_finite(trained, tmp_path, layer, name, number):
    words = f"{layer}: expected finite numbers, got {number} in {name}; train again"
    with pytest.raises(QuantizationError, match=words):
        quantized(change(trained, layer, name, lambda values: torch.full_like(values, float(number))))
    spoiled = change(quantized(trained), layer, name, lambda values: torch.full_like(values, float(number)))
    with pytest.raises(QuantizationError, match=words):
        export.onnx(spoiled, tmp_path)
    assert not (tmp_path / "step.onnx").exists()


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_a_leak_of_exactly_zero_or_one_is_sound(tmp_path, lam):
    """Its parameter, a logit, is infinite."""
    net = es.models.mlp(8, [6], 3, es.EMPF(lam, theta=0.1), seed=1)
    export.onnx(quantized(net), tmp_path)
    graph = onnx.load(tmp_path / "step.onnx").graph
    node = next(node for node in graph.node if node.op_type == "EMPF")
    leak = next(initial for initial in graph.initializer if initial.name == node.input[2])
    assert onnx.numpy_helper.to_array(leak).tolist() == [round(lam * 2**15)]


def with_layers(net, edit):
    layers = dict(net.layers.items())
    edit(layers)
    return Network(layers, net.config, net.input_shape, net.classes)


def test_a_layer_that_is_used_twice(trained):
    def twice(layers):
        readout = layers.pop("readout")
        layers |= {"linear3": layers["linear2"], "neuron3": es.EMPF(), "readout": readout}

    with pytest.raises(QuantizationError, match="linear3: expected weights of its own, got those of linear2"):
        quantized(with_layers(trained, twice))


def test_neurons_that_are_used_twice(trained):
    def twice(layers):
        layers["neuron2"] = layers["neuron1"]

    with pytest.raises(QuantizationError, match="neuron2: expected neurons of its own, got those of neuron1; give"):
        quantized(with_layers(trained, twice))


def test_two_layers_with_one_parameter(trained):
    def tied(layers):
        layers["linear1"] = copy.deepcopy(layers["linear2"])
        layers["linear1"].weight = layers["linear2"].weight

    with pytest.raises(QuantizationError, match="linear2: expected weights of its own, got those of linear1"):
        quantized(with_layers(trained, tied))


def test_an_unsupported_module_is_named(trained):
    def strange(layers):
        readout = layers.pop("readout")
        layers |= {"gelu": nn.GELU(), "readout": readout}

    with pytest.raises(QuantizationError, match="gelu: expected a layer that can be quantized, got GELU"):
        quantized(with_layers(trained, strange))


@pytest.mark.parametrize("value", [0.0, float("inf")])
def test_a_spike_scale_of_zero_or_infinity(trained, tmp_path, value):
    qnet = quantized(trained)
    for parameter in qnet.layers["neuron1"].quant.parameters():
        parameter.data.fill_(value)
    with pytest.raises(EdgesnnError, match=r"neuron1|linear2") as error:
        export.onnx(qnet, tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "step.onnx").exists()


def test_a_scale_that_leaves_no_room_is_an_overflow_with_its_place(trained, tmp_path):
    qnet = quantized(change(trained, "norm2", "weight", lambda values: values))
    qnet = change(qnet, "norm2", "weight", lambda values: values * 1e12)
    with pytest.raises(ExportError, match=r"(linear2|norm2|neuron2)\S*: expected .* got .*; "):
        export.onnx(qnet, tmp_path)
