"""Chains that are described layer by layer, and descriptions that are not usable."""

import pytest
import torch

import edgesnn as es
from edgesnn.errors import ConfigError
from edgesnn.layers import is_binary

CONV = {"kind": "conv", "outputs": 4, "kernel": 3}
LINEAR = {"kind": "linear", "outputs": 5}


def make(*layers, shape=(2, 9, 8), **options):
    return es.models.sequence(shape, layers, 3, **options)


def test_layers_are_named_and_shaped_one_after_the_other():
    net = make(
        CONV | {"stride": [2, 1], "padding": [1, 0], "dilation": 1, "groups": 2},
        {"kind": "lif", "lam": 0.25, "reset": "zero"},
        {"kind": "max_pool", "kernel": 2, "stride": 1},
        {"kind": "flatten"},
        LINEAR | {"bias": False},
        {"kind": "if", "theta": 2.0},
        leak=0.5,
    )
    assert list(net.layers) == ["conv1", "neuron1", "pool1", "flatten", "linear2", "neuron2", "readout"]
    assert net.layers["linear2"].in_features == 4 * 4 * 5
    assert net.layers["linear2"].bias is None
    assert (net.layers["neuron1"].lam, net.layers["neuron1"].reset, net.layers["neuron2"].theta) == (0.25, "zero", 2.0)
    assert not is_binary(net.layers["conv1"])
    assert is_binary(net.layers["linear2"])
    assert net(torch.randn(3, 2, 2, 9, 8)).shape == (3, 2, 3)


def test_neurons_by_channel_get_their_channels():
    net = make(CONV, {"kind": "neuron"}, {"kind": "flatten"}, neuron=es.EMPF(per_channel=True))
    assert net.layers["neuron1"].theta_values().shape == (1, 4)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"kind": "lstm"}], r"^sequence layer 0: neuron kind: expected one of .* got 'lstm'; or a kind of"),
        ([{}], r"^sequence layer 0: neuron kind: expected one of .* got None"),
        ([LINEAR], r"^sequence layer 0, 'linear': expected one axis, got values of shape \(2, 9, 8\); put a flatten"),
        (
            [{"kind": "flatten"}, CONV],
            r"^sequence layer 1, 'conv': expected \(channels, height, width\), got .* \(144,\)",
        ),
        ([CONV | {"outputs": "x"}], r"^sequence layer 0, 'conv': "),
        ([CONV | {"width": 3}], r"^sequence layer 0, 'conv': .*'width'"),
        ([CONV | {"kernel": [3, 3, 3]}], r"^sequence layer 0, 'conv': expected a whole number or a list of two, got"),
        (
            [CONV | {"kernel": 30}],
            r"^sequence layer 0, 'conv': expected a window that fits values of shape \(2, 9, 8\)",
        ),
        (
            [CONV, {"kind": "neuron"}, {"kind": "neuron"}],
            r"^sequence layer 2: expected a synapse before another neuron1",
        ),
        ([CONV | {"groups": 3}], r"^sequence layer 0, 'conv': in_channels must be divisible by groups; see"),
        (
            [CONV | {"outputs": True}],
            r"^sequence layer 0, 'conv': expected outputs >= 1, got True; give a whole number",
        ),
        (
            [CONV | {"bias": "false"}],
            r"^sequence layer 0, 'conv': bias: expected true or false, got 'false'; see edgesnn",
        ),
        ([CONV | {"groups": 1.5}], r"^sequence layer 0, 'conv': groups: expected a whole number, got 1.5"),
        ([CONV | {"stride": True}], r"^sequence layer 0, 'conv': expected a whole number or a list of two, got True"),
        ([CONV | {"kernel": [3, 2.5]}], r"^sequence layer 0, 'conv': expected a whole number or a list of two, got"),
        ([{"kind": "max_pool"}], r"^sequence layer 0, 'max_pool': expected an argument 'kernel', got none; see"),
        ([{"kind": "average_pool", "kernel": "2"}], r"^sequence layer 0, 'average_pool': expected a whole number or a"),
        ([{"kind": "flatten", "end_dim": 2}], r"^sequence layer 0, 'flatten': .*'end_dim'"),
        ([{"kind": "neuron", "lam": 0.5}], r"^sequence layer 0, 'neuron': expected no argument, got 'lam'"),
        (
            [{"kind": "flatten"}, {"kind": "temporal", "outputs": 4, "kernel": True}],
            r"^sequence layer 1, 'temporal': kernel: expected a whole number, got True",
        ),
        ([{"kind": "lif", "strict": "no"}], r"^sequence layer 0: neuron 'lif': strict: expected true or false"),
        ([CONV | {"outputs": 2.5}], r"^sequence layer 0, 'conv': expected outputs >= 1, got 2.5; give a whole number"),
        (
            [{"kind": "flatten"}, LINEAR | {"outputs": -1}],
            r"^sequence layer 1, 'linear': expected outputs .*, got -1",
        ),
        ([{"kind": ["linear"]}], r"^sequence layer 0: neuron kind: expected one of .* got \['linear'\]"),
        (["linear"], r"^sequence layers: expected a list of descriptions such as .*, got \['linear'\]"),
        ([{"kind": "lif", "lam": 2}], r"^sequence layer 0: LIF: expected a leak"),
        ([], r"^sequence layer 0, 'readout': expected one axis"),
    ],
)
def test_descriptions_that_make_no_network(layers, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make(*layers)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layers", ["linear", LINEAR])
def test_one_layer_is_no_list(layers):
    with pytest.raises(ConfigError, match=r"^sequence layers: expected a list of descriptions such as "):
        es.models.sequence([4], layers, 3)


def test_a_convolution_over_the_time_of_a_stream():
    """As any other layer, it has signs where it is not the first, and the config makes the network again."""
    net = es.models.sequence(
        [6], [{"kind": "temporal", "outputs": 5, "kernel": 3}, {"kind": "neuron"},
              {"kind": "temporal", "outputs": 4, "kernel": 2, "dilation": 2}, {"kind": "neuron"}], 3,
    )  # fmt: skip
    assert list(net.layers) == ["conv1", "neuron1", "conv2", "neuron2", "readout"]
    assert (net.layers["conv1"].depth, net.layers["conv2"].depth) == (3, 3)
    assert not is_binary(net.layers["conv1"].synapse)
    assert is_binary(net.layers["conv2"].synapse)
    x = torch.randn(4, 2, 6)
    assert torch.equal(es.models.build(net.config)(x), net(x))
    assert list(es.models.units(net)) == ["conv1", "conv2", "readout"]
