"""Chains: what is a neuron in them, step by step and as a window."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgesnn.errors import ConfigError
from edgesnn.layers import Readout, TemporalConv
from edgesnn.models import Feedback, Network
from edgesnn.models.blocks import Chain
from edgesnn.neurons import LIF

CURRENTS = torch.linspace(-1, 2, 24).reshape(4, 2, 3)  # T, N, C


def stepped(chain, x):
    outputs, state = [], {}
    for t in range(len(x)):
        y, state = chain.step(x[t], state, t)
        outputs.append(y)
    return torch.stack(outputs)


def test_a_neuron_is_one_under_any_name():
    chain, usual = (Chain({name: LIF(0.5, 1.0)}).eval() for name in ("lif1", "neuron1"))
    expected = stepped(usual, CURRENTS)
    assert set(expected.unique().tolist()) == {0, 1}
    assert torch.equal(stepped(chain, CURRENTS), expected)
    assert torch.equal(chain(CURRENTS), expected)


def test_a_name_makes_no_neuron():
    chain = Chain({"neuron1": nn.ReLU()}).eval()
    assert torch.equal(stepped(chain, CURRENTS), CURRENTS.relu())
    assert torch.equal(chain(CURRENTS), CURRENTS.relu())


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (
            {"linear": nn.Linear(3, 3, bias=False), "lif": LIF()},
            "lif: expected layers without a state in .*, got LIF; ",
        ),
        ({"conv": TemporalConv(3, 3, 2, bias=False)}, "conv: expected layers without a state in .*, got TemporalConv"),
        ({"again": Feedback({}, {})}, "again: expected layers without a state in .*, got Feedback"),
        ({"linear": nn.Linear(3, 3)}, "linear: expected layers without an offset in .*, got a Linear"),
        ({"norm": nn.BatchNorm1d(3)}, "norm: expected layers without an offset in .*, got a BatchNorm1d"),
    ],
    ids=range(5),
)
def test_a_feedback_that_would_forget_or_differ_at_the_first_step_is_refused(layers, words):
    with pytest.raises(ConfigError, match=f"^Feedback: {words}") as error:
        Feedback({"neuron": LIF()}, layers)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({}, "network: expected its last layer to be called 'readout', got None"),
        ({"out": Readout(3, 2)}, "network: expected its last layer to be called 'readout', got 'out'"),
        ({"readout": Readout(3, 2), "neuron": LIF()}, "network: expected its last layer .*, got 'neuron'"),
        ({"readout": nn.Linear(3, 2)}, "readout: expected an edgesnn.layers.Readout, .*, got Linear"),
        ({"readout": Readout(3, 4)}, "readout: expected 2 outputs, one a class, got 4"),
    ],
)
def test_a_network_knows_its_readout(layers, words):
    with pytest.raises(ConfigError, match=f"^{words}"):
        Network(layers, {}, (3,), 2).readout  # noqa: B018
