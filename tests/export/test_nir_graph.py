"""NIR files of our networks: read again, and as other frameworks' importers step them."""

from __future__ import annotations

import copy
import json

import nir
import numpy as np
import pytest
import torch
from frameworks import DATA, PACKAGES, differences, layers, run, write
from quantized import network

import edgesnn as es
from edgesnn import export
from edgesnn.errors import InteropError
from edgesnn.interop import KEY, from_nir, widths
from edgesnn.layers import Readout
from edgesnn.neurons import MultiLIF

M = es.models
WRITTEN = sorted(path.stem for path in DATA.glob("edgesnn-*.nir"))
CONV = [
    {"kind": "conv", "outputs": 4, "kernel": 3, "padding": 1, "stride": [1, 2]}, {"kind": "neuron"},
    {"kind": "average_pool", "kernel": [2, 2]},
    {"kind": "conv", "outputs": 4, "kernel": 3, "dilation": [2, 1]}, {"kind": "neuron"},
    {"kind": "flatten"},
]  # fmt: skip
NETS = {
    "lif": lambda: M.mlp(12, [10, 8], 4, es.LIF(0.7, 0.3, train_theta=True), "float", norm="none", leak=0.9),
    "strict": lambda: M.mlp(12, [10, 8], 4, es.LIF(0.7, alpha=0.7, strict=True), "float", norm="none"),
    "multi": lambda: M.mlp(12, [10, 8], 4, MultiLIF(0.7, 0.5, 15), "float", norm="none"),
    "conv": lambda: M.sequence((2, 10, 16), CONV, 3, es.IF(0.4, reset="zero"), "float"),
    "norms": lambda: M.convnet((2, 9, 8), [4], 3, es.LIF(0.7, 0.5), "float"),
    "binary": lambda: M.mlp(12, [10, 8, 8], 4, es.LIF(0.7, 0.5)),
    "graded": lambda: M.mlp(12, [10, 8], 4, es.EMPF(0.6, 0.3)),
    "parallel": lambda: M.mlp(12, [10, 8], 4, es.EMPF(theta=0.3, parallel=True)),
    "standardized": lambda: M.mlp(12, [10, 8], 4, es.LIF(), norm="standardized"),
}


def used(name):
    """A network whose norms have seen something, without the poolings that NIR has not."""
    torch.manual_seed(1)
    net = NETS[name]()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(-1, 1.5)
            module.bias.data.normal_(0, 0.2)
    if "pool1" in net.layers and isinstance(net.layers["pool1"], torch.nn.MaxPool2d):
        net.layers["pool1"] = torch.nn.AvgPool2d(2)
    return net.eval()


def inputs(net):
    return np.random.default_rng(1).normal(0, 1.5, (8, 4, *net.input_shape)).astype(np.float32)


@pytest.mark.parametrize("name", NETS)
def test_what_is_read_again_gives_the_same_spikes(tmp_path, name):
    """Graded spikes to float rounding: the leak of EM-PF goes through a sigmoid, folded norms round."""
    net = used(name)
    export.nir(net, tmp_path / "net.nir")
    again = from_nir(tmp_path / "net.nir", "edgesnn")
    x = inputs(net)
    (spikes, logits), (spikes2, logits2) = layers(net, x), layers(again, x)
    assert all(values.any() for values in spikes)
    for one, other in zip(spikes, spikes2, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 if name in ("graded", "parallel") else 0)
    np.testing.assert_allclose(logits, logits2, rtol=0, atol=1e-5)
    assert again.readout.leak == net.readout.leak
    assert again.config["weights"] == net.config["weights"]


def test_a_graph_is_what_its_file_holds(tmp_path):
    graph = export.nir(used("lif"), tmp_path / "net.nir")
    assert from_nir(graph, "edgesnn").config == from_nir(tmp_path / "net.nir", "edgesnn").config


