"""Weights computed once a window: the same values and gradients, fewer computations."""

import re
import textwrap

import pytest
import torch

import edgesnn as es
from edgesnn import layers
from edgesnn.layers import binary, window
from edgesnn.layers.window import WindowWeights
from edgesnn.rules.loss import step_loss

LAYERS = [
    lambda: layers.BinaryLinear(4, 3),
    lambda: layers.StandardizedLinear(4, 3),
    lambda: layers.StandardizedLinear(4, 3, binary=True),
]


def gradients(layer, xs, window):
    layer.zero_grad()
    weights = WindowWeights()
    outputs = []
    for x in xs:
        if window:
            with weights:
                y = layer(x)
        else:
            y = layer(x)
        outputs.append(y.detach())
        y.square().sum().backward()
    weights.backward()
    return [torch.stack(outputs), *(parameter.grad.clone() for parameter in layer.parameters())]


@pytest.mark.parametrize("make", LAYERS)
def test_values_and_gradients_are_those_without_it(make):
    torch.manual_seed(0)
    layer, xs = make().double(), torch.randn(5, 6, 4).double()
    for a, b in zip(gradients(layer, xs, True), gradients(layer, xs, False), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.fixture
def calls(monkeypatch):
    made = []
    monkeypatch.setattr(binary, "binarize", lambda weight: (made.append(torch.is_grad_enabled()), weight * 2)[1])
    return made


def test_a_weight_is_computed_once_and_anew_after_backward(calls):
    layer, x, weights = layers.BinaryLinear(4, 3), torch.ones(2, 4), WindowWeights()
    for _ in range(3):
        with weights:
            layer(x).sum().backward()
    assert len(calls) == 1
    assert layer.weight.grad is None
    weights.backward()
    assert torch.equal(layer.weight.grad, torch.full((3, 4), 3 * 2 * 2.0))
    with weights:
        layer(x)
    assert len(calls) == 2


def test_a_weight_without_a_graph_is_not_used_where_one_is_needed(calls):
    layer, x, weights = layers.BinaryLinear(4, 3), torch.ones(2, 4), WindowWeights()
    with weights, torch.no_grad():
        layer(x)
    for _ in range(2):
        with weights:
            layer(x).sum().backward()
    assert calls == [False, True]


def test_outside_of_it_every_call_computes(calls):
    layer, x = layers.BinaryLinear(4, 3), torch.ones(2, 4)
    layer(x), layer(x)
    assert len(calls) == 2


def test_the_example_runs_as_it_stands():
    """And gives the gradient of its time steps."""
    [example] = re.findall(r"\n\n(    .*?)\n\n", window.__doc__, re.DOTALL)
    net, x = es.models.mlp(6, [12, 12], 3, es.LIF()).double(), torch.rand(4, 8, 6, dtype=torch.float64)
    y = torch.arange(8) % 3
    names = {"net": net, "x": x, "steps": len(x), "state": {}, "WindowWeights": WindowWeights}
    exec(textwrap.dedent(example), names | {"loss": lambda logits: step_loss(logits, y) / len(x)})
    got = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    es.rules.SLTT().backward(net, x, y, torch.Generator())
    for name, p in net.named_parameters():
        torch.testing.assert_close(got[name], p.grad, rtol=1e-10, atol=1e-12)
