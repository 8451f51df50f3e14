"""Steps without gradient give the membranes of `Network.step`, whatever they save."""

import pytest
import torch

import edgesnn as es
from edgesnn.models import quick
from edgesnn.models.quick import QuickSteps
from edgesnn.quant.layers import QuantEMPF, set_range
from edgesnn.quant.prepare import prepare
from edgesnn.training.precision import multiplied_in

T, N = 4, 6


def conv(neuron, weights="binary"):
    return es.models.convnet((2, 12, 12), [8, 8], 3, neuron, weights, seed=1)


def mlp(neuron, weights="binary"):
    return es.models.mlp(288, [16, 16], 3, neuron, weights, seed=1)


def inputs(seed=0):
    return torch.rand(T, N, 2, 12, 12, generator=torch.Generator().manual_seed(seed)) * 4


def both(net, x):
    """Membranes after T steps of each way, from equal networks."""
    states = []
    for step in (lambda x, state, t: net.step(x, state, t)[1], QuickSteps(net).step):
        statistics = {name: tensor.clone() for name, tensor in net.named_buffers()}
        state = {}
        with torch.no_grad():
            for t in range(T):
                state = step(x[t], state, t)
        states.append((state, {name: tensor.clone() for name, tensor in net.named_buffers()}))
        for name, tensor in net.named_buffers():
            tensor.copy_(statistics[name])
    return states


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("build", [conv, mlp])
@pytest.mark.parametrize(
    "neuron",
    [es.EMPF(), es.EMPF(steps=2), es.EMPF(parallel=True), es.LIF(lam=0.7), es.IF(0.7, alpha=0.5, train_theta=True)],
)
def test_float_networks_are_equal_bit_for_bit(monkeypatch, build, neuron, training):
    monkeypatch.setattr(quick, "int8_convolutions", lambda x: False)
    for weights in ("binary", "float"):
        (slow, statistics), (fast, quick_statistics) = both(build(neuron, weights).train(training), inputs())
        assert slow.keys() == fast.keys()
        assert all(torch.equal(slow[name], fast[name]) for name in slow)
        assert all(torch.equal(statistics[name], quick_statistics[name]) for name in statistics)


@pytest.mark.parametrize("neuron", [es.EMPF(), es.LIF(), es.IF()])
def test_own_neurons_take_the_fast_way(monkeypatch, neuron):
    net = mlp(neuron)
    monkeypatch.setattr(net, "step", None)
    assert QuickSteps(net).step(inputs()[0], {}, 0).keys() == {"neuron1", "neuron2"}


@pytest.mark.parametrize("neuron", [es.LIF(theta=0.3), es.IF(0.3), es.neurons.MultiLIF(theta=0.3)])
def test_currents_of_neurons_with_a_threshold_are_not_rounded(monkeypatch, neuron):
    """Also where mixed precision is on."""
    monkeypatch.setattr(quick, "int8_convolutions", lambda x: False)
    net, x = mlp(neuron).eval(), inputs()
    steps, state, expected = QuickSteps(net), {}, {}
    with torch.no_grad():
        for t in range(T):
            expected = net.step(x[t], expected, t)[1]
            with torch.autocast("cpu", torch.bfloat16):
                state = steps.step(x[t], state, t)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.skipif(not quick.int8_convolutions(torch.zeros(1)), reason="no int8 convolutions here")