@pytest.mark.parametrize("name", WRITTEN)
def test_spikes_are_those_of_the_frameworks_importer(name):
    """Recorded with the framework from the file of the same name."""
    recorded = np.load(DATA / f"{name}.npz")
    net = from_nir(DATA / f"{name}.nir", "edgesnn")
    spikes, logits = layers(net, recorded["x"])
    assert all(values.any() for values in spikes)
    assert differences(net, recorded) == [0] * len(spikes)
    np.testing.assert_allclose(logits, recorded["output"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_file_is_what_would_be_written_now(tmp_path, name):
    net = from_nir(DATA / f"{name}.nir", "edgesnn")
    now, then = export.nir(net, tmp_path / "net.nir", name.split("-")[1]), nir.read(DATA / f"{name}.nir")
    assert set(now.edges) == {tuple(edge) for edge in then.edges}
    for key, node in now.nodes.items():
        assert type(node) is type(then.nodes[key])
        for field in ("weight", "bias", "tau", "r", "v_leak", "v_threshold", "v_reset"):
            if hasattr(node, field):
                np.testing.assert_allclose(getattr(node, field), getattr(then.nodes[key], field), rtol=1e-6)


def test_every_importer_has_stepped_ours():
    assert {name.split("-")[1] for name in WRITTEN} == set(PACKAGES)


@pytest.mark.parametrize("name", ["edgesnn-snntorch-exact", "edgesnn-norse-exact", "edgesnn-spikingjelly-exact"])
def test_a_threshold_that_is_met_is_moved_by_one_number(name):
    """Membranes meet the threshold itself there, and the importer has the other comparison: > for >=, or >= for >."""
    recorded, net = np.load(DATA / f"{name}.npz"), from_nir(DATA / f"{name}.nir", "edgesnn")
    for layer in net.layers.values():
        if hasattr(layer, "strict"):
            layer.strict = not layer.strict
    assert sum(differences(net, recorded)) > 0


@pytest.mark.long
@pytest.mark.parametrize("framework", sorted(PACKAGES))
def test_importers_give_these_spikes(tmp_path, framework):
    """Networks and inputs of other seeds, stepped by the framework now."""
    for seed in range(1, 4):
        write(framework, tmp_path, seed)
        run(framework, "replay.py", tmp_path)
        for path in sorted(tmp_path.glob("*.nir")):
            net = from_nir(path, "edgesnn")
            assert sum(differences(net, np.load(path.with_suffix(".npz")))) == 0, (seed, path)


# Quantized networks.


def test_bits_and_scales_are_carried(tmp_path):
    qnet = network("empf")
    graph = export.nir(qnet, tmp_path / "net.nir")
    assert widths(tmp_path / "net.nir") == {
        "weights": {"linear1": 8, "linear2": 1}, "spikes": {"neuron1": 4, "neuron2": 4}
    }  # fmt: skip
    entry = json.loads(graph.nodes["neuron1"].metadata[KEY])
    assert entry["spike_scale"] == qnet.layers["neuron1"].scale
    assert entry["neuron"]["kind"] == "empf"
    for name in ("linear1", "linear2"):
        node = graph.nodes[name]
        scale = np.array(json.loads(node.metadata[KEY])["weight_scale"])
        integers = node.weight / scale[:, None]
        np.testing.assert_allclose(integers, np.rint(integers), atol=1e-4)
        assert np.abs(integers).max() <= (127 if name == "linear1" else 1) + 1e-4
    again = es.quantize(from_nir(graph, "edgesnn"), **widths(graph))
    assert [layer.bits for name, layer in again.layers.items() if name.startswith("neuron")] == [4, 4]
    assert [int(again.layers[f"linear{i}"].quant_weight().bit_width) for i in (1, 2)] == [8, 1]
    of_graph = json.loads(graph.metadata[KEY])
    assert of_graph["input_scale"] == qnet.layers["input"].scale
    assert of_graph["weights"] == "binary"


def test_a_quantized_network_of_lif_gives_its_spikes_for_inputs_on_its_grid(tmp_path):
    qnet = network("lif-clear")
    export.nir(qnet, tmp_path / "net.nir")
    step = np.float32(qnet.layers["input"].scale)
    x = (np.clip(np.rint(inputs(qnet) / step), -127, 127) * step).astype(np.float32)
    again = from_nir(tmp_path / "net.nir", "edgesnn")
    for one, other in zip(layers(qnet, x)[0], layers(again, x)[0], strict=True):
        assert one.any()
        assert np.array_equal(one, other)


# What is refused.


def refused(message, net, *arguments, **changes):
    with pytest.raises(InteropError, match=message) as caught:
        export.nir(net, "never.nir", *arguments, **changes)
    assert "\n" not in str(caught.value)


def test_a_name_that_a_file_would_lose_is_refused():
    named = {"fc/1": torch.nn.Linear(12, 6), "neuron1": es.LIF(), "readout": Readout(6, 3)}
    refused("fc/1: expected a name without '/'", M.Network(named, {}, (12,), 3))


@pytest.mark.parametrize(
    ("neuron", "framework", "message"),
    [
        (
            es.LIF(),
            "norse",
            r"^neuron1: expected reset 'zero', which norse's importer makes, got 'subtract'; train with it",
        ),
        (es.LIF(), "sinabs", r"^neuron1: expected spikes 'multi', which sinabs's importer makes, got 'single'"),
        (MultiLIF(), "snntorch", r"^neuron1: expected spikes 'single'"),
        (es.EMPF(), "snntorch", r"^neuron1: expected LIF, IF or MultiLIF for snntorch, got EMPF"),
        (
            es.EMPF(steps=3),
            "edgesnn",
            r"^neuron1: expected .* with one leak and threshold for the layer, got EMPF with 3",
        ),
        (MultiLIF(0.0), "sinabs", r"^neuron1: expected a leak above 0 for sinabs, got 0"),
        (
            es.LIF(0.0, reset="zero"),
            "spikingjelly",
            r"^neuron1: expected a leak above 0, as its importer wants tau > 1",
        ),
    ],
)
def test_neurons_that_an_importer_does_not_make(neuron, framework, message):
    refused(message, M.mlp(4, [3], 2, neuron, "float"), framework)


def test_what_the_user_sets_after_loading_counts(tmp_path):
    net = M.mlp(4, [3], 2, es.LIF(0.5), "float")
    export.nir(net, tmp_path / "net.nir", "sinabs", spikes="single")
    late = M.mlp(4, [3], 2, es.LIF(0.5, alpha=0.5), "float")
    export.nir(late, tmp_path / "net.nir", "snntorch", reset="subtract", late=True)
    refused(r"expected a neuron that fires at 0.5 of what it subtracts", net, "snntorch", reset="subtract", late=True)


def test_layers_that_nir_has_not():
    refused(
        r"^pool1: expected a layer that NIR has, got MaxPool2d; use a chain", M.convnet((2, 8, 8), [3], 2, es.LIF())
    )
    refused(r"^recurrent1: expected a layer that NIR has, got Feedback", M.recurrent(4, 3, 2, es.LIF()))
    bare = copy.deepcopy(used("norms"))
    bare.layers["norm1"] = torch.nn.BatchNorm2d(4, track_running_stats=False)
    refused(r"^norm1: expected a norm with statistics right behind a synapse", bare)
    grouped = [{"kind": "conv", "outputs": 4, "kernel": 3, "groups": 2}, {"kind": "neuron"}, {"kind": "flatten"}]
    refused(r"^conv1: expected zero padding in numbers and one group, got .* 2 groups",
            M.sequence((2, 5, 5), grouped, 2, es.LIF(), "float"))  # fmt: skip
    odd = used("conv")
    odd.layers["pool1"] = torch.nn.AvgPool2d(2, ceil_mode=True)
    refused(r"^pool1: expected a plain mean over windows or all pixels", odd)


def test_an_unknown_framework_is_refused():
    refused(r"convention: expected one of snntorch, .* got 'brian'", used("lif"), "brian")


def test_a_damaged_leak_is_refused(tmp_path):
    graph = export.nir(used("lif"), tmp_path / "net.nir")
    graph.metadata[KEY] = json.dumps(json.loads(graph.metadata[KEY]) | {"leak": "all"})
    with pytest.raises(InteropError, match=r"graph: expected a number as leak in the metadata, got 'all'"):
        from_nir(graph, "edgesnn")


@pytest.mark.parametrize("entry", ["[1]", "{", json.dumps({"convention": {"name": "brian"}}), json.dumps({"leak": 1})])
def test_damaged_metadata_are_refused(tmp_path, entry):
    graph = export.nir(used("lif"), tmp_path / "net.nir")
    graph.metadata[KEY] = entry
    with pytest.raises(InteropError, match=r"metadata|convention") as caught:
        from_nir(graph, "edgesnn")
    assert "\n" not in str(caught.value)


def test_a_neuron_without_metadata_is_refused(tmp_path):
    graph = export.nir(used("lif"), tmp_path / "net.nir")
    del graph.nodes["neuron1"].metadata[KEY]
    with pytest.raises(InteropError, match=r"node neuron1: expected the metadata 'edgesnn' to have a neuron, got none"):
        from_nir(graph, "edgesnn")
