"""Networks of other frameworks give the frameworks' own spikes; what cannot be taken over is refused by name."""

from __future__ import annotations

import copy
import re

import nir
import numpy as np
import pytest
import torch
from frameworks import CHANGES, DATA, differences, layers, run

import edgesnn as es
from edgesnn.errors import ConfigError, InteropError
from edgesnn.interop import CONVENTIONS, from_nir
from edgesnn.neurons import LIF, Neuron

NAMES = sorted(path.stem for path in DATA.glob("*.nir") if not path.stem.startswith("edgesnn"))


def recorded(name):
    return np.load(DATA / f"{name}.npz")


def load(name, folder=DATA, **changes):
    return from_nir(folder / f"{name}.nir", name.partition("-")[0], **CHANGES.get(name, {}) | changes)


def test_every_framework_is_recorded():
    assert {name.partition("-")[0] for name in NAMES} == set(CONVENTIONS) - {"edgesnn"}


@pytest.mark.parametrize("name", NAMES)
def test_spikes_are_those_of_the_framework(name):
    net, there = load(name), recorded(name)
    spikes, logits = layers(net, there["x"])
    assert len(spikes) == sum(key.startswith("spikes") for key in there.files)
    assert all(values.any() for values in spikes)
    assert differences(net, there) == [0] * len(spikes)
    np.testing.assert_allclose(logits, there["output"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("-exact")])
def test_no_membrane_is_so_near_its_threshold_that_rounding_decides(name):
    """What makes the test above hold on every machine; in the "exact" networks nothing is rounded at all."""
    net = load(name).double()
    distances = []

    def measure(neuron, inputs, output):
        current, v, _ = inputs
        m = neuron.lam * (0 if v is None else v) + current
        level = neuron.theta * getattr(neuron, "alpha", 1.0)
        distances.append(float(((m / level).round().clamp(1, 255) - m / level).abs().min()))

    for layer in net.layers.values():
        if isinstance(layer, Neuron):
            layer.register_forward_hook(measure)
    layers(net, recorded(name)["x"].astype(np.float64))
    assert min(distances) > 2e-6


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("-exact")])
@pytest.mark.parametrize("change", ["strict", "reset"])
def test_another_convention_gives_other_spikes(name, change):
    """Membranes meet the threshold itself, and pass it: > or >=, and what is left after a spike, show."""
    kind = CONVENTIONS[name.partition("-")[0]]
    other = {"strict": not kind.strict} if change == "strict" else {
        "reset": "zero" if kind.reset == "subtract" else "subtract"
    }  # fmt: skip
    assert differences(load(name), recorded(name)) == [0, 0]
    assert sum(differences(load(name, **other), recorded(name))) > 0


def test_a_late_reset_is_not_one_in_the_same_step():
    assert sum(differences(load("snntorch-exact", late=False), recorded("snntorch-exact"))) > 0


def test_norse_writes_a_tau_1000_times_too_small():
    with pytest.raises(
        InteropError, match=r"node 1: expected tau of at least a step, dt = 0.001, got tau = 1e-05; pass"
    ):
        load("norse-dense", dt=0.001)


@pytest.mark.long
@pytest.mark.parametrize("framework", sorted(set(CONVENTIONS) - {"edgesnn"}))
def test_the_framework_itself_gives_these_spikes(tmp_path, framework):
    """Networks and inputs of other seeds, recorded now."""
    for seed in range(1, 6):
        run(framework, "record.py", tmp_path, seed)
        for path in sorted(tmp_path.glob("*.nir")):
            assert sum(differences(load(path.stem, tmp_path), np.load(path.with_suffix(".npz")))) == 0, (seed, path)


# Graphs made by hand.

ONES = np.ones(3, np.float32)


def affine(outputs, inputs, seed=0):
    rng = np.random.default_rng(seed)
    return nir.Affine(
        rng.normal(size=(outputs, inputs)).astype(np.float32), rng.normal(size=outputs).astype(np.float32)
    )


def lif(size=3, tau=1e-3, r=10.0, threshold=1.0, leak=0.0, reset=0.0):
    return nir.LIF(*(np.full(size, value) for value in (tau, r, leak, threshold, reset)))


def graph(*nodes, shape=(4,), output=3):
    return nir.NIRGraph.from_list(nir.Input(np.array(shape)), *nodes, nir.Output(np.array([output])))


def test_thresholds_and_resistances_of_their_own_are_weights_of_their_own():
    node = lif()
    node.v_threshold, node.r = np.array([1.0, 2.0, 4.0]), np.array([10.0, 5.0, 20.0])
    synapse = affine(3, 4)
    net = from_nir(graph(synapse, node), "spikingjelly")
    gain = np.array([1.0, 0.25, 0.5])[:, None]
    np.testing.assert_allclose(net.layers["linear1"].weight.detach(), synapse.weight * gain, rtol=1e-6)
    assert net.layers["neuron1"].theta == 1


