"""TTLBP in float64: at its ends it is BPTT and SLTT; between them nothing crosses an interval or a block."""

import copy
import gc
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_gradients import K, assert_same, batch, of_rule
from torch.nn.functional import cross_entropy

import edgesnn as es
from edgesnn import rules
from edgesnn.errors import ConfigError, TrainingError
from edgesnn.rules.ttlbp import blocks

NEURONS = st.sampled_from([es.EMPF(0.7, 0.3), es.LIF(0.7, 0.6), es.EMPF(parallel=True)])
NETWORKS = {
    "widths": st.lists(st.integers(1, 6), min_size=1, max_size=4),
    "neuron": NEURONS,
    "seed": st.integers(0, 99),
}


@settings(max_examples=30)
@given(**NETWORKS, steps=st.integers(1, 5))
def test_one_block_and_one_interval_is_bptt(widths, neuron, seed, steps):
    net = es.models.mlp(4, widths, K, neuron, seed=seed).double()
    x, y = batch(steps=steps, seed=seed)
    assert_same(of_rule(rules.TTLBP(k=steps), net, x, y), of_rule(rules.BPTT(), net, x, y))


@settings(max_examples=30)
@given(**NETWORKS, steps=st.integers(1, 5))
def test_one_block_and_intervals_of_one_step_is_sltt(widths, neuron, seed, steps):
    net = es.models.mlp(4, widths, K, neuron, seed=seed).double()
    x, y = batch(steps=steps, seed=seed)
    assert_same(of_rule(rules.TTLBP(k=1, n=len(widths)), net, x, y), of_rule(rules.SLTT(), net, x, y))


def names(chains):
    return [list(chain.layers) for chain in chains]


def test_blocks_are_cut_before_the_synapse_behind_every_nth_layer():
    net = es.models.convnet((1, 8, 8), [2, 2, 2], K)
    units = [[f"{part}{i}" for part in ("conv", "norm", "neuron", "pool")] for i in (1, 2, 3)]
    last = ["flatten", "readout"]
    assert names(blocks(net, 1)) == [units[0], units[1], units[2] + last]
    assert names(blocks(net, 2)) == [units[0] + units[1], units[2] + last]
    assert names(blocks(net, 3)) == names(blocks(net, None)) == [units[0] + units[1] + units[2] + last]


def test_intervals_and_blocks_by_hand():
    """k = 2 of 5 steps (the last interval has one), a block a layer: every loss on a graph of its own."""
    steps, k = 5, 2
    net, (x, y) = es.models.mlp(4, [6, 5], K, es.LIF(0.7, 0.6), weights="float").double(), batch(steps=steps)
    rule = rules.TTLBP(k=k, n=1, seed=3)
    (local,) = rule.prepare(net)
    loss, grads = of_rule(rule, net, x, y)
    local_grad, local.weight.grad = local.weight.grad.clone(), None

    net.zero_grad(set_to_none=True)
    layers, v1, v2, total = net.layers, None, None, 0.0
    for t in range(steps):
        if t % k == 0 and t:
            v1, v2 = v1.detach(), v2.detach()
        s1, v1 = layers["neuron1"](layers["norm1"](layers["linear1"](x[t])), v1, t)
        s2, v2 = layers["neuron2"](layers["norm2"](layers["linear2"](s1.detach())), v2, t)
        total = total + (cross_entropy(local(s1), y) + cross_entropy(layers["readout"](s2), y)) / steps
    total.backward()
    want = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    assert_same((loss, grads), (total.item(), want))
    torch.testing.assert_close(local_grad, local.weight.grad, rtol=1e-10, atol=1e-12)


def test_learn_updates_after_every_interval():
    net, (x, y) = es.models.mlp(4, [6], K).double(), batch()
    losses = []
    total = rules.TTLBP(k=2).learn(net, x, y, torch.Generator(), losses.append)
    assert len(losses) == 3
    assert sum(losses) == pytest.approx(total)


def test_random_classifiers_stay_as_their_seed_made_them():
    net, data = es.models.mlp(64, [16, 16], 10), es.data.digits()
    rule = rules.TTLBP(n=1, classifiers="random", seed=5)
    before = [p.clone() for p in rule.prepare(net).parameters()]
    es.fit(net, data, rule, epochs=1, progress=False)
    after = list(rule._classifiers(net).parameters())
    assert before
    assert all(torch.equal(a, b) and not b.requires_grad for a, b in zip(before, after, strict=True))


