"""Every family of networks from quantization to integers: equal on all backends, and close to what was quantized."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import windows
import zoo
from torch import nn
from zoo import before, branch, chain, conv, empf

import edgesnn as es
from edgesnn.errors import ExportError
from edgesnn.export.c_ops import OPS
from edgesnn.export.functions import FUNCTIONS
from edgesnn.export.lower import lower, neurons
from edgesnn.layers import SECA, Scale, TemporalConv
from edgesnn.models import Attention, Feedback, Network, Residual
from edgesnn.neurons import IF, MembraneNormEMPF
from edgesnn.runtime.verify import verify

M = es.models
Bits = int | Mapping[str, int]


@dataclass(frozen=True)
class Case:
    """A network, its bits, and the functions that show that it took the road it is here for."""

    make: Callable[[], Network]
    functions: set[str]
    weights: Bits = 1
    spikes: Bits = 4
    learn: str | None = None


IMAGE, ROWS, STREAM = (2, 8, 8), (2, 16), (12,)
CASES: dict[str, Case] = {
    "pools": Case(
        chain(
            IMAGE,
            lambda: {
                "conv1": conv(2, 3),
                "neuron1": empf(),
                "pool1": nn.AvgPool2d(2),
                "neuron_pool1": empf(),
                "dropout1": nn.Dropout(0.2),
                "pool2": nn.MaxPool2d(3, 2, 1),
                "flatten": nn.Flatten(),
            },
        ),
        {"AveragePool2d", "Widen", "PaddedMaxPool2d"},
        learn="readout",
    ),
    "pools of bytes": Case(
        chain(
            IMAGE,
            lambda: {
                "conv1": conv(2, 3),
                "neuron1": empf(),
                "pool1": nn.AvgPool2d(2),
                "conv2": conv(3, 4, padding=1),
                "neuron2": empf(),
                "pool2": nn.AdaptiveAvgPool2d(1),
                "flatten": nn.Flatten(),
            },
        ),
        {"SumPool2d", "Requantize"},
        8,
        8,
    ),
    "standardized": Case(lambda: M.convnet(IMAGE, [3, 4], 3, norm="standardized"), {"BinaryConv2d"}, learn="means"),
    "residual": Case(
        chain(
            IMAGE,
            lambda: {
                "conv1": conv(2, 4),
                "neuron1": empf(),
                "block1": Residual(branch(4, 4)),
                "neuron2": empf(),
                "block2": Residual(branch(4, 6, 2), {"conv1": conv(4, 6, 1, stride=2)}),
                "neuron3": es.EMPF(parallel=True),
                "flatten": nn.Flatten(),
            },
        ),
        {"Widen", "Add", "ParallelEMPF"},
        learn="means",
    ),
    "residual of currents": Case(
        chain(
            IMAGE,
            lambda: {
                "conv1": conv(2, 4),
                "pool1": nn.MaxPool2d(3, 2, 1),
                "block1": Residual(before(4)),
                "block2": Residual(before(4)),
                "scale3": Scale(0.5),
                "norm3": nn.BatchNorm2d(4),
                "neuron3": empf(),
                "flatten": nn.Flatten(),
            },
        ),
        {"Requantize", "PaddedMaxPool2d", "Add"},
    ),
    "maximum of currents": Case(
        chain(
            IMAGE, lambda: {"conv1": conv(2, 4), "pool1": nn.MaxPool2d(2), "neuron1": empf(), "flatten": nn.Flatten()}
        ),
        {"Requantize", "PaddedMaxPool2d"},
    ),
    "without norms": Case(
        chain(
            IMAGE,
            lambda: {
                "conv1": conv(2, 4),
                "pool1": nn.AvgPool2d(3, 2, 1),
                "block1": Residual(
                    {
                        "scale1": Scale(0.9),
                        "neuron1": empf(),
                        "conv1": conv(4, 4, padding=1),
                        "scale2": Scale(0.2, trained=True),
                    }
                ),
                "pool": nn.AdaptiveAvgPool2d(1),
                "flatten": nn.Flatten(),
            },
        ),
        {"SumPool2d", "Requantize", "Add"},
    ),
    "attention": Case(
        chain(
            IMAGE,
            lambda: {
                "conv1": conv(2, 4),
                "seca1": SECA(3),
                "neuron1": empf(),
                "conv2": conv(4, 4),
                "block2": Attention({"neuron1": empf(), "conv1": conv(4, 4, padding=1)}),
                "neuron2": empf(),
                "flatten": nn.Flatten(),
            },
        ),
        {"ChannelAttention"},
    ),
    "recurrent": Case(lambda: M.recurrent(12, 8, 3), {"Retain"}, learn="readout"),
    "feedback": Case(
        chain(
            IMAGE,
            lambda: {
                "conv1": conv(2, 4, padding=1),
                "feedback": Feedback(
                    {"neuron1": empf(), "pool1": nn.AvgPool2d(2), "conv2": conv(4, 5), "neuron2": empf()},
                    {"enlarge": nn.Upsample((8, 8)), "conv1": conv(5, 4, padding=1, bias=False)},
                ),
                "flatten": nn.Flatten(),
            },
        ),
        {"Upsample2d", "Retain"},
    ),
    "version II": Case(
        lambda: M.convnet(IMAGE, [3, 4], 3, neuron=MembraneNormEMPF(steps=3, w2=0.5)), {"Gather", "NextStep"}
    ),
    "channels": Case(
        lambda: M.convnet(IMAGE, [3, 4], 3, neuron=es.EMPF(per_channel=True, steps=2)), {"Gather", "NextStep"}
    ),
    "temporal": Case(
        chain(
            STREAM,
            lambda: {
                "conv1": TemporalConv(12, 6, 3),
                "neuron1": empf(),
                "conv2": TemporalConv(6, 5, 2, 3, binary=True),
                "norm2": nn.BatchNorm1d(5),
                "neuron2": empf(),
            },
        ),
        {"Delay", "BinaryLinear"},
    ),
    "groups": Case(
        chain(
            IMAGE,
            lambda: {
                "conv1": conv(2, 4, groups=2),
                "neuron1": empf(),
                "conv2": conv(4, 4, groups=4, dilation=2, padding=1),
                "norm2": nn.BatchNorm2d(4),
                "neuron2": empf(),
                "pool2": nn.AdaptiveAvgPool2d(1),
                "flatten": nn.Flatten(),
            },
        ),
        {"GroupedConv2d", "GroupedBinaryConv2d"},
    ),
    "bits by layer": Case(
        chain(
            IMAGE,
            lambda: {
                "conv1": conv(2, 4),
                "neuron1": empf(),
                "conv2": conv(4, 4, padding=1),
                "neuron2": empf(),
                "conv3": conv(4, 4, groups=2),
                "neuron3": empf(),
                "flatten": nn.Flatten(),
                "linear4": nn.Linear(64, 5),
                "norm4": nn.BatchNorm1d(5),
                "neuron4": empf(),
            },
        ),
        {"Conv2d", "PackedConv2d", "PackedLinear"},
        {"conv2": 2, "rest": 4},
        {"neuron1": 2, "neuron2": 8},
    ),
    "over time": Case(
        chain(
            ROWS,
            lambda: {
                "conv1": nn.Conv1d(2, 4, 3),
                "norm1": nn.BatchNorm1d(4),
                "neuron1": empf(),
                "pool1": nn.MaxPool1d(2),
                "conv2": nn.Conv1d(4, 4, 3, padding=1),
                "neuron2": empf(),
                "pool2": nn.AvgPool1d(2),
                "flatten": nn.Flatten(),
            },
        ),
        {"Conv2d", "BinaryConv2d", "MaxPool2d", "AveragePool2d"},
    ),
}
#: Those of the literature, narrow.
PUBLISHED: dict[str, Case] = {
    "lenet1": Case(lambda: M.lenet1(classes=3, norm="batch", dropout=0.1), {"AveragePool2d"}, learn="readout"),
    "lenet2": Case(lambda: M.lenet2((2, 32, 32), 3, norm="batch", neuron=es.LIF()), {"AveragePool2d"}, 1, 1),
    "alexnet": Case(lambda: M.alexnet(IMAGE, 3, width=2, norm="batch"), {"AveragePool2d"}),
    "vgg11": Case(lambda: M.vgg11((2, 32, 32), 3, width=2), {"AveragePool2d"}, learn="means"),
    "vgg13": Case(lambda: M.vgg13((2, 32, 32), 3, width=2, pool="max"), {"MaxPool2d"}),
    "vgg_snn": Case(lambda: M.vgg_snn((2, 16, 16), 3, width=2, weights="float"), {"PackedConv2d"}, 4, 8),
    "vgg_f": Case(lambda: M.vgg_f(IMAGE, 3, width=2), {"Upsample2d", "Retain"}),
    "resnet18": Case(lambda: M.resnet18(IMAGE, 3, width=4, attention=3), {"Add", "ChannelAttention"}),
    "resnet19": Case(lambda: M.resnet19(IMAGE, 3, width=4, neuron=es.LIF()), {"Add", "LIF"}, 1, 1, "readout"),
    "resnet34": Case(
        lambda: M.resnet34((2, 32, 32), 3, width=4, block="empf", neuron=MembraneNormEMPF(steps=3, w2=0.5)),
        {"ParallelEMPF", "PaddedMaxPool2d", "Gather"},
    ),
    "resnet34, pre-activation": Case(
        lambda: M.resnet34((2, 32, 32), 3, width=4, block="preactivation", neuron=IF(0.4)), {"Requantize"}, 1, 1
    ),
    "nf_resnet34": Case(lambda: M.nf_resnet34((2, 32, 32), 3, width=4), {"SumPool2d", "Requantize"}),
    "nf_resnet50": Case(lambda: M.nf_resnet50((2, 32, 32), 3, width=4), {"SumPool2d", "Requantize"}),
}
ALL = [*CASES, *(pytest.param(name, marks=pytest.mark.long) for name in PUBLISHED)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


@pytest.mark.parametrize("name", ALL)
def test_integers_are_the_same_everywhere(folder, name):
    case = (CASES | PUBLISHED)[name]
    qnet, _ = zoo.quantized(case.make, case.weights, case.spikes)
    model = zoo.exported(qnet, folder, "c", learn=case.learn)
    assert case.functions <= {node.op_type for node in model.step.graph.node}
    checks = verify(folder, ["reference", "ort", "native"], steps=zoo.STEPS + 1)
    assert {check.graph for check in checks} >= {"step", "window"} | ({"learn"} if case.learn else set())
    assert all(check.compared > 0 and check.difference is None for check in checks), checks


@pytest.mark.parametrize("name", ALL)
def test_windows_of_any_number_of_steps(folder, name):
    """With a frame for each step, and with one for all."""
    case = (CASES | PUBLISHED)[name]
    qnet, _ = zoo.quantized(case.make, case.weights, case.spikes)
    model = zoo.exported(qnet, folder, learn=case.learn)
    for held in (False, True):
        windows.check_dynamic(model, ["ort"], (3, 1), held=held)


@pytest.mark.parametrize("name", ALL)
def test_integers_track_the_fake_quantized_network(folder, monkeypatch, name):
    """With a fine grid of membranes the decision values are those of the quantized network.

    On the grid that is deployed a spike in a hundred differs by one, which networks that never learned, with eight
    channels and dozens of layers, do not forgive.
    """
    monkeypatch.setattr(neurons, "EMPF_FRACTION_BITS", 14)
    monkeypatch.setattr(neurons, "LIF_FRACTION_BITS", 18)
    case = (CASES | PUBLISHED)[name]
    qnet, data = zoo.quantized(case.make, case.weights, case.spikes)
    real, integer = zoo.outputs(qnet, zoo.exported(qnet, folder), data)
    spread = real - real.mean(axis=(1, 2), keepdims=True)
    assert np.abs(spread).max() > 0.01
    assert np.corrcoef(real.ravel(), integer.ravel())[0, 1] > 0.99
    assert np.median(np.abs(real - integer)) < 0.02 * np.abs(spread).max()


@pytest.mark.long
@pytest.mark.parametrize("name", [*CASES, *PUBLISHED])
def test_tvm_runs_them(tmp_path, name):
    case = (CASES | PUBLISHED)[name]
    qnet, _ = zoo.quantized(case.make, case.weights, case.spikes)
    zoo.exported(qnet, tmp_path, "tvm", learn=case.learn)  # a library of the same path would stay open
    checks = verify(tmp_path, ["tvm"], steps=zoo.STEPS + 1)
    assert all(check.compared > 0 and check.difference is None for check in checks), checks


def test_a_repeated_current_is_made_once(folder):
    """A pre-activation block reads its current twice: one sum, and no rescale of a term for each block behind."""
    qnet, _ = zoo.quantized(CASES["residual of currents"].make)
    nodes = {node.name for node in zoo.exported(qnet, folder).step.graph.node}
    assert {name for name in nodes if name.startswith("block2.in")} == {
        "block2.in.add2", "block2.in.rescale", "block2.in.2.rescale",
    }  # fmt: skip
    assert sum(name.startswith("block1.branch.conv1") and name.endswith("rescale") for name in nodes) == 1


REFUSED = {
    "currents at the readout": ("without norms", "readout", "readout: expected a readout of spikes to learn"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_learn_is_one_line(folder, what):
    case, learn, text = REFUSED[what]
    qnet, _ = zoo.quantized(CASES[case].make)
    with pytest.raises(ExportError) as error:
        zoo.exported(qnet, folder, learn=learn)
    assert str(error.value).startswith(text)
    assert "\n" not in str(error.value)


def test_weights_of_few_bits_are_packed(folder):
    """Two bits a weight in the file, in the order of the function library."""
    qnet, _ = zoo.quantized(CASES["bits by layer"].make, CASES["bits by layer"].weights)
    model = zoo.exported(qnet, folder)
    stored = {init.name: onnx.numpy_helper.to_array(init) for init in model.step.graph.initializer}
    assert stored["conv2.weight"].shape == (4, 4 * 9 * 2 // 8)
    assert stored["linear4.weight"].shape == (5, 64 * 4 // 8)
    assert stored["conv1.weight"].dtype == np.int8


def test_the_table_of_layers_is_complete(folder):
    """docs/layers.md names every function that these networks become; C has a kernel for each."""
    page = (Path(__file__).parents[3] / "docs" / "layers.md").read_text(encoding="utf-8")
    rows = [row.split("|")[2] for row in page.splitlines() if row.startswith("| ") and "---" not in row][1:]
    named = {name for cell in rows for name in re.findall(r"`(\w+)`", cell)} & FUNCTIONS.keys()
    used: set[str] = set()
    for case in CASES.values():
        lowered = lower(zoo.quantized(case.make, case.weights, case.spikes)[0], None)
        used |= {node.op_type for node in lowered.builder.nodes if node.domain}
    assert used - named <= {"NextStep"}
    assert named <= OPS.keys()
