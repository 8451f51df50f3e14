"""Bits by layer: what a name means, and names and numbers that are none."""

from __future__ import annotations

import json

import pytest

import edgesnn as es
from edgesnn.errors import QuantizationError
from edgesnn.models import leaves
from edgesnn.quant import rebuild


def widths(qnet):
    """Bits of weights and of spikes by path."""
    layers = dict(leaves(qnet))
    weights = {
        path: int(layer.quant_weight().bit_width) for path, layer in layers.items() if hasattr(layer, "quant_weight")
    }
    return weights, {path: layer.bits for path, layer in layers.items() if hasattr(layer, "bits")}


@pytest.fixture(scope="module")
def net():
    return es.models.resnet18((2, 8, 8), 3, width=2)


def test_named_layers_have_their_bits_and_all_others_the_rest(net):
    qnet = es.quantize(net, {"block1.branch.conv1": 4, "rest": 2}, {"neuron0": 8, "block2.branch.neuron1": 1})
    weights, spikes = widths(qnet)
    assert (weights.pop("conv0"), weights.pop("readout"), weights.pop("block1.branch.conv1")) == (8, 8, 4)
    assert set(weights.values()) == {2}
    assert (spikes.pop("neuron0"), spikes.pop("block2.branch.neuron1")) == (8, 1)
    assert set(spikes.values()) == {4}


def test_the_first_layer_has_its_bits_where_it_is_named(net):
    assert widths(es.quantize(net, {"conv0": 1}))[0]["conv0"] == 1


def test_a_network_with_bits_by_layer_is_rebuilt(net):
    qnet = es.quantize(net, {"block1.branch.conv1": 4}, {"neuron0": 8})
    assert widths(rebuild(json.loads(json.dumps(qnet.config)))) == widths(qnet)


@pytest.mark.parametrize(("weights", "spikes", "words"), [
    ({"conv9": 4}, 4, r"expected weights for some of conv0, .* and 'rest', got conv9"),
    ({"neuron0": 4}, 4, r"got neuron0"),
    ({"readout": 4}, 4, r"got readout"),
    (1, {"conv0": 4}, r"expected spikes for some of neuron0, .* got conv0"),
    ({"conv0": 3}, 4, r"expected weights .* in \(1, 2, 4, 8\)"),
    (1, {"rest": 16}, r"spikes .* in \(1, 2, 4, 8\)"),
    ("watch", 4, r"bits as a number, or numbers by layer, got a str; give data as calibrate="),
])  # fmt: skip
def test_other_names_and_numbers_are_one_line(net, weights, spikes, words):
    with pytest.raises(QuantizationError, match=words) as error:
        es.quantize(net, weights, spikes)
    assert "\n" not in str(error.value)
