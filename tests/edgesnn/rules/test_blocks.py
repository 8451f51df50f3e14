"""Every rule on networks with blocks: sums, feedback, neurons behind the sum. In float64."""

import pytest
import torch
from torch import nn

import edgesnn as es
from edgesnn import rules
from edgesnn.layers import BinaryConv2d, Conv2d, Readout
from edgesnn.models import Network
from edgesnn.models.blocks import Residual

T, N, K = 4, 5, 3


def residual(neuron):
    """conv, norm, neuron, residual block with a shortcut of its own, neuron, pool, readout."""
    torch.manual_seed(0)
    branch = {
        "conv1": BinaryConv2d(3, 4, 3, padding=1, bias=False),
        "norm1": nn.BatchNorm2d(4),
        "neuron1": neuron.sized(4),
        "conv2": BinaryConv2d(4, 4, 3, padding=1, bias=False),
        "norm2": nn.BatchNorm2d(4),
    }
    layers = {
        "conv1": Conv2d(1, 3, 3, padding=1, bias=False),
        "norm1": nn.BatchNorm2d(3),
        "neuron1": neuron.sized(3),
        "block1": Residual(branch, {"conv1": BinaryConv2d(3, 4, 1, bias=False)}),
        "neuron2": neuron.sized(4),
        "pool1": nn.AvgPool2d(2),
        "flatten": nn.Flatten(1),
        "readout": Readout(16, K),
    }
    return Network(layers, {}, (1, 4, 4), K).double()


def recurrent(neuron):
    return es.models.recurrent(16, 7, K, neuron, weights="float", norm="none").double()


def batch():
    g = torch.Generator().manual_seed(0)
    return 2 * torch.randn(T, N, 1, 4, 4, generator=g, dtype=torch.float64), torch.randint(K, (N,), generator=g)


def of_rule(rule, net):
    net.zero_grad(set_to_none=True)
    x, y = batch()
    loss = rule.backward(net, x, y, torch.Generator())
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None} | {
        "loss": torch.tensor(loss)
    }


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize("make", [residual, recurrent])
@pytest.mark.parametrize("neuron", [es.LIF(0.5, 0.6), es.EMPF(0.5, 0.3)])
def test_rules_meet_on_blocks_too(make, neuron):
    net = make(neuron)
    full, online = of_rule(rules.BPTT(), net), of_rule(rules.SLTT(), net)
    same(of_rule(rules.TTLBP(k=T), net), full)
    same(of_rule(rules.TTLBP(k=1), net), online)
    assert any(not torch.allclose(full[name], online[name]) for name in full)


@pytest.mark.parametrize("make", [residual, recurrent])
@pytest.mark.parametrize("neuron", [es.LIF(0.0, 0.6), es.EMPF(parallel=True)])
def test_ottt_without_a_leak_is_sltt_on_blocks_too(make, neuron):
    net = make(neuron)
    same(of_rule(rules.OTTT(), net), of_rule(rules.SLTT(), net))


def test_every_synapse_of_a_block_is_traced_for_the_neuron_that_runs_next():
    net = residual(es.LIF(0.5, 0.6))
    traces, state = rules.traces.Traces(net), {}
    for t in range(2):
        _, state = traces.step(batch()[0][t], state, t)
    names = {module: name for name, module in net.named_modules()}
    targets = {names[synapse]: names[neuron] for synapse, neuron in traces.targets.items()}
    assert targets == {
        "layers.conv1": "layers.neuron1",
        "layers.block1.branch.layers.conv1": "layers.block1.branch.layers.neuron1",
        "layers.block1.branch.layers.conv2": "layers.neuron2",
        "layers.block1.shortcut.layers.conv1": "layers.neuron2",
        "layers.readout": "layers.neuron2",
    }


def test_dsr_and_local_blocks_reach_every_weight_of_a_block():
    net = residual(es.neurons.IF(0.6, alpha=0.5))
    for rule in (rules.DSR(), rules.TTLBP(k=2, n=1)):
        gradients = of_rule(rule, net)
        weights = [name for name, _ in net.named_parameters() if name.endswith("weight")]
        assert all(gradients[name].abs().max() > 0 for name in weights), rule
