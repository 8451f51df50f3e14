"""Every rule on networks with blocks: sums, feedback, neurons behind the sum. In float64."""

import pytest
import torch
from torch import nn

import edgesnn as es
from edgesnn import rules
from edgesnn.layers import BinaryConv2d, Conv2d, Readout, TemporalConv
from edgesnn.models import Network
from edgesnn.models.blocks import Attention, Feedback, Residual
from edgesnn.rules.targets import Targets

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


def test_every_synapse_of_a_block_is_traced_for_the_neuron_that_it_feeds():
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


def two_leaks():
    """A branch without neurons, beside a shortcut that ends with neurons of a longer memory."""
    torch.manual_seed(0)
    layers = {
        "linear0": nn.Linear(16, 8),
        "neuron0": es.LIF(0.5, 0.3),
        "block1": Residual({"linear1": nn.Linear(8, 8)}, {"linear2": nn.Linear(8, 8), "neuron2": es.LIF(0.9, 0.3)}),
        "neuron1": es.LIF(0.2, 0.3),
        "readout": Readout(8, K),
    }
    return Network(layers, {}, (16,), K).double()


def test_a_synapse_has_the_leak_of_the_neuron_that_it_feeds_not_of_the_next_to_run():
    """dL/dW = sum_t g_u[t] sum_s lam^(t-s) x[s] of a synapse beside which other neurons run, by hand."""
    net, (x, y), seen = two_leaks(), batch(), []
    synapse = net.layers["block1"].branch.layers["linear1"]
    hook = synapse.register_forward_hook(lambda _, inputs, u: seen.append((inputs[0].detach(), u)))
    state, trace, want = {}, 0.0, 0.0
    for t in range(T):
        logits, state = net.step(x[t], state, t)
        (g,) = torch.autograd.grad(nn.functional.cross_entropy(logits, y) / T, seen[t][1])
        trace = 0.2 * trace + seen[t][0]
        want = want + g.T @ trace
        state = {name: v.detach() for name, v in state.items()}
    hook.remove()
    got = of_rule(rules.OTTT(), net)["layers.block1.branch.layers.linear1.weight"]
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
    assert want.abs().max() > 1e-3


def test_the_targets_of_blocks_are_what_follows_them_and_of_feedback_its_body():
    torch.manual_seed(0)
    attention = Attention({"neuron": es.LIF(0.3), "conv": nn.Conv2d(2, 2, 1)})
    feedback = Feedback({"linear": nn.Linear(8, 5), "neuron": es.LIF(0.4)}, {"back": nn.Linear(5, 8, bias=False)})
    shared = es.LIF(0.6)
    layers = {
        "conv": nn.Conv2d(1, 2, 1),
        "attention": attention,
        "shared": shared,
        "flatten": nn.Flatten(1),
        "feedback": feedback,
        "temporal": TemporalConv(5, 5, 2),
        "again": shared,
        "readout": Readout(5, K),
    }
    found = Targets.of(Network(layers, {}, (1, 2, 2), K))
    inner = feedback.body.layers["neuron"]
    assert dict(found.synapses) == {
        layers["conv"]: attention.body.layers["neuron"],
        attention.body.layers["conv"]: shared,
        feedback.feedback.layers["back"]: inner,
        feedback.body.layers["linear"]: inner,
        layers["temporal"].synapse: shared,
        layers["readout"]: None,
    }
    assert found.neurons == [attention.body.layers["neuron"], shared, inner, shared]


def test_dsr_and_local_blocks_reach_every_weight_of_a_block():
    net = residual(es.neurons.IF(0.6, alpha=0.5))
    for rule in (rules.DSR(), rules.TTLBP(k=2, n=1)):
        gradients = of_rule(rule, net)
        weights = [name for name, _ in net.named_parameters() if name.endswith("weight")]
        assert all(gradients[name].abs().max() > 0 for name in weights), rule