def test_trained_classifiers_are_trained_kept_and_gone_on_with(tmp_path):
    data, settings = es.data.digits(), {"epochs": 3, "lr": 1e-2, "progress": False}
    nets = [es.models.mlp(64, [16, 16], 10, seed=1) for _ in range(2)]
    rule = rules.TTLBP(k=2, n=1)
    first = [p.clone() for p in rule.prepare(nets[0]).parameters()]
    whole = es.fit(nets[0], data, rule, **settings)
    assert not torch.equal(first[0], next(rule._classifiers(nets[0]).parameters()))

    class Interrupted(rules.TTLBP):
        calls = 0

        def learn(self, *args):
            self.calls += 1
            if self.calls == 30:
                raise KeyboardInterrupt
            return super().learn(*args)

    with pytest.raises(KeyboardInterrupt):
        es.fit(nets[1], data, Interrupted(k=2, n=1), checkpoint=tmp_path / "c.safetensors", **settings)
    nets[1] = es.models.mlp(64, [16, 16], 10, seed=1)
    rest = es.fit(nets[1], data, rules.TTLBP(k=2, n=1), checkpoint=tmp_path / "c.safetensors", resume=True, **settings)
    assert [epoch.loss for epoch in rest.epochs] == [epoch.loss for epoch in whole.epochs]
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(a, b)
    assert whole.epochs[-1].validation > 0.85


def test_every_network_keeps_its_own_classifiers():
    rule, nets = rules.TTLBP(n=1), [es.models.mlp(4, [6, 5], K, seed=seed).double() for seed in range(2)]
    x, y = batch()
    first, second = (rule.prepare(net) for net in nets)
    for net in nets:
        rule.learn(net, x, y, torch.Generator(), lambda _: None)
    assert first is not second
    for classifiers in (first, second):
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in classifiers.parameters())
    del net, nets[1]
    gc.collect()
    assert len(rule._prepared) == 1  # and no network longer than it lives


def test_bad_arguments_are_one_line():
    with pytest.raises(ConfigError, match="TTLBP: expected k >= 1 or None, got 0"):
        rules.TTLBP(k=0)
    with pytest.raises(ConfigError, match="one of trained, random, got 'none'"):
        rules.TTLBP(classifiers="none")
    net, (x, y) = es.models.mlp(4, [6], K).double(), batch()
    with pytest.raises(TrainingError, match="k=6 steps from a window of 5"):
        of_rule(rules.TTLBP(k=6), net, x, y)


def test_classifiers_follow_their_network_to_another_dtype():
    """What an optimizer holds stays what learns, and the gradients are those of a network that was there before."""
    net, (x, y) = es.models.mlp(4, [6, 5], K, es.LIF(0.7, 0.6)), batch()
    rule = rules.TTLBP(k=2, n=1, seed=3)
    held = list(rule.prepare(net).parameters())
    loss, grads = of_rule(rule, net.double(), x, y)
    assert all(p.dtype == torch.float64 and p.grad.abs().max() > 0 for p in held)
    again = rules.TTLBP(k=2, n=1, seed=3)
    again.prepare(net)
    assert_same((loss, grads), of_rule(again, net, x, y))


@pytest.mark.parametrize("seed", ["a", 1.5, True, None, 2**70, -(2**63) - 1])
def test_a_seed_that_torch_does_not_take_is_one_line(seed):
    with pytest.raises(
        ConfigError, match=r"^TTLBP: expected a whole number as seed, -2\^63 to 2\^64 - 1, got"
    ) as error:
        rules.TTLBP(seed=seed)
    assert "\n" not in str(error.value)


def test_a_seed_of_numpy_is_a_whole_number_too():
    assert type(rules.TTLBP(seed=np.int64(3)).config()["seed"]) is int


def test_a_rule_and_its_network_pickled_together_know_each_other():
    net, (x, y) = es.models.mlp(4, [6, 5], K).double(), batch()
    rule = rules.TTLBP(k=2, n=1)
    local = rule.prepare(net)
    torch.nn.init.constant_(local[0].weight, 0.125)
    want = of_rule(rule, net, x, y)
    assert_same(of_rule(*pickle.loads(pickle.dumps((rule, net))), x, y), want)
    assert_same(of_rule(copy.deepcopy(rule), net, x, y), want)
    assert pickle.loads(pickle.dumps(rule)).config() == rule.config()


def test_prepare_starts_the_classifiers_anew():
    rule, net = rules.TTLBP(k=2, n=1), es.models.mlp(4, [6, 5], K)
    first = rule.prepare(net)
    start = first[0].weight.clone()
    torch.nn.init.zeros_(first[0].weight)
    assert torch.equal(rule.prepare(net)[0].weight, start)
