"""OTTT in float64: against its equations worked out by hand, against autograd, and against SLTT where they meet."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_gradients import K, N, T, assert_same, batch, of_rule
from torch import nn
from torch.nn.functional import cross_entropy, linear

import edgesnn as es
from edgesnn import rules
from edgesnn.errors import ConfigError, TrainingError
from edgesnn.layers import Readout
from edgesnn.models import Network, Residual
from edgesnn.training.precision import multiplied_in


def stepped(net, x, state, t, *names):
    """net.step, and by layer name the input and the output of those layers."""
    seen, hooks = {}, []
    for name in names:

        def keep(module, inputs, out, name=name):
            seen[name] = (inputs[0].detach(), out)

        hooks.append(net.layers[name].register_forward_hook(keep))
    logits, state = net.step(x, state, t)
    for hook in hooks:
        hook.remove()
    return logits, state, seen


def of_sums(net, x, y, lam):
    """sum_t g_u[t] a^[t]^T of a plain chain, g_u from autograd of each step alone, a^[t] = sum_s lam^(t-s) x[s]."""
    net.zero_grad(set_to_none=True)
    synapses = {name: layer for name, layer in net.layers.items() if isinstance(layer, nn.Linear | nn.Conv2d)}
    inputs = {name: [] for name in synapses}
    grads = {f"layers.{name}.weight": 0 for name in synapses}
    state, total = {}, 0.0
    for t in range(len(x)):
        logits, state, seen = stepped(net, x[t], state, t, *synapses)
        loss = cross_entropy(logits, y) / len(x)
        g_u = torch.autograd.grad(loss, [out for _, out in seen.values()], retain_graph=True)
        loss.backward()
        state = {name: v.detach() for name, v in state.items()}
        total += loss.item()
        for (name, (s, _)), g in zip(seen.items(), g_u, strict=True):
            layer = synapses[name]
            inputs[name].append(s)
            trace = sum(lam ** (t - i) * s for i, s in enumerate(inputs[name]))
            if isinstance(layer, nn.Linear):
                grads[f"layers.{name}.weight"] += g.T @ trace
            else:
                grads[f"layers.{name}.weight"] += nn.grad.conv2d_weight(trace, layer.weight.shape, g, padding=1)
    others = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    return total, others | grads


@pytest.mark.parametrize("lam", [0.25, 0.75])
def test_the_trace_is_the_closed_sum(lam):
    net = es.models.mlp(4, [8, 7], K, es.LIF(lam, 0.6), weights="float").double()
    x, y = batch()
    assert_same(of_rule(rules.OTTT(), net, x, y), of_sums(net, x, y, lam))


def test_convolutions_are_traced():
    net = es.models.convnet((2, 4, 4), [3, 2], K, es.LIF(0.75, 0.6), weights="float").double()
    x, y = batch((2, 4, 4))
    assert_same(of_rule(rules.OTTT(), net, x, y), of_sums(net, x, y, 0.75))


def along(axes):
    """Convolutions along one axis: of one dimension, or of two with one row."""
    kind, one = (nn.Conv1d, ()) if axes == 1 else (nn.Conv2d, (1,))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = {
            "conv1": kind(2, 4, (*one, 3), padding=(*(0 for _ in one), 1)),
            "neuron1": es.LIF(0.75, 0.3),
            "conv2": kind(4, 6, (*one, 3), (*one, 2), dilation=(*one, 2), groups=2),
            "neuron2": es.LIF(0.75, 0.3),
            "flatten": nn.Flatten(1),
            "readout": Readout(12, K),
        }
    return Network(layers, {}, (2, *one, 8), K).double()


def test_convolutions_of_one_dimension_are_traced():
    """As those of two dimensions with one row, which have the same random weights; and that is not SLTT."""
    x, y = batch((2, 8))
    one, two = (of_rule(rules.OTTT(), along(axes), x, y) for axes in (1, 2))
    assert_same(one, (two[0], {name: two[1][name].reshape(grad.shape) for name, grad in one[1].items()}))
    _, spatial = of_rule(rules.SLTT(), along(1), x, y)
    for name in ("layers.conv1.weight", "layers.conv2.weight"):
        assert not torch.allclose(one[1][name], spatial[name])


def test_a_score_of_channels_is_no_synapse():
    """It multiplies a current: what it hears gets the gradient of the time step, as a norm does."""
    net, (x, y) = es.models.resnet18((1, 4, 4), K, es.LIF(0.0, 0.3), width=2, attention=3).double(), batch((1, 4, 4))
    assert_same(of_rule(rules.OTTT(), net, x, y), of_rule(rules.SLTT(), net, x, y))
    scores = {module.conv for module in net.modules() if isinstance(module, es.layers.SECA)}
    assert scores
    assert scores.isdisjoint(rules.traces.Traces(net).targets)


@pytest.mark.parametrize("kind", ["convolution", "linear"])
def test_in_mixed_precision_it_is_near_float32(kind):
    """The gradient comes in bfloat16, traces and weights are float32."""
    net = (
        es.models.convnet((1, 4, 4), [3, 2], K, es.EMPF(theta=0.1), norm="none", weights="float")
        if kind == "convolution"
        else es.models.mlp(16, [8, 7], K, es.EMPF(theta=0.1), norm="none", weights="float")
    )
    x, y = batch((1, 4, 4))
    _, want = of_rule(rules.OTTT(), net, x.float(), y)
    with multiplied_in(net, "bfloat16"):
        _, got = of_rule(rules.OTTT(), net, x.float(), y)
    for name, grad in want.items():
        assert got[name].dtype == torch.float32
        assert torch.cosine_similarity(got[name].flatten(), grad.flatten(), 0) > 0.98, name


def test_is_autograd_through_the_membranes_own_leak():
    """u[t] = lam*u[t-1] + W s[t] - reset, as one graph in which nothing but W may look back in time."""
    lam, theta, width = 0.75, 0.6, 5
    net = es.models.mlp(4, [width, width], K, es.LIF(lam, theta), weights="float").double()
    for i in (1, 2):
        net.layers[f"norm{i}"] = nn.Identity()
    x, y = batch()
    got = of_rule(rules.OTTT(), net, x, y)

    net.zero_grad(set_to_none=True)
    names = ("linear1", "linear2", "readout")
    past = [torch.zeros(()).double()] * 3  # sum of lam^(t-s) W s_in[s]: zero in value, W's way back in time
    v = [torch.zeros(N, width).double()] * 2
    total = 0.0
    for t in range(T):
        s = x[t]
        for i, name in enumerate(names):
            layer = net.layers[name]
            u = layer(s) + lam * (past[i] - past[i].detach())
            past[i] = lam * past[i] + linear(s.detach(), layer.weight)
            if i < 2:
                m = lam * v[i] + u
                s, _ = net.layers[f"neuron{i + 1}"](m, None, t)
                v[i] = (m - theta * s).detach()
        total = total + cross_entropy(u, y) / T
    total.backward()
    want = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    assert_same(got, (total.item(), want))


@settings(max_examples=30)
@given(
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    steps=st.integers(1, 6),
    weights=st.sampled_from(["binary", "float"]),
    neuron=st.sampled_from([es.LIF(0.0, 0.6), es.EMPF(0.0, 0.3), es.EMPF(parallel=True)]),
    seed=st.integers(0, 99),
)
def test_without_a_leak_it_is_sltt(widths, steps, weights, neuron, seed):
    net = es.models.mlp(4, widths, K, neuron, weights=weights, seed=seed).double()
    x, y = batch(seed=seed, steps=steps)
    assert_same(of_rule(rules.OTTT(), net, x, y), of_rule(rules.SLTT(), net, x, y))


def test_one_step_is_sltt_and_more_are_not():
    net, (x, y) = es.models.mlp(4, [8], K, es.LIF(0.75, 0.6)).double(), batch()
    assert_same(of_rule(rules.OTTT(), net, x[:1], y), of_rule(rules.SLTT(), net, x[:1], y))
    a, b = (of_rule(rule, net, x, y)[1]["layers.linear1.weight"] for rule in (rules.OTTT(), rules.SLTT()))
    assert not torch.allclose(a, b)


def test_leaks_that_differ_by_step_are_followed():
    """du[2]/dW = lam(2)*lam(1)*x[0] + lam(2)*x[1] + x[2]."""
    neuron = es.EMPF(steps=3)
    neuron.lam_raw.data = torch.logit(torch.tensor([0.5, 0.9, 0.2], dtype=torch.float64))
    net = es.models.mlp(4, [5], K, neuron, weights="float").double()
    net.layers["norm1"] = nn.Identity()
    x, _ = batch(steps=3)
    lam = torch.sigmoid(neuron.lam_raw.detach())
    traces = rules.traces.Traces(net)
    state = {}
    for t in range(3):
        _, state = traces.step(x[t], state, t)
    want = lam[2] * lam[1] * x[0] + lam[2] * x[1] + x[2]
    torch.testing.assert_close(traces.traces[net.layers["linear1"]], want, rtol=1e-12, atol=0)


class Recurrent(Network):
    """linear1, recurrent (from the spikes of the step before), neuron1, readout."""

    def __init__(self):
        layers = {
            "linear1": nn.Linear(4, 5),
            "recurrent": nn.Linear(5, 5, bias=False),
            "neuron1": es.LIF(0.625, 0.7),
            "readout": Readout(5, K),
        }
        super().__init__(layers, {}, (4,), K)

    def step(self, x, state, t):
        current = self.layers["linear1"](x)
        if "last" in state:
            current = current + self.layers["recurrent"](state["last"])
        s, v = self.layers["neuron1"](current, state.get("v"), t)
        return self.layers["readout"](s), {"v": v, "last": s}


def test_a_recurrent_synapse_is_traced_from_the_step_it_first_runs():
    torch.manual_seed(0)
    net = Recurrent().double()
    x, y = batch()
    _, grads = of_rule(rules.OTTT(), net, x, y)
    state, trace, want = {}, torch.zeros(N, 5).double(), 0
    for t in range(T):
        trace = 0.625 * trace + state.get("last", torch.zeros(N, 5).double())
        logits, state, seen = stepped(net, x[t], state, t, "linear1")
        (g,) = torch.autograd.grad(cross_entropy(logits, y) / T, seen["linear1"][1])
        want = want + g.T @ trace
        state = {name: v.detach() for name, v in state.items()}
    assert want.abs().max() > 1e-3
    torch.testing.assert_close(grads["layers.recurrent.weight"], want, rtol=1e-10, atol=1e-12)


def sgd(net, lr=0.1):
    optimizer = torch.optim.SGD(net.parameters(), lr)

    def update(loss):
        optimizer.step()
        optimizer.zero_grad()

    return update


def test_online_updates_after_every_step_with_the_gradient_of_that_step():
    nets = [es.models.mlp(4, [8, 7], K, es.LIF(0.75, 0.6)).double() for _ in range(2)]
    before = nets[0].layers["linear2"].weight.clone()  # a binary synapse: its weights are computed
    x, y = batch()
    rules.OTTT("online").learn(nets[0], x, y, torch.Generator(), sgd(nets[0]))
    update, count = sgd(nets[1]), 0
    for loss in rules.OTTT("online").parts(nets[1], x, y, torch.Generator()):
        update(loss)
        count += 1
    assert count == T
    assert not torch.equal(before, nets[0].layers["linear2"].weight)
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_accumulate_updates_once():
    net, (x, y) = es.models.mlp(4, [8], K, es.LIF(0.75, 0.6)).double(), batch()
    losses = []
    total = rules.OTTT().learn(net, x, y, torch.Generator(), losses.append)
    assert losses == [total]


def test_backward_is_the_same_for_both_updates():
    net, (x, y) = es.models.mlp(4, [8], K, es.LIF(0.75, 0.6)).double(), batch()
    assert_same(of_rule(rules.OTTT("online"), net, x, y), of_rule(rules.OTTT(), net, x, y))


def test_the_loss_mixes_in_the_squared_error():
    net, (x, y) = es.models.mlp(4, [8], K, es.LIF(0.75, 0.6)).double(), batch(steps=1)
    logits = net.step(x[0], {}, 0)[0].detach()
    target = torch.eye(K, dtype=torch.float64)[y]
    want = 0.7 * cross_entropy(logits, y) + 0.3 * ((logits - target) ** 2).mean()
    for rule in (rules.OTTT(mse=0.3), rules.BPTT(mse=0.3), rules.SLTT(mse=0.3)):
        assert of_rule(rule, net, x, y)[0] == pytest.approx(want.item(), rel=1e-12)


def test_config_rebuilds_the_rule():
    for rule in (rules.OTTT(), rules.OTTT("online", mse=0.05)):
        assert rules.build(rule.config()).config() == rule.config()


def test_bad_arguments_are_one_line():
    with pytest.raises(ConfigError, match="one of accumulate, online, got 'often'"):
        rules.OTTT("often")
    with pytest.raises(ConfigError, match=r"mse in \[0, 1\]"):
        rules.OTTT(mse=2)


def test_a_leak_by_channel_is_refused(monkeypatch):
    net, (x, y) = es.models.mlp(4, [8], K, es.LIF(0.75, 0.6)).double(), batch()
    monkeypatch.setattr(net.layers["neuron1"], "lam_values", lambda: torch.full((1, 8), 0.5))
    with pytest.raises(TrainingError, match=r"layers\.neuron1: expected one leak for all channels of a layer, got 8"):
        of_rule(rules.OTTT(), net, x, y)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_convolution_with_named_padding_is_refused(padding):
    net, (x, y) = es.models.convnet((2, 4, 4), [3], K, es.LIF(0.75, 0.6)).double(), batch((2, 4, 4))
    net.layers["conv1"].padding = padding
    with pytest.raises(TrainingError, match=rf"^OTTT: layers\.conv1: expected a padding in numbers, got '{padding}'"):
        of_rule(rules.OTTT(), net, x, y)


class Multiplied(nn.Linear):
    """A synapse that torch's functions know nothing of."""

    def forward(self, x):
        return x @ self.weight.T + self.bias


