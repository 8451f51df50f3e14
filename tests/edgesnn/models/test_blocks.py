"""Chains: what is a neuron in them, step by step and as a window."""

from __future__ import annotations

import torch
from torch import nn

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
