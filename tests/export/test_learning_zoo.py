"""Learning in every layer of networks of many kinds: bit-exact everywhere, and where the float gradient points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import zoo
from layer_steps import THRESHOLDS, Formula, compared, float_gradients, integer_steps
from torch import nn
from zoo import before, branch, chain, conv, empf

import edgesnn as es
from edgesnn import export
from edgesnn.export.lower import neurons
from edgesnn.layers import SECA, TemporalConv
from edgesnn.models import Attention, Feedback, Network, Residual
from edgesnn.neurons import MembraneNormEMPF
from edgesnn.runtime import open as open_session
from edgesnn.runtime.vectors import random_stream
from edgesnn.runtime.verify import verify

IMAGE, RATE = (2, 8, 8), 3e-2


@dataclass(frozen=True)
class Case:
    """A network, the functions that show which road the error took, and how near autograd's gradient its steps are."""

    make: Callable[[], Network]
    functions: set[str]
    weights: int = 1
    spikes: int = 4
    learn: str = "all"
    cosine: float = 0.97


CASES = {
    "groups, sums and apart": Case(
        chain(IMAGE, lambda: {
            "conv1": conv(2, 4, groups=2), "neuron1": empf(), "pool1": nn.AvgPool2d(2), "neuron_pool1": empf(),
            "conv2": conv(4, 4, 2, groups=4, dilation=2, padding=1), "norm2": nn.BatchNorm2d(4), "neuron2": empf(),
            "pool2": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(),
        }),
        {"BackwardSumPool2d", "BackwardBinaryConv2d", "LearnBinaryConv2d", "LearnConv2d"},
    ),
    "over time": Case(
        chain((2, 16), lambda: {
            "conv1": nn.Conv1d(2, 4, 3), "norm1": nn.BatchNorm1d(4), "neuron1": es.LIF(), "pool1": nn.MaxPool1d(2),
            "conv2": nn.Conv1d(4, 4, 3, padding=1), "neuron2": es.LIF(), "pool2": nn.AvgPool1d(2),
            "flatten": nn.Flatten(),
        }),
        {"BackwardConv2d", "BackwardMaxPool2d", "BackwardSumPool2d", "LIFGradient"}, 8, 1,
    ),
    "residual": Case(
        chain(IMAGE, lambda: {
            "conv1": conv(2, 4), "neuron1": empf(), "block1": Residual(branch(4, 4)), "neuron2": empf(),
            "block2": Residual(branch(4, 6, 2), {"conv1": conv(4, 6, 1, stride=2)}), "neuron3": es.EMPF(parallel=True),
            "flatten": nn.Flatten(),
        }),
        {"Add", "ParallelEMPFGradient"}, 8, 8,
    ),
    "residual of currents": Case(
        chain(IMAGE, lambda: {
            "conv1": conv(2, 4), "pool1": nn.MaxPool2d(3, 2, 1), "block1": Residual(before(4)),
            "norm2": nn.BatchNorm2d(4), "neuron2": empf(), "flatten": nn.Flatten(),
        }),
        {"Add", "ClampGradient", "BackwardMaxPool2d"},
    ),
    "feedback": Case(
        chain(IMAGE, lambda: {
            "conv1": conv(2, 4, padding=1),
            "feedback": Feedback(
                {"neuron1": empf(), "pool1": nn.AvgPool2d(2), "conv2": conv(4, 5), "neuron2": empf()},
                {"enlarge": nn.Upsample((8, 8)), "conv1": conv(5, 4, padding=1, bias=False)},
            ),
            "flatten": nn.Flatten(),
        }),
        {"LearnBinaryConv2d", "BackwardSumPool2d"},
    ),
    "recurrent": Case(
        chain((12,), lambda: {
            "linear1": nn.Linear(12, 8), "norm1": nn.BatchNorm1d(8),
            "recurrent1": Feedback({"neuron1": empf()}, {"linear1": nn.Linear(8, 8, bias=False)}),
        }),
        {"LearnBinaryLinear"},
    ),
    "delayed": Case(
        chain((12,), lambda: {
            "conv1": TemporalConv(12, 6, 3), "neuron1": empf(), "conv2": TemporalConv(6, 5, 2, 3, binary=True),
            "norm2": nn.BatchNorm1d(5), "neuron2": empf(),
        }),
        {"BackwardDelay", "LearnBinaryLinear"},
    ),
    "thresholds by channel": Case(
        chain(IMAGE, lambda: {
            "conv1": conv(2, 4), "norm1": nn.BatchNorm2d(4), "neuron1": es.EMPF(per_channel=True),
            "conv2": conv(4, 5), "norm2": nn.BatchNorm2d(5), "neuron2": es.EMPF(per_channel=True, parallel=True),
            "pool2": nn.AvgPool2d(2), "flatten": nn.Flatten(), "linear3": nn.Linear(20, 9),
            "norm3": nn.BatchNorm1d(9), "neuron3": es.EMPF(per_channel=True),
        }),
        {"EMPFGradient", "ParallelEMPFGradient", "LearnThreshold"}, 8, 8,
    ),
    "numbers by time step": Case(
        chain(IMAGE, lambda: {
            "conv1": conv(2, 4), "norm1": nn.BatchNorm2d(4), "neuron1": es.EMPF(steps=3),
            "conv2": conv(4, 5), "neuron2": MembraneNormEMPF(steps=3, w2=0.5).sized(5),
            "conv3": conv(5, 5), "norm3": nn.BatchNorm2d(5), "neuron3": es.EMPF(per_channel=True, steps=3),
            "flatten": nn.Flatten(),
        }),
        {"LastStep", "LearnThresholdAt"}, 8, 8,
    ),
    "other resets, and enlarged": Case(
        chain(IMAGE, lambda: {
            "conv1": conv(2, 4, stride=2), "norm1": nn.BatchNorm2d(4),
            "neuron1": es.LIF(reset="zero", alpha=0.75, width=1.0, train_theta=True),
            "enlarge": nn.Upsample((5, 4)), "conv2": conv(4, 5), "norm2": nn.BatchNorm2d(5),
            "neuron2": es.LIF(theta=0.5, width=1.0, strict=True), "flatten": nn.Flatten(), "linear3": nn.Linear(30, 12),
            "norm3": nn.BatchNorm1d(12), "neuron3": es.LIF(width=1.0, train_theta=True),
        }),
        {"LIFClearGradient", "BackwardUpsample2d", "LIFDropGradient", "LIFGradient"}, 8, 1,
    ),
    "attention": Case(
        chain(IMAGE, lambda: {
            "conv1": conv(2, 4), "norm1": nn.BatchNorm2d(4), "seca1": SECA(3), "neuron1": empf(),
            "conv2": conv(4, 4), "norm2": nn.BatchNorm2d(4),
            "block2": Attention({"neuron1": empf(), "conv1": conv(4, 4, padding=1), "norm1": nn.BatchNorm2d(4)}),
            "neuron3": empf(), "flatten": nn.Flatten(),
        }),
        {"AttentionGradient", "ChannelAttention"}, 8, 8, cosine=0.998,  # 0.99 without the way through the score
    ),
    "behind a frozen block": Case(
        chain(IMAGE, lambda: {
            "conv1": conv(2, 4), "seca1": SECA(3), "neuron1": es.EMPF(per_channel=True),
            "block1": Residual(branch(4, 4)), "neuron2": es.EMPF(steps=3), "conv3": conv(4, 4), "neuron3": empf(),
            "flatten": nn.Flatten(),
        }),
        {"LearnBinaryConv2d"}, learn="last:1",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("learning")


@pytest.mark.parametrize("name", CASES)
def test_integers_are_the_same_everywhere(folder, name):
    case = CASES[name]
    qnet, _ = zoo.quantized(case.make, case.weights, case.spikes)
    model = export.onnx(qnet, folder, window=2, learn=case.learn, learning_rate=RATE)
    export.c(folder)
    assert case.functions <= {node.op_type for node in model.graph("learn").graph.node}
    assert all_that_learn(model) <= moved_by_the_formula(model)
    checks = verify(folder, ["ort", "native"], steps=6)
    assert {check.graph for check in checks} >= {"step", "learn"}
    assert all(check.compared > 0 and check.difference is None for check in checks), checks


def all_that_learn(model):
    """The weights that move, or their latents, but for the readout's."""
    learned = {entry.name.removesuffix(".new") for entry in model.graph("learn").graph.output} - {"readout.weight"}
    latents = {name for name in learned if name.endswith(".latent")}
    return latents | {name for name in learned if name.endswith(".weight") and f"{name[:-7]}.latent" not in learned}


def moved_by_the_formula(model):
    """What a few steps of learning change, all of which give the integers of NumPy."""
    formula, moved = Formula(model), set()
    frames, labels = random_stream(model, 6, 5)
    with open_session(model.path, backend="reference") as session:
        for frame, label in zip(frames, abs(labels), strict=True):
            session.step(frame)
            tensors = session.tensors()
            session.learn(int(label))
            wanted = formula(tensors, int(label))
            for name, value in session.tensors().items():
                np.testing.assert_array_equal(value, wanted.get(name, tensors[name]), err_msg=name)
                moved |= set() if np.array_equal(value, tensors[name]) else {name}
    return moved


@pytest.mark.parametrize("name", [name for name in CASES if name != "behind a frozen block"])
def test_steps_point_where_the_gradient_of_the_float_network_does(folder, monkeypatch, name):
    """With a fine grid of membranes: on the one that is deployed single spikes differ, in nets of four channels."""
    monkeypatch.setattr(neurons, "EMPF_FRACTION_BITS", 13)
    monkeypatch.setattr(neurons, "LIF_FRACTION_BITS", 18)
    case = CASES[name]
    qnet, data = zoo.quantized(case.make, case.weights, case.spikes)
    model = export.onnx(qnet, folder, window=zoo.STEPS, learn="all", learning_rate=RATE)
    x, _ = next(iter(data.evaluation_batches("test")))
    limits = np.iinfo(model.input.dtype)
    for number in range(2):
        frames = np.clip(np.rint(x[:, number].numpy() / model.input.scale), limits.min, limits.max)
        with open_session(folder, backend="reference") as session:
            steps = [session.step(frame.reshape(model.input.shape)) for frame in frames.astype(model.input.dtype)]
            label, trace = int(np.argmin(steps[-1])), session.tensors()["readout.trace"][0]
            moves = integer_steps(model, session, label)
        gradients = float_gradients(qnet, model, x[:, number : number + 1], trace, label)
        steps_of = compared(model, moves, gradients, RATE)
        assert len(steps_of) >= 2
        for layer, (length, cosine) in steps_of.items():
            few = layer == THRESHOLDS
            assert length == pytest.approx(1.0, rel=0.2 if few else 0.1), layer
            assert cosine > (0.9 if few else case.cosine), layer