def test_a_synapse_that_cannot_be_traced_is_refused():
    net, (x, y) = es.models.mlp(4, [8, 7], K, es.LIF(0.75, 0.6)).double(), batch()
    net.layers["linear2"] = Multiplied(8, 7).double()
    with pytest.raises(TrainingError, match=r"layers\.linear2: expected a synapse made of torch's linear, conv1d, "):
        of_rule(rules.OTTT(), net, x, y)


def test_a_synapse_that_runs_twice_a_step_is_refused():
    net, (x, y) = Recurrent().double(), batch()
    net.layers["recurrent"] = nn.Linear(5, 5).double()
    net.layers["linear1"] = nn.Sequential(nn.Linear(4, 5), net.layers["recurrent"]).double()
    with pytest.raises(TrainingError, match="expected a synapse that runs once a step"):
        of_rule(rules.OTTT(), net, x, y)


class Adapted(nn.Linear):
    """A synapse with synapses inside: W + B A, with the product of its own before or after theirs."""

    def __init__(self, inputs, outputs, last):
        super().__init__(inputs, outputs)
        self.a, self.b = nn.Linear(inputs, 2, bias=False), nn.Linear(2, outputs, bias=False)
        self.last = last

    def forward(self, x):
        if self.last:
            return self.b(self.a(x)) + linear(x, self.weight, self.bias)
        return linear(x, self.weight, self.bias) + self.b(self.a(x))


