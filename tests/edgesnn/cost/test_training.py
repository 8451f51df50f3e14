"""The analytic models of training against their equations written out for one network, and how rules compare."""

from itertools import pairwise

import pytest
import torch

import edgesnn as es
from edgesnn import cost
from edgesnn.errors import ConfigError

T, N = 6, 4
W, U, K = [8 * 6, 6 * 5, 5 * 4], [6, 5, 4], 3  # weights and neurons of three hidden layers, classes
READOUT = 4 * K


def net(neuron=None, weights="float"):
    return es.models.mlp(8, [6, 5, 4], K, neuron or es.LIF(), weights=weights)


def ttlbp(k, n, classifiers="trained"):
    return {"kind": "ttlbp", "k": k, "n": n, "classifiers": classifiers}


def by_hand(k, classifiers, blocks):
    """Eq. 11-17 for blocks of layers [first, last); classifiers: |W_c| of each. Density 1."""
    reads = writes = additions = macs = 0
    for (first, last), Wc in zip(blocks, classifiers, strict=True):
        w, u = W[first:last], [N * value for value in U[first:last]]
        Uc = N * K
        above = sum(w[1:])
        ends, middles = T // k, T - T // k
        reads += T * (sum(w) + sum(u) + Wc + Uc)
        writes += T * (sum(u) + Uc)
        reads += middles * (sum(w) + 2 * sum(u) + above + 2 * Wc + 3 * Uc)
        reads += ends * (above + sum(u[:-1]) + Wc)
        writes += T * (sum(w) + sum(u) + Wc + Uc)
        additions += T * N * (sum(w) + Wc)
        additions += T * (2 * sum(u) + N * sum(w) + 2 * Uc + N * Wc)
        macs += T * N * (above + Wc)
    return reads, writes, additions, macs


