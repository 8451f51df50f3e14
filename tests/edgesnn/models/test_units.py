"""A network cut into units."""

import pytest
import torch

import edgesnn as es
from edgesnn.models.units import in_blocks, units


def test_a_unit_reaches_from_a_synapse_to_before_the_next():
    net = es.models.convnet((1, 8, 8), [4, 4], 3)
    found = units(net)
    assert [*found] == ["conv1", "conv2", "readout"]
    assert [name for chain in found.values() for name in chain.layers] == [*net.layers]


@pytest.mark.parametrize("rule", [es.rules.TTLBP(2, 1), es.rules.SLTT(1)])
def test_neurons_before_all_synapses_belong_to_the_first_unit(rule):
    layers = [{"kind": "neuron"}, {"kind": "linear", "outputs": 16}, {"kind": "neuron"}]
    net = es.models.sequence((6,), layers, 3)
    assert [[*chain.layers] for chain in units(net).values()] == [["neuron0", "linear1", "neuron1"], ["readout"]]
    assert es.cost.training(net, rule, 4).macs > 0
    assert rule.backward(net, torch.rand(4, 5, 6), torch.zeros(5, dtype=torch.long), torch.Generator()) > 0


def test_a_network_whose_only_known_synapse_is_the_readout_is_one_unit():
    layers = {"mine": torch.nn.Flatten(1), "neuron": es.LIF(), "readout": es.layers.Readout(6, 3)}
    net = es.models.Network(layers, {}, (6,), 3)
    assert [[*chain.layers] for chain in units(net).values()] == [[*layers]]


def test_blocks_of_n_units_the_last_may_be_smaller():
    assert in_blocks("abcde", 2) == [["a", "b"], ["c", "d"], ["e"]]
    assert in_blocks("abc", None) == [["a", "b", "c"]]
    assert in_blocks("", 2) == [[]]