@pytest.mark.parametrize("last", [False, True])
def test_synapses_inside_of_a_synapse_are_traced_and_so_is_it(last):
    """As the same synapses side by side: the branches of a sum, which its parts feed."""
    torch.manual_seed(0)
    synapse = Adapted(4, 6, last)
    plain = nn.Linear(4, 6)
    plain.load_state_dict(synapse.state_dict(), strict=False)
    parts = Residual({"plain": plain}, {"a": synapse.a, "b": synapse.b})
    neuron, readout = es.LIF(0.75, 0.3), Readout(6, K)
    x, y = batch()
    one, two = (
        of_rule(
            rules.OTTT(), Network({"first": first, "neuron": neuron, "readout": readout}, {}, (4,), K).double(), x, y
        )
        for first in (synapse, parts)
    )
    renamed = {"branch.layers.plain.": "", "shortcut.layers.": ""}
    grads = two[1]
    for long, short in renamed.items():
        grads = {name.replace(long, short): grad for name, grad in grads.items()}
    assert_same(one, (two[0], grads))


class Doubled(nn.Linear):
    def forward(self, x):
        return linear(x, self.weight) + linear(2 * x, self.weight, self.bias)


def test_a_synapse_with_two_products_is_refused():
    net, (x, y) = es.models.mlp(4, [8, 7], K, es.LIF(0.75, 0.6)).double(), batch()
    net.layers["linear2"] = Doubled(8, 7).double()
    with pytest.raises(TrainingError, match=r"layers\.linear2: expected a synapse that runs once a step, with one pro"):
        of_rule(rules.OTTT(), net, x, y)