def test_binary_spikes_through_int8_convolutions(monkeypatch):
    used = []
    original = quick._int8_conv2d
    monkeypatch.setattr(quick, "_int8_conv2d", lambda *args: used.append(1) or original(*args))
    (slow, _), (fast, _) = both(conv(es.LIF()).eval(), inputs())
    assert len(used) == T
    for name in slow:
        torch.testing.assert_close(fast[name], slow[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("bits", "parallel"), [(4, False), (8, False), (4, True)])
def test_quantized_networks(bits, parallel):
    net = prepare(conv(es.EMPF(parallel=parallel)), weights=1, spikes=bits)
    for name, layer in net.layers.items():
        if name == "input" or isinstance(layer, QuantEMPF):
            set_range(layer, 4.0, name)
    (slow, _), (fast, _) = both(net.eval(), inputs())
    assert slow.keys() == fast.keys()
    for name in slow:  # a current at the edge of two spike values may fall on either side
        assert ((fast[name] - slow[name]).abs() < 1e-4).float().mean() > 0.999


def test_parameters_that_change_within_a_window_are_seen():
    """Weights and biases, of an image that stands still too; also changes that torch does not count."""
    net, x = conv(es.LIF()).eval(), inputs()
    steps = QuickSteps(net)
    steps.step(x[0], {}, 0)
    for parameter in net.parameters():
        parameter.data.mul_(-1.0)
    steps.forget()
    expected = QuickSteps(net).step(x[0], {}, 0)
    changed = steps.step(x[0], {}, 0)
    assert all(torch.equal(expected[name], changed[name]) for name in expected)


@pytest.mark.parametrize("neuron", [es.EMPF(), es.LIF(theta=0.5)])
def test_what_fires_before_the_first_synapse_moves_though_the_image_stands_still(neuron):
    layers = [{"kind": "neuron"}, {"kind": "linear", "outputs": 16}, {"kind": "neuron"}]
    net = es.models.sequence((6,), layers, 3, neuron=neuron).eval()
    image = torch.rand(N, 6, generator=torch.Generator().manual_seed(0))
    (slow, _), (fast, _) = both(net, image.expand(T, N, 6))
    assert slow.keys() == fast.keys()
    assert all(torch.equal(slow[name], fast[name]) for name in slow)


@pytest.mark.parametrize(
    "build",
    [lambda: conv(es.EMPF()), lambda: prepare(conv(es.EMPF()), weights=1, spikes=4)],
    ids=["float", "quantized"],
)
def test_an_image_that_stands_still_passes_the_first_synapse_once(monkeypatch, build):
    ran = []
    multiplied = QuickSteps._multiplied
    monkeypatch.setattr(
        QuickSteps, "_multiplied", lambda self, name, *rest: ran.append(name) or multiplied(self, name, *rest)
    )
    image, net = inputs()[0], build()
    steps, state = QuickSteps(net.eval()), {}
    for t in range(T):
        state = steps.step(image, state, t)
    assert ran.count("conv1") == 1
    assert ran.count("conv2") == T


def test_mixed_precision_takes_the_fast_way(monkeypatch):
    net = mlp(es.EMPF())
    with multiplied_in(net, "bfloat16"):
        quick_steps = QuickSteps(net)
        monkeypatch.setattr(net, "step", None)
        state = quick_steps.step(inputs()[0], {}, 0)
    assert all(v.dtype == torch.float32 for v in state.values())


def test_hooks_run_at_every_step():
    net = mlp(es.EMPF()).eval()
    net.layers["linear2"].register_forward_hook(lambda layer, x, y: 0.3 * y)
    (slow, _), (fast, _) = both(net, inputs())
    assert all(torch.equal(slow[name], fast[name]) for name in slow)


def test_a_subclass_of_a_layer_that_keeps_integers_need_not_keep_them():
    class Halved(torch.nn.Identity):
        def forward(self, x):
            return x / 2

    layers = {}
    for name, layer in conv(es.LIF()).layers.items():
        layers[name] = layer
        if name == "neuron1":
            layers["halved"] = Halved()
    net = es.models.Network(layers, {}, (2, 12, 12), 3)
    (slow, _), (fast, _) = both(net.eval(), inputs())
    for name in slow:
        torch.testing.assert_close(fast[name], slow[name], rtol=1e-5, atol=1e-5)


def test_networks_in_bfloat16():
    (slow, _), (fast, _) = both(conv(es.LIF()).bfloat16().eval(), inputs().bfloat16())
    assert all(torch.equal(slow[name], fast[name]) for name in slow)


def test_unknown_layers_are_stepped_by_the_network():
    class Twice(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    net = mlp(es.EMPF()).eval()
    layers = dict(net.layers.items())
    net = es.models.Network({"twice": Twice(), **layers}, {}, (288,), 3)
    (slow, _), (fast, _) = both(net, inputs())
    assert all(torch.equal(slow[name], fast[name]) for name in slow)


def test_an_image_that_stands_still_is_evaluated_as_one_that_is_repeated():
    net, image = conv(es.EMPF()).eval(), inputs()[0]
    seen = []
    net.layers["conv1"].register_forward_hook(lambda layer, x, y: seen.append(len(y)))
    with torch.no_grad():
        still, repeated = net(image.expand(T, *image.shape)), net(image.repeat(T, 1, 1, 1, 1))
    assert seen == [N, T * N]
    torch.testing.assert_close(still, repeated, rtol=1e-5, atol=1e-6)
    net.train()
    assert net(image.expand(T, *image.shape)).shape == (T, N, 3)
    assert seen[-1] == T * N  # a norm in training has the batch that it would have of a moving image
