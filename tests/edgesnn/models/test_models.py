"""Networks: names and shapes of layers, seeds, rebuilding, and layer by layer = step by step."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import edgesnn as es
from edgesnn.errors import ConfigError
from edgesnn.layers import BinaryConv2d, BinaryLinear
from edgesnn.models import Network

NEURONS = [es.EMPF(), es.EMPF(steps=2), es.EMPF(parallel=True), es.LIF()]


def randomized(net: Network) -> Network:
    """Norms with statistics that are not those of a fresh layer, evaluation mode, float64."""
    generator = torch.Generator().manual_seed(1)
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) - 0.5)
        if name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.1)
    return net.double().eval()


def test_mlp_layers():
    net = es.models.mlp(96, [128, 64], 7)
    names = ["linear1", "norm1", "neuron1", "linear2", "norm2", "neuron2", "readout"]
    assert list(net.layers) == names
    assert type(net.layers["linear1"]) is torch.nn.Linear
    assert isinstance(net.layers["linear2"], BinaryLinear)
    assert net.layers["linear2"].bias is None
    assert net.layers["linear2"].weight.shape == (64, 128)
    assert (net.input_shape, net.classes) == ((96,), 7)


def test_convnet_layers():
    net = es.models.convnet((1, 28, 28), [4, 8, 8], 10, es.LIF())
    block = ["conv{}", "norm{}", "neuron{}", "pool{}"]
    assert list(net.layers) == [name.format(i) for i in (1, 2, 3) for name in block] + ["flatten", "readout"]
    assert type(net.layers["conv1"]) is torch.nn.Conv2d
    assert isinstance(net.layers["conv2"], BinaryConv2d)
    logits, state = net.step(torch.rand(2, 1, 28, 28), {}, 0)
    assert logits.shape == (2, 10)
    assert {name: tuple(v.shape) for name, v in state.items()} == {
        "neuron1": (2, 4, 28, 28),
        "neuron2": (2, 8, 14, 14),
        "neuron3": (2, 8, 7, 7),
    }


def test_float_weights_use_no_binary_layer():
    net = es.models.mlp(8, [8, 8], 3, weights="float")
    assert not any(isinstance(layer, BinaryLinear) for layer in net.layers.values())


def test_each_layer_has_its_own_neuron():
    prototype = es.EMPF()
    net = es.models.mlp(8, [8, 8], 3, prototype)
    ids = {id(net.layers["neuron1"]), id(net.layers["neuron2"]), id(prototype)}
    assert len(ids) == 3


def test_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a, b, c = (es.models.mlp(8, [8], 3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a.layers["linear1"].weight, b.layers["linear1"].weight)
    assert not torch.equal(a.layers["linear1"].weight, c.layers["linear1"].weight)


@pytest.mark.parametrize("neuron", NEURONS)
def test_config_is_json_and_rebuilds_the_network(neuron):
    for net in (
        es.models.mlp(8, [8, 5], 3, neuron, leak=0.9, seed=3),
        es.models.convnet((2, 9, 8), [3, 4], 5, neuron, weights="float"),
    ):
        again = es.models.build(json.loads(json.dumps(net.config)))
        assert again.config == net.config
        assert again.readout.leak == net.readout.leak
        states = zip(net.state_dict().items(), again.state_dict().items(), strict=True)
        assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in states)


@pytest.mark.parametrize("neuron", NEURONS)
@settings(max_examples=10, deadline=None)
@given(steps=st.integers(1, 5), batch=st.integers(1, 3), seed=st.integers(0, 99))
def test_forward_equals_steps_in_evaluation_mode(neuron, steps, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    for net in (es.models.mlp(6, [5, 4], 3, neuron), es.models.convnet((1, 4, 4), [3, 2], 3, neuron)):
        randomized(net)
        x = 2 * torch.randn(steps, batch, *net.input_shape, generator=generator, dtype=torch.float64)
        state, logits = {}, []
        for t in range(steps):
            out, state = net.step(x[t], state, t)
            logits.append(out)
        torch.testing.assert_close(net(x), torch.stack(logits))


def test_membrane_is_carried():
    net = randomized(es.models.mlp(6, [5], 3, es.LIF(lam=0.9)))
    x = torch.full((1, 6), 0.4, dtype=torch.float64)
    first, state = net.step(x, {}, 0)
    assert not torch.equal(net.step(x, state, 1)[1]["neuron1"], state["neuron1"])
    assert torch.equal(net.step(x, {}, 1)[0], first)


def test_images_may_come_flat_or_in_shape():
    net = randomized(es.models.mlp(16, [5], 3))
    x = torch.rand(2, 3, 1, 4, 4, dtype=torch.float64)
    assert torch.equal(net(x), net(x.flatten(2)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: es.models.mlp(8, [], 3), "at least one size"),
        (lambda: es.models.mlp(8, [0], 3), "all >= 1"),
        (lambda: es.models.mlp(8, [4], 1), "at least 2"),
        (lambda: es.models.mlp(8, [4], 3, weights="ternary"), "ternary"),
        (lambda: es.models.convnet((28, 28), [4], 3), "channels, height, width"),
        (lambda: es.models.convnet((1, 8, 8), [4] * 4, 3), "16 pixels"),
        (lambda: es.models.build({"model": "transformer"}), "transformer"),
        (lambda: es.models.build({"model": "mlp", "inputs": 8, "hidden": [4], "classes": 3, "depth": 2}), "depth"),
        (
            lambda: es.models.mlp(8, [4], 3).step(torch.rand(2, 9), {}, 0),
            r"expected samples of shape \(8,\), got \(9,\)",
        ),
    ],
)
def test_bad_arguments_are_one_line(make, words):
    with pytest.raises(ConfigError, match=words) as error:
        make()
    assert "\n" not in str(error.value)