def test_a_leaky_integrator_at_the_end_is_the_readout():
    synapse, last = affine(3, 4), affine(2, 3)
    end = nir.LI(np.full(2, 5e-4), np.full(2, 2.5), np.zeros(2))
    net = from_nir(graph(synapse, lif(), last, end, output=2), "snntorch")
    assert net.readout.leak == pytest.approx(0.8)
    np.testing.assert_allclose(net.readout.weight.detach(), last.weight * 0.5, rtol=1e-6)


def test_a_leak_is_given_where_the_file_has_none():
    assert from_nir(graph(affine(3, 4), lif(), affine(2, 3), output=2), "snntorch", leak=0.5).readout.leak == 0.5


def test_spikes_at_the_end_are_counted_by_class():
    net = from_nir(graph(affine(3, 4), lif()), "snntorch")
    assert torch.equal(net.readout.weight, torch.eye(3))
    assert not net.readout.bias.any()
    assert net.readout.leak == 1


def test_sums_over_windows_are_means_times_the_window():
    conv = nir.Conv2d((6, 6), np.ones((2, 1, 3, 3), np.float32), 1, "same", 1, 1, np.zeros(2, np.float32))
    pool = nir.SumPool2d(np.array([2, 3]), np.array([2, 3]), np.array([0, 0]))
    linear = affine(3, 12)
    net = from_nir(graph(conv, lif((2, 6, 6)), pool, nir.Flatten(None, 0), linear, shape=(1, 6, 6)), "norse", dt=1e-4)
    assert tuple(net.layers["conv1"].padding) == (1, 1)
    np.testing.assert_allclose(net.readout.weight.detach(), 6 * linear.weight, rtol=1e-6)


def test_a_pool_before_the_neurons_scales_their_current():
    conv = nir.Conv2d((6, 6), np.ones((2, 1, 3, 3), np.float32), 1, "valid", 1, 1, np.zeros(2, np.float32))
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    net = from_nir(graph(conv, pool, lif((2, 2, 2)), nir.Flatten(None, 0), affine(3, 8), shape=(1, 6, 6)), "snntorch")
    assert net.layers["conv1"].weight.unique().tolist() == [4]


def test_config_makes_the_network_again():
    net = load("sinabs-conv")
    again = es.models.build(copy.deepcopy(net.config))
    again.load_state_dict(net.state_dict())
    x = recorded("sinabs-conv")["x"]
    assert np.array_equal(layers(again.eval(), x)[1], layers(net, x)[1])


