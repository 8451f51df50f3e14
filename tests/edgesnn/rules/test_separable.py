"""Theorem 4.2 of EM-PF (arXiv 2410.07547): where all neurons emit at every step, or none does, the online gradient is
the full one; and random back-propagation, its estimate from one step. In float64.
"""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import edgesnn as es
from edgesnn import rules

N, K = 5, 3
SHAPES = {
    "widths": st.lists(st.integers(1, 6), min_size=1, max_size=3),
    "lam": st.floats(0.05, 0.95),
    "steps": st.integers(2, 5),
    "seed": st.integers(0, 99),
}


def positive_network(widths, lam, theta, seed):
    """Without norms, and with weights above 0 only, so that inputs above 0 make currents above 0 in every layer."""
    net = es.models.mlp(4, widths, K, es.EMPF(lam, theta), weights="float", seed=seed).double()
    for name, layer in net.layers.items():
        if name.startswith("norm"):
            net.layers[name] = nn.Identity()
        elif name.startswith("linear"):
            layer.weight.data.abs_().add_(0.1)
    return net


def batch(steps, seed, low):
    g = torch.Generator().manual_seed(seed)
    return low + torch.rand(steps, N, 4, generator=g, dtype=torch.float64), torch.randint(K, (N,), generator=g)


def gradients(rule, net, x, y):
    net.zero_grad(set_to_none=True)
    rule.backward(net, x, y, torch.Generator())
    return {name: p.grad.clone() for name, p in net.named_parameters()}


def emitted(net, x):
    """Whether each neuron emits, over all steps and layers."""
    seen = []
    neurons = [layer for name, layer in net.layers.items() if name.startswith("neuron")]
    hooks = [layer.register_forward_hook(lambda m, a, out: seen.append(out[0].flatten() > 0)) for layer in neurons]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return torch.cat(seen)


@settings(max_examples=30)
@given(**SHAPES)
def test_case_1_all_emit_always(widths, lam, steps, seed):
    """v' = theta whatever the membrane was, so that nothing of a step reaches the next but through theta."""
    net = positive_network(widths, lam, 0.01, seed)
    x, y = batch(steps, seed, low=1.0)
    assert emitted(net, x).all()
    full, online = gradients(rules.BPTT(), net, x, y), gradients(rules.SLTT(), net, x, y)
    for name, value in full.items():
        if "theta" not in name:
            torch.testing.assert_close(online[name], value, rtol=1e-10, atol=1e-13, msg=name)
    assert full["layers.linear1.weight"].abs().max() > 1e-9


@settings(max_examples=30)
@given(**SHAPES)
def test_case_2_none_ever_emits(widths, lam, steps, seed):
    net = positive_network(widths, lam, 1e3, seed)
    x, y = batch(steps, seed, low=0.0)
    assert not emitted(net, x).any()
    full, online = gradients(rules.BPTT(), net, x, y), gradients(rules.SLTT(), net, x, y)
    for name, value in full.items():
        torch.testing.assert_close(online[name], value, rtol=1e-12, atol=0)
        assert name.startswith("layers.readout") or not value.any()


def test_between_the_cases_they_differ():
    net = positive_network([6], 0.8, 2.0, seed=0)
    x, y = batch(5, 0, low=0.0)
    assert 0 < emitted(net, x).double().mean() < 1
    full, online = gradients(rules.BPTT(), net, x, y), gradients(rules.SLTT(), net, x, y)
    assert not torch.allclose(full["layers.linear1.weight"], online["layers.linear1.weight"])


@pytest.mark.parametrize("neuron", [es.EMPF(), es.LIF(0.7, 0.6)])
@settings(max_examples=15)
@given(steps=st.integers(1, 5), data=st.data(), seed=st.integers(0, 99))
def test_random_back_propagation_is_unbiased_over_all_its_draws(neuron, steps, data, seed):
    """The mean over every one of the T!/(k!(T-k)!) draws, not over a sample, is the gradient of all steps."""
    k = data.draw(st.integers(1, steps))
    net = es.models.mlp(4, [5, 4], K, neuron, seed=seed).double()
    x, y = batch(steps, seed, low=-0.5)
    rule, draws, mean = rules.SLTT(k), list(itertools.combinations(range(steps), k)), {}
    for draw in draws:
        rule.draw = lambda steps, generator, draw=draw: list(draw)
        for name, grad in gradients(rule, net, x, y).items():
            mean[name] = mean.get(name, 0) + grad / len(draws)
    for name, grad in gradients(rules.SLTT(), net, x, y).items():
        torch.testing.assert_close(mean[name], grad, rtol=1e-10, atol=1e-13, msg=name)
