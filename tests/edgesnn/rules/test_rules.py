"""SLTT and BPTT in float64 against autograd on the plain equations and against eq. 12-13 worked out by hand."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

import edgesnn as es
from edgesnn import rules
from edgesnn.errors import ConfigError, TrainingError
from edgesnn.models.quick import QuickSteps
from edgesnn.neurons import SURROGATES

T, N, K = 5, 6, 3
NEURONS = {
    "empf": es.EMPF(),
    "empf-steps": es.EMPF(steps=T),
    "lif": es.LIF(0.7, 0.6),
    "parallel": es.EMPF(parallel=True),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(shape=(4,), seed=0):
    g = generator(seed)
    x = 2 * torch.randn(T, N, *shape, generator=g, dtype=torch.float64)
    return x, torch.randint(K, (N,), generator=g)


def network(neuron, weights="binary"):
    return es.models.mlp(4, [8, 7], K, NEURONS[neuron], weights=weights).double()


def gradients(net):
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def of_rule(rule, net, x, y, seed=0):
    net.zero_grad(set_to_none=True)
    loss = rule.backward(net, x, y, generator(seed))
    return loss, gradients(net)


def of_autograd(net, x, y, detach):
    """Eq. 14 as one graph; with `detach`, nothing flows through the old membrane."""
    net.zero_grad(set_to_none=True)
    state, losses = {}, []
    for t in range(T):
        if detach:
            state = {name: v.detach() for name, v in state.items()}
        logits, state = net.step(x[t], state, t)
        losses.append(cross_entropy(logits, y))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.item(), gradients(net)


def assert_same(a, b):
    assert a[0] == pytest.approx(b[0], rel=1e-12)
    assert a[1].keys() == b[1].keys()
    for name in a[1]:
        torch.testing.assert_close(a[1][name], b[1][name], rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize("neuron", NEURONS)
def test_sltt_is_autograd_with_a_detached_membrane(neuron):
    net, (x, y) = network(neuron), batch()
    assert_same(of_rule(rules.SLTT(), net, x, y), of_autograd(net, x, y, detach=True))


@pytest.mark.parametrize("neuron", NEURONS)
def test_bptt_is_autograd(neuron):
    net, (x, y) = network(neuron), batch()
    assert_same(of_rule(rules.BPTT(), net, x, y), of_autograd(net, x, y, detach=False))


@pytest.mark.parametrize("neuron", ["empf", "lif"])
def test_sltt_and_bptt_differ_when_there_is_a_membrane(neuron):
    net, (x, y) = network(neuron), batch()
    a, b = of_rule(rules.SLTT(), net, x, y)[1], of_rule(rules.BPTT(), net, x, y)[1]
    assert not torch.allclose(a["layers.linear1.weight"], b["layers.linear1.weight"])


def test_sltt_and_bptt_agree_without_a_membrane():
    net, (x, y) = network("parallel"), batch()
    assert_same(of_rule(rules.SLTT(), net, x, y), of_rule(rules.BPTT(), net, x, y))


def test_sltt_and_bptt_agree_on_one_step():
    net, (x, y) = network("lif"), batch()
    assert_same(of_rule(rules.SLTT(), net, x[:1], y), of_rule(rules.BPTT(), net, x[:1], y))


def test_k_equal_to_t_is_sltt_bit_for_bit():
    net, (x, y) = network("empf"), batch()
    a, b = of_rule(rules.SLTT(), net, x, y), of_rule(rules.SLTT(T), net, x, y, seed=7)
    assert a[0] == b[0]
    assert all(torch.equal(a[1][name], b[1][name]) for name in a[1])


@pytest.mark.parametrize("k", [1, 2, 4])
def test_mean_over_all_draws_is_the_full_gradient(k, monkeypatch):
    net, (x, y) = network("empf"), batch()
    rule = rules.SLTT(k)
    draws = [list(draw) for draw in itertools.combinations(range(T), k)]
    sums = {}
    for draw in draws:
        monkeypatch.setattr(rule, "draw", lambda steps, generator, draw=draw: draw)
        for name, grad in of_rule(rule, net, x, y)[1].items():
            sums[name] = sums.get(name, 0) + grad / len(draws)
    full = of_rule(rules.SLTT(), net, x, y)[1]
    for name in full:
        torch.testing.assert_close(sums[name], full[name], rtol=1e-10, atol=1e-12, msg=name)


def test_draws_are_without_replacement_seeded_and_uniform():
    rule, g = rules.SLTT(2), generator()
    draws = [tuple(rule.draw(T, g)) for _ in range(2000)]
    assert draws == [tuple(rule.draw(T, g2)) for g2 in [generator()] for _ in range(2000)]
    assert all(a < b < T for a, b in draws)
    counts = [draws.count(pair) for pair in itertools.combinations(range(T), 2)]
    assert min(counts) > 150
    assert max(counts) < 250


def test_steps_after_the_last_drawn_one_are_not_run(monkeypatch):
    net, (x, y) = network("empf"), batch()
    rule, seen, step = rules.SLTT(2), [], net.step
    monkeypatch.setattr(rule, "draw", lambda steps, generator: [1, 2])
    monkeypatch.setattr(net, "step", lambda x, s, t: (seen.append((t, "gradient")), step(x, s, t))[1])
    quick_step = QuickSteps.step
    monkeypatch.setattr(
        QuickSteps, "step", lambda self, x, s, t: (seen.append((t, "quick")), quick_step(self, x, s, t))[1]
    )
    rule.backward(net, x, y, generator())
    assert seen == [(0, "quick"), (1, "gradient"), (2, "gradient")]


def test_parameters_may_change_between_two_drawn_steps(monkeypatch):
    """Also where an image stands still and no weight of the first layer changes, or where torch counts no change."""
    rule, image = rules.SLTT(2), batch()[0][0]
    monkeypatch.setattr(rule, "draw", lambda steps, generator: [1, T - 1])

    def losses(x):
        net = es.models.mlp(4, [64, 7], K, NEURONS["empf"], norm="none").double()
        net.layers["linear1"].weight.requires_grad_(False)
        found = []
        for loss in rule.parts(net, x, batch()[1], generator()):
            found.append(loss)
            for parameter in net.parameters():
                if parameter.requires_grad:
                    parameter.data -= parameter.grad
        return found

    def plain():
        with monkeypatch.context() as patch:
            patch.setattr(QuickSteps, "step", torch.no_grad()(lambda self, x, s, t: self._net.step(x, s, t)[1]))
            return losses(image.repeat(T, 1, 1))

    assert losses(image.expand(T, *image.shape)) == plain()


def peak_saved_bytes(rule, steps):
    """Largest number of bytes that autograd holds at once for backward."""
    live, peak = 0, 0

    class Held:
        def __init__(self, tensor):
            nonlocal live, peak
            self.tensor, self.bytes = tensor, tensor.numel() * tensor.element_size()
            live += self.bytes
            peak = max(peak, live)

        def __del__(self):
            nonlocal live
            live -= self.bytes

    net = network("empf")
    x, y = torch.randn(steps, N, 4, dtype=torch.float64), torch.zeros(N, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        rule.backward(net, x, y, generator())
    return peak


@pytest.mark.parametrize("rule", [rules.SLTT(), rules.OTTT(), rules.TTLBP(k=2), rules.TTLBP(k=2, n=1)])
def test_memory_for_backward_does_not_grow_with_time_steps(rule):
    assert peak_saved_bytes(rule, 4) == peak_saved_bytes(rule, 40) > 0


def test_memory_of_bptt_does():
    assert peak_saved_bytes(rules.BPTT(), 40) > 5 * peak_saved_bytes(rules.BPTT(), 4)


def test_equations_12_and_13_by_hand():
    """Two LIF layers without norms: every e_u[t] and dW written out."""
    lam, theta, width = 0.7, 0.6, 5
    net = es.models.mlp(4, [width, width], K, es.LIF(lam, theta), weights="float").double()
    for i in (1, 2):
        net.layers[f"norm{i}"] = torch.nn.Identity()
    x, y = batch()
    loss, grads = of_rule(rules.SLTT(), net, x, y)

    w1, w2, w3 = (net.layers[name].weight.detach() for name in ("linear1", "linear2", "readout"))
    bias = net.layers["readout"].bias.detach()
    psi = SURROGATES["triangle"]
    v1 = v2 = torch.zeros(N, width, dtype=torch.float64)
    d1, d2, d3, total = torch.zeros_like(w1), torch.zeros_like(w2), torch.zeros_like(w3), 0.0
    for t in range(T):
        u1 = lam * v1 + x[t] @ w1.T
        s1 = (u1 >= theta).double()
        v1 = u1 - theta * s1
        u2 = lam * v2 + s1 @ w2.T
        s2 = (u2 >= theta).double()
        v2 = u2 - theta * s2
        p = torch.softmax(s2 @ w3.T + bias, dim=1)
        total -= p[torch.arange(N), y].log().mean().item() / T
        e3 = (p - one_hot(y, K)) / N / T
        e2 = e3 @ w3 * psi(u2 - theta, theta)
        e1 = e2 @ w2 * psi(u1 - theta, theta)
        d3 += e3.T @ s2
        d2 += e2.T @ s1
        d1 += e1.T @ x[t]
    assert loss == pytest.approx(total, rel=1e-12)
    for name, expected in {"linear1": d1, "linear2": d2, "readout": d3}.items():
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(grads[f"layers.{name}.weight"], expected, rtol=1e-10, atol=1e-12)


def test_convnet_gradients():
    net = es.models.convnet((1, 4, 4), [3, 2], K, es.EMPF()).double()
    x, y = batch((1, 4, 4))
    assert_same(of_rule(rules.SLTT(), net, x, y), of_autograd(net, x, y, detach=True))


def test_config_rebuilds_the_rule():
    for rule in (rules.SLTT(), rules.SLTT(3), rules.BPTT()):
        assert rules.build(rule.config()).config() == rule.config()


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("bptt", {"kind": "bptt"}),
        ("sltt", {"kind": "sltt"}),
        ("sltt:4", {"kind": "sltt", "k": 4}),
        ("ottt:online", {"kind": "ottt", "update": "online"}),
        ("dsr", {"kind": "dsr"}),
        ("ttlbp:5,1", {"kind": "ttlbp", "k": 5, "n": 1}),
        ("ttlbp:5,1,random", {"kind": "ttlbp", "k": 5, "n": 1, "classifiers": "random"}),
    ],
)
def test_rules_have_short_names(text, config):
    assert rules.parse(text) == config
    assert rules.build(config).config().items() >= config.items()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("hebb", "one of bptt, dsr, ottt, sltt, ttlbp, got 'hebb'"),
        ("sltt:x", "k to be a whole number above 0, got 'x'"),
        ("sltt:", "k to be a whole number above 0, got ''"),
        ("dsr:2", "expected dsr, got 'dsr:2'"),
        ("ttlbp:5,1,random,2", "expected ttlbp:k,n,classifiers, got"),
        ("ottt:often", "one of accumulate, online, got 'often'"),
    ],
)
def test_a_wrong_short_name_is_one_line(text, error):
    with pytest.raises(ConfigError, match=error):
        rules.parse(text)


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"kind": "sltt", "k": 2.0}, "rule 'sltt': k: expected a whole number or None, got 2.0; see"),
        ({"kind": "sltt", "k": "2"}, "k: expected a whole number or None, got '2'"),
        ({"kind": "sltt", "k": True}, "k: expected a whole number or None, got True"),
        ({"kind": "ttlbp", "k": 1.5}, "k: expected a whole number or None, got 1.5"),
        ({"kind": "ttlbp", "n": 0}, "TTLBP: expected n >= 1 or None, got 0"),
        ({"kind": ["sltt"]}, r"one of bptt, dsr, ottt, sltt, ttlbp, got \['sltt'\]"),
        ({"kind": "dsr", "theta_decay": float("nan")}, "expected theta_decay >= 0, got nan"),
    ],
)
def test_a_wrong_description_is_one_line(config, error):
    with pytest.raises(ConfigError, match=error) as caught:
        rules.build(config)
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_whole_numbers_too():
    config = rules.TTLBP(np.int64(2), np.int32(1)).config()
    assert (config["k"], config["n"]) == (2, 1)
    assert type(config["k"]) is type(config["n"]) is int


@pytest.mark.parametrize("rule", [rules.BPTT(), rules.SLTT(1), rules.OTTT(), rules.DSR(), rules.TTLBP(2, 1)])
def test_what_no_rule_can_train_is_told_before_training(rule):
    frozen, plain = es.models.mlp(4, [8], K, es.LIF()), es.models.mlp(4, [8], K, es.LIF())
    with pytest.raises(TrainingError, match=r"^training: expected a network with parameters that are trained, got one"):
        rule.prepare(frozen.requires_grad_(False))
    plain.layers["readout"] = torch.nn.Linear(8, K)
    with pytest.raises(ConfigError, match=r"^readout: expected an edgesnn"):
        rule.prepare(plain)


def test_bad_arguments_are_one_line():
    net, (x, y) = network("empf"), batch()
    for k in (0, 2.0, "2", True):
        with pytest.raises(ConfigError, match=f"SLTT: expected k >= 1 or None, got {k!r}; give a whole number"):
            rules.SLTT(k)
    with pytest.raises(TrainingError, match="k=6 of 5"):
        rules.SLTT(6).backward(net, x, y, generator())
    with pytest.raises(ConfigError, match="hebb"):
        rules.build({"kind": "hebb"})
    with pytest.raises(ConfigError, match="'bptt'"):
        rules.build({"kind": "bptt", "k": 2})


RULES = [rules.BPTT(), rules.SLTT(), rules.OTTT(), rules.OTTT("online"), rules.DSR(), rules.TTLBP(1)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.config()['kind']}-{rule.updates_within_window}")
@pytest.mark.parametrize(
    ("x", "y", "what"),
    [
        ((0, 4, 6), (4,), r"at least one step and one sample, got \[0, 4, 6\]"),
        ((3, 0, 6), (0,), r"at least one step and one sample, got \[3, 0, 6\]"),
        ((6,), (6,), r"a window x \[T, N, \.\.\.\]"),
        ((3, 4, 6), (3,), r"classes y \[4\], one for each sample of x \[3, 4, 6\], got \[3\]"),
        ((3, 4, 6), (3, 4), r"got \[3, 4\]"),
        ((3, 4, 6), (), r"got \[\]"),
    ],
)
def test_a_window_that_is_none_is_one_line(rule, x, y, what):
    net = es.models.mlp(6, [5], 3, es.LIF(0.5, 0.6))
    x, y, generator = torch.zeros(x), torch.zeros(y, dtype=torch.int64), torch.Generator()
    for run in (
        lambda: rule.backward(net, x, y, generator),
        lambda: rule.learn(net, x, y, generator, lambda loss: None),
    ):
        with pytest.raises(TrainingError, match=what) as error:
            run()
        assert "\n" not in str(error.value)
    assert all(parameter.grad is None for parameter in net.parameters())