def refused(message, source, convention="snntorch", **changes):
    with pytest.raises(InteropError, match=message) as caught:
        from_nir(source, convention, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            nir.CubaLIF(ONES, ONES, ONES, ONES * 0, ONES),
            r"node cubalif: expected one of Affine, .* got CubaLIF; replace",
        ),
        (nir.Threshold(ONES), r"node threshold: expected one of .* got Threshold"),
        (nir.Delay(ONES), r"got Delay"),
        (nir.Scale(ONES), r"got Scale"),
        (nir.LI(ONES, ONES, ONES), r"node li: expected LI as the last node alone"),
        (
            lif(tau=[1e-3, 2e-3, 1e-3]),
            r"node lif: expected one tau for the whole layer, got values from 0.001 to 0.002",
        ),
        (lif(tau=1e-5), r"node lif: expected tau of at least a step"),
        (lif(tau=-1.0), r"node lif: expected tau > 0"),
        (lif(threshold=[1, -1, 1]), r"node lif: expected finite thresholds above v_leak, got -1 above it"),
        (lif(threshold=np.nan), r"node lif: expected one v_threshold for each channel"),
        (lif(leak=0.5), r"node lif: expected v_leak = 0 with reset 'subtract', got v_leak 0.5 and v_reset 0"),
        (lif(tau=1e-4), r"node lif: expected a leak above 0 with a reset one step later"),
    ],
)
def test_nodes_that_have_no_form_here(node, message):
    refused(message, graph(affine(3, 4), node, affine(3, 3)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("what", ["weight", "bias"])
def test_weights_and_biases_that_are_not_finite_are_refused(what, value):
    numbers = {"weight": np.ones((3, 4)), "bias": np.ones(3)}
    numbers[what].flat[1] = value
    source = graph(nir.Affine(**numbers), lif(), affine(3, 3))
    refused(rf"node affine: expected {what}.*s that are finite numbers, got {re.escape(f'{value:g}')}; train", source)


def test_a_resistance_that_is_not_finite_is_refused():
    refused(r"node lif: expected resistances that are finite numbers, got inf", graph(affine(3, 4), lif(r=np.inf)))


def test_a_reset_to_another_value_than_rest_is_refused():
    source = graph(affine(3, 4), lif(reset=0.25))
    refused(
        r"node lif: expected v_leak = v_reset with reset 'zero', got v_leak 0 and v_reset 0.25", source, "spikingjelly"
    )


def test_neurons_without_a_synapse_are_refused():
    refused(r"node lif: expected a synapse before it, got none", graph(lif(), affine(2, 3), shape=(3,), output=2))
    refused(r"node lif_1: expected a synapse before it, got none", graph(affine(3, 4), lif(), lif()))


def test_graphs_that_are_no_chain_are_refused():
    nodes = {"input": nir.Input(np.array([4])), "a": affine(3, 4), "l": lif(), "w": affine(3, 3),
             "output": nir.Output(np.array([3]))}  # fmt: skip
    edges = [("input", "a"), ("a", "l"), ("l", "w"), ("w", "l"), ("l", "output")]
    refused(r"graph, node l: expected a chain, where one node follows, got 2", nir.NIRGraph(nodes, edges))
    two = {**nodes, "other": nir.Input(np.array([4]))}
    refused(r"graph: expected one input and one output, got 2 and 1", nir.NIRGraph(two, edges, type_check=False))
    loop = [("input", "a"), ("a", "l"), ("l", "w"), ("w", "l")]
    refused(r"graph, node l: expected a chain, got a loop", nir.NIRGraph(nodes, loop, type_check=False))
    apart = [("input", "a"), ("a", "output")]
    refused(
        r"graph: expected a chain of all nodes, got \['l', 'w'\] beside it",
        nir.NIRGraph(nodes, apart, type_check=False),
    )


def test_what_ends_with_a_convolution_is_refused():
    conv = nir.Conv2d((6, 6), np.ones((2, 1, 3, 3), np.float32), 1, 0, 1, 1, np.zeros(2, np.float32))
    source = nir.NIRGraph.from_list(nir.Input(np.array([1, 6, 6])), conv, nir.Output(np.array([2, 4, 4])))
    refused(r"expected a linear layer or neurons before its output, got conv", source)


def named(path, name):
    nodes = {"input": nir.Input(np.array([4])), name: affine(3, 4), "l": lif(), "output": nir.Output(np.array([3]))}
    nir.write(path, nir.NIRGraph(nodes, [("input", name), (name, "l"), ("l", "output")]))
    return path


@pytest.mark.parametrize("name", ["a/b", "a.b/c d", "a/b/c"])
def test_a_name_that_nir_cannot_hold_is_named(tmp_path, name):
    refused(
        rf"got what cannot be read: a node named '{name}', where a name may hold all but '/'; write it again",
        named(tmp_path / "net.nir", name),
    )


@pytest.mark.parametrize("name", ["a.b", "c d", "type", "1", "\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_all_other_names_are_read(tmp_path, name):
    assert list(from_nir(named(tmp_path / "net.nir", name), "snntorch").layers)[:2] == ["linear1", "neuron1"]


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n" + bytes(40)])
def test_files_that_are_not_nir_are_refused(tmp_path, content):
    path = tmp_path / "net.nir"
    path.write_bytes(content)
    refused(r"net.nir: expected a NIR file, got what cannot be read", path)


def test_a_file_that_is_missing_or_cut_is_refused(tmp_path):
    refused(r"expected a NIR file", tmp_path / "none.nir")
    cut = tmp_path / "cut.nir"
    cut.write_bytes((DATA / "norse-dense.nir").read_bytes()[:9000])
    refused(r"cut.nir: expected a NIR file", cut)


@pytest.mark.parametrize(
    ("convention", "changes", "message"),
    [
        ("brian", {}, r"convention: expected one of snntorch, .* got 'brian'; name the framework"),
        ("norse", {"speed": 1}, r"convention norse: expected changes of .* got 'speed'"),
        ("norse", {"reset": "hard"}, r"convention norse: expected reset to be one of .* got 'hard'"),
        ("norse", {"dt": 0.0}, r"convention norse: expected dt > 0, got 0"),
        ("edgesnn", {}, r"expected a file that edgesnn wrote, with the metadata 'edgesnn', got none"),
    ],
)
def test_conventions_that_are_none(convention, changes, message):
    refused(message, graph(affine(3, 4), lif()), convention, **changes)


def test_a_network_of_one_class_is_refused():
    with pytest.raises(ConfigError, match="classes: expected at least 2"):
        from_nir(graph(affine(3, 4), lif(), affine(1, 3), output=1), "snntorch")


def test_neurons_are_ours():
    assert isinstance(load("norse-exact").layers["neuron1"], LIF)