@pytest.mark.parametrize("k", [1, 2, 6])
@pytest.mark.parametrize(
    ("n", "classifiers", "blocks"),
    [
        (3, [READOUT], [(0, 3)]),
        (2, [5 * K, READOUT], [(0, 2), (2, 3)]),
        (1, [6 * K, 5 * K, READOUT], [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_equations_11_to_17(k, n, classifiers, blocks):
    got = cost.training(net(), ttlbp(k, n), T, N)
    assert (got.reads, got.writes, got.additions, got.macs) == by_hand(k, classifiers, blocks)


def test_bptt_and_sltt_are_its_two_ends():
    one = net()
    assert cost.training(one, es.rules.BPTT(), T, N) == cost.training(one, ttlbp(T, 3), T, N)
    assert cost.training(one, es.rules.SLTT(), T, N) == cost.training(one, ttlbp(1, 3), T, N)


def test_the_rule_itself_is_understood():
    one = net()
    assert cost.training(one, es.rules.TTLBP(2, 1), T, N) == cost.training(one, ttlbp(2, 1), T, N)
    assert cost.training(one, es.rules.TTLBP(), T, N) == cost.training(one, es.rules.BPTT(), T, N)
    assert cost.training(one, es.rules.OTTT(), T, N) == cost.training(one, {"kind": "ottt"}, T, N)
    assert cost.training(one, es.rules.DSR(), T, N) == cost.training(one, {"kind": "dsr"}, T, N)


def test_random_classifiers_save_what_training_them_takes():
    trained, random = (cost.training(net(), ttlbp(1, 1, kind), T, N) for kind in ("trained", "random"))
    assert random.macs == trained.macs
    extra = 6 * K + 5 * K  # the readout is trained in any case
    assert trained.additions - random.additions == T * N * extra
    assert trained.reads - random.reads == T * 2 * extra
    assert trained.writes - random.writes == T * extra


def test_drawn_steps_cost_their_share():
    whole, drawn = (cost.training(net(), es.rules.SLTT(k), T, N) for k in (None, 2))
    assert drawn.macs == whole.macs * 2 / T
    assert cost.schedule(es.rules.SLTT(2), T).forward == pytest.approx(2 * 7 / 3)
    assert cost.schedule(es.rules.SLTT(T), T).forward == T
    assert drawn.memory_bytes == whole.memory_bytes


def test_traces_and_rates_are_kept_and_make_the_gradient_of_weights_real():
    sltt, ottt, dsr = (cost.training(net(), {"kind": kind}, T, N) for kind in ("sltt", "ottt", "dsr"))
    traces, rates = N * (8 + 6 + 5 + 4), N * (6 + 5 + 4)
    gradient = N * (sum(W) + READOUT)
    assert ottt.memory_bytes - sltt.memory_bytes == 4 * traces
    assert ottt.reads - sltt.reads == ottt.writes - sltt.writes == T * traces
    assert ottt.macs - sltt.macs == T * gradient
    assert ottt.additions - sltt.additions == T * (traces - gradient)
    assert dsr.memory_bytes - sltt.memory_bytes == 4 * rates
    assert dsr.macs == sltt.macs / T + gradient


def test_real_spikes_multiply_with_real_weights_and_add_binary_ones():
    lif = cost.training(net(), es.rules.SLTT(), T, N)
    real, binary = (cost.training(net(es.EMPF(), weights), es.rules.SLTT(), T, N) for weights in ("float", "binary"))
    gradient = N * (sum(W) + READOUT)
    assert real.macs == lif.macs + 2 * T * gradient
    assert binary.macs == lif.macs + T * gradient + T * N * (W[0] + READOUT)
    assert real.additions == lif.additions - 2 * T * gradient


def test_density_scales_what_spikes_touch():
    dense, none = (cost.training(net(), es.rules.SLTT(), T, N, density) for density in (1.0, 0.0))
    half = cost.training(net(), es.rules.SLTT(), T, N, 0.5)
    assert half.additions == (dense.additions + none.additions) / 2
    assert half.macs == dense.macs
    assert none.additions == T * 2 * N * (sum(U) + K)


def test_memory_is_eq_9_and_10():
    one = net()
    parameters = 4 * sum(parameter.numel() for parameter in one.parameters())
    memory = [cost.training(one, ttlbp(k, 3), T, N).memory_bytes - parameters for k in (1, 2, 3, 6)]
    assert memory == [k * memory[0] for k in (1, 2, 3, 6)]
    classifiers = 4 * (6 * K + 5 * K)
    local = [cost.training(one, ttlbp(k, 1), T, N).memory_bytes - parameters - classifiers for k in (1, 2)]
    assert local[0] < memory[0]
    assert local[1] == memory[0] + local[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: es.models.recurrent(8, 5, 3, es.LIF()),
        lambda: es.models.vgg_f((2, 8, 8), 3, width=2),
        lambda: es.models.resnet18((2, 8, 8), 3, width=2, block="preactivation"),
        lambda: es.models.alexnet((2, 8, 8), 3, width=2),
    ],
)
def test_every_rule_on_every_kind_of_network(make):
    with torch.device("meta"):
        made = make()
    kinds = [
        {"kind": "bptt"},
        ttlbp(2, 1),
        {"kind": "sltt"},
        {"kind": "sltt", "k": 2},
        {"kind": "ottt"},
        {"kind": "dsr"},
    ]
    found = [cost.training(made, rule, T, N) for rule in kinds]
    assert all(min(c.reads, c.writes, c.additions, c.macs, c.memory_bytes) > 0 for c in found)
    assert all(a.memory_bytes >= b.memory_bytes for a, b in pairwise(found[:4]))


def test_recurrent_weights_pass_errors_only_where_steps_are_joined():
    made = es.models.recurrent(8, 5, 3, es.LIF(), weights="float")
    bptt, sltt = (cost.training(made, rule, T, N) for rule in (es.rules.BPTT(), es.rules.SLTT()))
    assert bptt.macs - sltt.macs == T * N * 25


def test_the_defaults_serve_networks_with_norms():
    """As those of `fit` do; a batch of one has no statistics."""
    assert cost.training(net(), es.rules.SLTT(), T) == cost.training(net(), es.rules.SLTT(), T, 64)
    for call in (lambda: cost.training(net(), es.rules.SLTT(), T, 1), lambda: cost.saved_bytes(net(), 1)):
        with pytest.raises(ConfigError, match=r"expected a batch of at least 2 for a network with norms .*, got 1"):
            call()
    plain = es.models.mlp(8, [6], K, norm="none")
    assert cost.training(plain, es.rules.SLTT(), T, 1).macs == cost.training(plain, es.rules.SLTT(), T, 2).macs / 2


@pytest.mark.parametrize("text", ["bptt", "sltt", "sltt:2", "ottt:online", "dsr", "ttlbp", "ttlbp:2", "ttlbp:2,1"])
def test_a_rule_of_one_word_is_the_rule(text):
    """What the word leaves out is the rule's default."""
    config = es.rules.parse(text)
    assert cost.training(net(), config, T, N) == cost.training(net(), es.rules.build(config), T, N)


@pytest.mark.parametrize("n", [None, 1, 2])
def test_a_readout_alone_has_a_cost(n):
    """It is one local block, which is what the rule makes of it, too."""
    alone = es.models.Network({"readout": es.layers.Readout(8, K)}, {}, (8,), K)
    found = cost.training(alone, ttlbp(1, n), T, N)
    assert found == cost.training(alone, es.rules.SLTT(), T, N)
    assert (found.macs, found.writes) == (T * N * 8 * K, T * N * K + T * (8 * K + N * K))
    assert len(es.rules.ttlbp.blocks(alone, n)) == 1


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"kind": "hebb"}, "expected a rule among"),
        (ttlbp(0, 1), "expected k from 1 to 6"),
        (ttlbp(7, 1), "expected k from 1 to 6"),
        (ttlbp(1, 0), "local blocks of n >= 1 layers, got 0"),
        ({"kind": "sltt", "k": 9}, "expected k from 1 to 6"),
    ],
)
def test_bad_rules_are_one_line(rule, words):
    with pytest.raises(ConfigError, match=words) as error:
        cost.training(net(), rule, T, N)
    assert "\n" not in str(error.value)


def test_bad_numbers():
    with pytest.raises(ConfigError, match="density"):
        cost.training(net(), es.rules.SLTT(), T, N, density=1.5)
    with pytest.raises(ConfigError, match="at least 1 time step"):
        cost.training(net(), es.rules.SLTT(), 0, N)
