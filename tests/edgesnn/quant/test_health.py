"""Silent and saturated neurons, in networks made for it."""

from __future__ import annotations

import pytest
import torch

from edgesnn.layers import Readout
from edgesnn.models import Network
from edgesnn.neurons import EMPF, LIF
from edgesnn.quant.health import LayerHealth, health
from edgesnn.quant.layers import QuantEMPF, set_range


def network(neuron, channels=4):
    return Network({"neuron1": neuron, "readout": Readout(channels, 2)}, {}, (channels,), 2)


def constant(values, steps=4, samples=3):
    return torch.tensor(values).expand(steps, samples, len(values))


def test_silent_saturated_and_in_between():
    """Without memory, the spike of a channel is Q(current - theta): 0, 3 of 15, 15 of 15, 15 of 15."""
    neuron = QuantEMPF(EMPF(theta=1.0, parallel=True), 4)
    set_range(neuron, 15.0, "neuron1")
    found = health(network(neuron), [constant([0.5, 4.0, 16.0, 90.0])])
    assert found == [LayerHealth("neuron1", silent=0.25, saturated=0.5, rate=0.75)]


def test_a_neuron_that_emits_once_is_not_silent_and_one_at_the_top_half_of_the_time_is_not_saturated():
    neuron = QuantEMPF(EMPF(theta=1.0, parallel=True), 2)
    set_range(neuron, 3.0, "neuron1")
    x = torch.zeros(4, 2, 3)
    x[1, 0, 0] = 3.0  # once in 8 pairs of step and sample
    x[:2, :, 1] = 9.0  # 4 of 8
    x[:3, :, 2] = 9.0  # 6 of 8
    found = health(network(neuron, 3), [x])
    assert found == [LayerHealth("neuron1", silent=0.0, saturated=pytest.approx(1 / 3), rate=pytest.approx(11 / 24))]


def test_batches_count_together():
    neuron = QuantEMPF(EMPF(theta=1.0, parallel=True), 4)
    set_range(neuron, 15.0, "neuron1")
    net = network(neuron)
    loud, quiet = constant([9.0, 9.0, 0.0, 0.0]), constant([0.0, 9.0, 9.0, 0.0])
    assert health(net, [loud, quiet]) == [LayerHealth("neuron1", silent=0.25, saturated=0.0, rate=0.5)]
    assert health(net, [loud]) == [LayerHealth("neuron1", silent=0.5, saturated=0.0, rate=0.5)]


def test_a_spike_of_lif_is_no_saturation():
    found = health(network(LIF(lam=0.0, theta=1.0)), [constant([2.0, 2.0, 0.5, 0.0])])
    assert found == [LayerHealth("neuron1", silent=0.5, saturated=0.0, rate=0.5)]


def test_the_network_is_left_as_it_was():
    net = network(LIF())
    for training in (True, False):
        net.train(training)
        health(net, [constant([1.0, 1.0, 1.0, 1.0])])
        assert net.training is training
    assert not net.layers["neuron1"]._forward_hooks
