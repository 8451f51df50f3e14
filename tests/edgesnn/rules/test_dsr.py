"""DSR: the clamp that rates tend to, and its gradients, worked out by hand in float64."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_gradients import K, N, T, batch, of_rule
from torch import nn
from torch.nn.functional import one_hot

import edgesnn as es
from edgesnn import rules
from edgesnn.errors import ConfigError, TrainingError
from edgesnn.layers import Readout
from edgesnn.models import Network
from edgesnn.neurons import IF, LIF
from edgesnn.rules.dsr import _Mean, clamped_rate


def plain(neuron, hidden=(7, 5), seed=0):
    """Fully connected, float weights, no norms: all that is between neurons is linear."""
    net = es.models.mlp(4, list(hidden), K, neuron, weights="float", seed=seed).double()
    for name in net.layers:
        if name.startswith("norm"):
            net.layers[name] = nn.Identity()
    return net


def rate(neuron, current, steps):
    """Mean of the spikes over the steps, each step weighted by lam^(T-n), for a constant current."""
    v, spikes = None, []
    for t in range(steps):
        s, v = neuron(current, v, t)
        spikes.append(s)
    weights = torch.tensor([neuron.lam ** (steps - 1 - t) for t in range(steps)], dtype=current.dtype)
    return (weights[:, None] * torch.stack(spikes)).sum(0) / weights.sum()


@settings(max_examples=30)
@given(
    numerators=st.lists(st.integers(-40, 60), min_size=1, max_size=8),
    steps=st.integers(1, 30),
    alpha=st.sampled_from([1.0, 0.5]),
)
def test_eq_18_and_21_the_rate_is_the_clamp_in_steps_of_1_over_n(numerators, steps, alpha):
    """a = theta/N * clamp(floor(N*I/theta), 0, N); firing at half the threshold, floor(x + 1/2). theta = 2, exactly."""
    currents = [Fraction(i, 16) for i in numerators]
    got = rate(IF(2.0, alpha=alpha), torch.tensor([float(i) for i in currents], dtype=torch.float64), steps)
    half = Fraction(1, 2) if alpha == 0.5 else 0
    levels = [min(max((steps * i / 2 + half).__floor__(), 0), steps) for i in currents]
    torch.testing.assert_close(
        got, torch.tensor([level / steps for level in levels], dtype=torch.float64), rtol=1e-12, atol=1e-12
    )


@settings(max_examples=30)
@given(seed=st.integers(0, 99), theta=st.floats(0.2, 3), alpha=st.sampled_from([1.0, 0.5]))
def test_eq_15_the_clamp_is_reached_as_n_grows(seed, theta, alpha):
    current = 3 * torch.randn(50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for steps in (4, 40, 200):
        error = (rate(IF(theta, alpha=alpha), current, steps) - clamped_rate(current, theta)).abs().max()
        assert error <= 1.001 * alpha / steps


@settings(max_examples=30)
@given(lam=st.floats(0.5, 0.999), seed=st.integers(0, 20))
def test_eq_13_the_error_of_lif_is_its_last_membrane(lam, seed):
    """I^ - theta*r = V[N] / sum_n lam^(N-n), which tends to (1 - lam)*V[N] and not to 0."""
    current = torch.rand(50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    neuron, steps, v = LIF(lam, 1.0), 300, None
    for t in range(steps):
        _, v = neuron(current, v, t)
    total = (1 - lam**steps) / (1 - lam)
    r = rate(neuron, current, steps)
    torch.testing.assert_close(current - r, v / total, rtol=1e-9, atol=1e-9)
    assert (clamped_rate(current, 1.0) - r).abs().max() <= v.abs().max() / total + 1e-9


@pytest.mark.parametrize("neuron", [IF(0.75), IF(0.75, alpha=0.5), LIF(0.75, 0.625)])
def test_eq_16_and_17_by_hand(neuron):
    net, (x, y) = plain(neuron), batch()
    loss, grads = of_rule(rules.DSR(), net, x, y)
    lam, theta = neuron.lam, neuron.theta
    means = {"x": 0, "I1": 0, "r1": 0, "I2": 0, "r2": 0}
    weights = [lam ** (T - 1 - t) for t in range(T)]
    v1 = v2 = None
    with torch.no_grad():
        for t in range(T):
            i1 = net.layers["linear1"](x[t])
            s1, v1 = neuron(i1, v1, t)
            i2 = net.layers["linear2"](s1)
            s2, v2 = neuron(i2, v2, t)
            for name, value in zip(means, (x[t], i1, s1, i2, s2), strict=True):
                means[name] = means[name] + weights[t] / sum(weights) * value
        w2, w3, bias = net.layers["linear2"].weight, net.layers["readout"].weight, net.layers["readout"].bias
        p = torch.softmax(means["r2"] @ w3.T + bias, dim=1)
        e3 = (p - one_hot(y, K)) / N
        inside = {i: ((means[f"I{i}"] > 0) & (means[f"I{i}"] < theta)).double() / theta for i in (1, 2)}
        e2 = e3 @ w3 * inside[2]
        e1 = e2 @ w2 * inside[1]
        want = {"readout": e3.T @ means["r2"], "linear2": e2.T @ means["r1"], "linear1": e1.T @ means["x"]}
        expected = -p[torch.arange(N), y].log().mean().item()
    assert loss == pytest.approx(expected, rel=1e-12)
    for name, value in want.items():
        assert value.abs().max() > 1e-3
        torch.testing.assert_close(grads[f"layers.{name}.weight"], value, rtol=1e-10, atol=1e-12)


def weighted(values, lam):
    """sum_n lam^(T-n) x[n] / sum_n lam^(T-n)."""
    weights = [lam ** (len(values) - 1 - t) for t in range(len(values))]
    return sum(w * value for w, value in zip(weights, values, strict=True)) / sum(weights)


@pytest.mark.parametrize(("first", "second"), [(0.5, 1.0), (0.9, 0.5), (0.625, 0.625)])
def test_an_input_has_the_leak_of_the_neuron_that_it_feeds(first, second):
    """dL/dW2 = g2 x^T, x the mean of the spikes of which the mean current of the second layer is made."""
    net, (x, y) = plain(LIF(first, 0.75)), batch()
    net.layers["neuron2"] = LIF(second, 0.75)
    neurons, state, seen = ("neuron1", "neuron2"), {}, {"neuron1": [], "neuron2": []}
    hooks = [
        net.layers[name].register_forward_hook(lambda _, i, o, name=name: seen[name].append((i[0], o[0])))
        for name in neurons
    ]
    with torch.no_grad():
        for t in range(T):
            _, state = net.step(x[t], state, t)
    for hook in hooks:
        hook.remove()
    spikes1, spikes2 = ([s for _, s in seen[name]] for name in neurons)
    current1 = weighted([i for i, _ in seen["neuron1"]], first)
    current2 = weighted([i for i, _ in seen["neuron2"]], second)
    w2, w3, bias = net.layers["linear2"].weight, net.readout.weight, net.readout.bias
    r2 = weighted(spikes2, second)
    e3 = (torch.softmax(r2 @ w3.T + bias, dim=1) - one_hot(y, K)) / N
    e2 = e3 @ w3 * ((current2 > 0) & (current2 < 0.75)) / 0.75
    e1 = e2 @ w2 * ((current1 > 0) & (current1 < 0.75)) / 0.75
    want = {"linear1": e1.T @ weighted([*x], first), "linear2": e2.T @ weighted(spikes1, second), "readout": e3.T @ r2}
    _, grads = of_rule(rules.DSR(), net, x, y)
    for name, value in want.items():
        assert value.abs().max() > 1e-3
        torch.testing.assert_close(grads[f"layers.{name}.weight"], value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("train_theta", [False, True])
def test_layers_that_share_a_neuron_have_means_of_their_own(train_theta):
    """As two neurons, but for a threshold, which gets the gradient of both."""
    one, two = plain(LIF(0.75, 0.625, train_theta=train_theta)), plain(LIF(0.75, 0.625, train_theta=train_theta))
    one.layers["neuron2"] = one.layers["neuron1"]
    (loss, got), (expected, want) = (of_rule(rules.DSR(), net, *batch()) for net in (one, two))
    assert loss == expected
    if train_theta:
        want["layers.neuron1.theta_raw"] += want.pop("layers.neuron2.theta_raw")
    assert got.keys() == want.keys()
    for name, value in want.items():
        torch.testing.assert_close(got[name], value, rtol=1e-12, atol=0)


def over_time(seed=0):
    """Two convolutions over time, of 3 taps and of 2 taps 2 steps apart, and IF neurons."""
    layers = [
        {"kind": "temporal", "outputs": 7, "kernel": 3},
        {"kind": "neuron"},
        {"kind": "temporal", "outputs": 5, "kernel": 2, "dilation": 2},
        {"kind": "neuron"},
    ]
    return es.models.sequence([4], layers, K, IF(0.75), weights="float", seed=seed).double()


@pytest.mark.parametrize("seed", range(3))
def test_taps_over_time_reach_the_gradient_of_their_sum_as_n_grows(seed):
    """A constant input, eq. 15: r = clamp(sum_j W_j r_in + b, 0, theta) / theta, layer by layer, and its autograd."""
    net, (x, y) = over_time(seed), batch(seed=seed, steps=1)
    r = x[0]
    for i in (1, 2):
        block = net.layers[f"conv{i}"]
        r = clamped_rate(block.synapse(r.repeat(1, block.kernel)), 0.75)
    torch.nn.functional.cross_entropy(net.readout(r), y).backward()
    want = {name: p.grad.clone() for name, p in net.named_parameters()}
    errors = []
    for steps in (40, 2000):
        _, got = of_rule(rules.DSR(), net, x.expand(steps, *x.shape[1:]), y)
        errors.append(max((got[name] - want[name]).abs().max().item() for name in want))
    assert errors[1] < errors[0] / 20
    assert errors[1] < 5e-4 < 0.2 < max(grad.abs().max() for grad in want.values())


@pytest.mark.parametrize("neuron", [IF(0.75), LIF(0.75, 0.625)])
def test_every_tap_meets_the_mean_of_what_it_read(neuron):
    """dL/dW_j = dL/dI^ x^_j, x^_j the weighted mean of x[n - j] with zeros before the first step: in windows of any
    length. And the current of the second pass is the mean current, for it is linear in the taps.
    """
    net = es.models.sequence(
        [4], [{"kind": "temporal", "outputs": 7, "kernel": 3}, {"kind": "neuron"}], K, neuron, weights="float"
    ).double()
    x, y = batch()
    synapse, seen = net.layers["conv1"].synapse, []

    def keep(_, inputs, out):
        seen.append((inputs[0].detach(), out))
        if out.requires_grad:
            out.retain_grad()

    synapse.register_forward_hook(keep)
    rules.DSR().backward(net, x, y, torch.Generator())
    *steps, (taps, current) = seen
    weights = torch.tensor([neuron.lam ** (T - 1 - t) for t in range(T)], dtype=torch.float64)
    weights = weights / weights.sum()
    delayed = [torch.cat([torch.zeros(2 - j, *x.shape[1:]).double(), x[: T - 2 + j]]) for j in range(3)]
    means = torch.cat([torch.einsum("t,tnc->nc", weights, tap) for tap in delayed], dim=1)
    torch.testing.assert_close(taps, means, rtol=1e-12, atol=1e-12)
    mean = torch.einsum("t,tno->no", weights, torch.stack([out for _, out in steps]))
    torch.testing.assert_close(current.detach(), mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(synapse.weight.grad, current.grad.T @ means, rtol=1e-12, atol=1e-12)
    assert synapse.weight.grad.unflatten(1, (3, 4)).abs().amax((0, 2)).min() > 1e-3


def test_eq_19_a_trained_threshold_gets_the_derivative_of_the_clamp():
    """dr/dtheta = [I > theta]/theta - a/theta^2 with a = clamp(I, 0, theta): eq. 19 for spikes of height 1."""
    theta = torch.tensor([0.8], dtype=torch.float64, requires_grad=True)
    current = torch.tensor([-0.3, 0.2, 0.79, 1.7], dtype=torch.float64)
    a = current.clamp(0, 0.8)
    want = (current > 0.8) / 0.8 - a / 0.64
    for i, value in enumerate(want):
        (got,) = torch.autograd.grad(clamped_rate(current, theta)[i], theta)
        torch.testing.assert_close(got[0], value, rtol=1e-12, atol=1e-15)
    net, (x, y) = plain(IF(0.8, train_theta=True)), batch()
    _, free = of_rule(rules.DSR(), net, x, y)
    _, held = of_rule(rules.DSR(theta_decay=0.1), net, x, y)
    raw = net.layers["neuron1"].theta_raw
    slope = 2 * 0.1 * net.layers["neuron1"].theta_values() * torch.sigmoid(raw)
    name = "layers.neuron1.theta_raw"
    torch.testing.assert_close(held[name] - free[name], slope.detach(), rtol=1e-10, atol=1e-12)


def test_the_derivative_is_that_at_the_measured_current():
    """Which is not that of the second pass where a norm or a pooling is between neurons."""
    mean = _Mean(IF(1.0))
    mean.add(torch.tensor([-0.5, 0.5]), torch.tensor([0.0, 0.75]))
    current = torch.tensor([0.5, -0.5], requires_grad=True)
    out, v = mean.represent(nn.Identity(), (current,), (current, current))
    out.sum().backward()
    assert (out.tolist(), current.grad.tolist(), v is current) == ([0.0, 0.75], [0.0, 1.0], True)


def test_the_window_is_seen_once_by_norms_and_a_second_pass_leaves_no_trace():
    net, (x, y) = es.models.convnet((1, 4, 4), [3, 2], K, IF(0.5), weights="float").double(), batch((1, 4, 4))
    other = es.models.convnet((1, 4, 4), [3, 2], K, IF(0.5), weights="float").double()
    of_rule(rules.DSR(), net, x, y)
    of_rule(rules.BPTT(), other, x, y)
    for name, buffer in other.named_buffers():
        assert torch.equal(buffer, dict(net.named_buffers())[name])
    assert all(not layer._forward_hooks for layer in net.modules())


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout1d, nn.AlphaDropout])
def test_no_kind_of_dropout_drops_in_the_second_pass(kind):
    net, (x, y) = es.models.mlp(4, [8], K, IF(0.5), weights="float").double(), batch()
    dropout, seen = kind(0.5), []
    dropout.register_forward_hook(lambda layer, *_: seen.append(layer.training))
    net.layers["norm1"] = dropout
    of_rule(rules.DSR(), net, x, y)
    assert (seen, dropout.training) == ([True] * T + [False], True)


def test_memory_does_not_grow_with_the_steps():
    net = plain(IF(0.5))

    def saved_bytes(steps):
        total = 0

        def pack(tensor):
            nonlocal total
            total += tensor.numel() * tensor.element_size()
            return tensor

        x, y = batch(steps=steps)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            rules.DSR().backward(net, x, y, torch.Generator())
        return total

    assert saved_bytes(2) == saved_bytes(20) > 0


def test_dsr_learns_digits():
    data = es.data.digits()
    net = es.models.mlp(64, [32], 10, IF(1.0, alpha=0.5, train_theta=True), weights="float")
    es.fit(net, data, rules.DSR(), epochs=4, lr=1e-2, steps=8, progress=False)
    assert es.evaluate(net, data, steps=8).accuracy > 0.9


def test_what_has_no_representation_is_refused():
    x, y = batch()
    with pytest.raises(TrainingError, match=r"layers\.neuron1: expected LIF or IF neurons, .*, got EMPF; use sltt"):
        rules.DSR().backward(es.models.mlp(4, [5], K, es.EMPF()).double(), x, y, torch.Generator())
    with pytest.raises(TrainingError, match=r"layers\.recurrent1: expected a feedforward network, got Feedback, "):
        rules.DSR().backward(es.models.recurrent(4, 5, K, IF(1.0)).double(), x, y, torch.Generator())
    with pytest.raises(ConfigError, match="theta_decay >= 0"):
        rules.DSR(theta_decay=-1)


class Twice(Network):
    """Hears its first neurons twice, which nobody sees from outside."""

    def step(self, x, state, t):
        x, _ = self.layers["neuron1"](x, None, t)
        return super().step(x, state, t)


def test_a_neuron_that_runs_unseen_is_refused():
    net = Twice({"neuron1": LIF(0.5), "linear1": nn.Linear(4, 4), "readout": Readout(4, K)}, {}, (4,), K).double()
    with pytest.raises(
        TrainingError, match=rf"^DSR: layers\.neuron1: .* once a step .*, got {2 * T} runs in {T} steps"
    ):
        of_rule(rules.DSR(), net, *batch())
