"""Scopes that train hidden layers: the formula, the gradient of the float network, bit-exact C, and what is refused."""

from __future__ import annotations

import copy

import golden
import numpy as np
import pytest
import torch
from layer_steps import Formula, compared, float_gradients, integer_steps
from quantized import digits, network, sample
from torch import nn

import edgesnn as es
from edgesnn import export
from edgesnn.errors import ExportError
from edgesnn.export.c_plan import c_plan
from edgesnn.export.lower.synapses import Learns
from edgesnn.layers import Readout
from edgesnn.models import Network
from edgesnn.runtime import open as open_session
from edgesnn.runtime.vectors import random_stream
from edgesnn.runtime.verify import verify

LEAK, RATE = 0.9, 3e-2
CASES = {
    "empf": "all", "lif-8-bit": "all", "lif": "last:1", "empf-4-bit": "readout+thresholds",
    "conv-empf": "all", "conv-lif-8-bit": "all", "conv-lif-4-bit": "readout+thresholds",
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def exported(request, tmp_path_factory):
    """(case, folder) of 64-32-24-10, or of convolutions of 6 and 8 channels over 8x8, with its C."""
    folder = tmp_path_factory.mktemp("layers")
    model = export.onnx(network(request.param, LEAK), folder, learn=CASES[request.param], learning_rate=RATE, seed=9)
    export.c(folder)
    return request.param, model


def test_learning_follows_the_formula(exported):
    _, model = exported
    formula = Formula(model)
    frames, labels = random_stream(model, 10, 5)
    with open_session(model.path, backend="reference") as session:
        for frame, label in zip(frames, abs(labels), strict=True):
            session.step(frame)
            before = session.tensors()
            session.learn(int(label))
            after = session.tensors()
            wanted = formula(before, int(label))
            for name, value in after.items():
                assert np.array_equal(value, wanted.get(name, before[name])), name
    learned = {name for name in wanted if not np.array_equal(after[name], model.factory[name])}
    assert {"readout.weight", "learn.count"} <= learned
    hidden = {name for name in wanted if not name.startswith(("readout", "learn"))}
    assert hidden
    assert learned & hidden


def test_c_learns_the_same(exported):
    assert all(check.equal for check in verify(exported[1].path, ["ort", "native"], steps=25))


def test_values_at_their_limits_fit(exported):
    """Random states, weights and thresholds at the ends of their ranges: C and ONNX still agree on every integer."""
    _, model = exported
    rng = np.random.default_rng(4)
    factory = model.factory
    trace = next(node for node in model.step.graph.node if node.op_type == "Trace")
    limit = next(entry.i for entry in trace.attribute if entry.name == "limit")
    with open_session(model.path, backend="reference") as reference, open_session(model.path, backend="native") as c:
        for turn in range(6):
            tensors = {name: extreme(rng, name, value, limit) for name, value in factory.items()}
            for name in factory:
                if name.endswith(".latent"):
                    signs = np.where(tensors[name] >= 0, 1, -1)
                    tensors[name.replace("latent", "weight")] = golden.pack_signs(signs)
            for session in (reference, c):
                session.restore(model.pack(tensors))
                session.learn(turn)
            assert reference.snapshot() == c.snapshot()


def extreme(rng, name, value, limit):
    ends = {"int8": (-127, 127), "uint8": (0, 255), "int32": golden.SAT24}[str(value.dtype)]
    if name.endswith((".theta", ".trace", ".count")):
        ends = (0, limit if name.endswith(".trace") else 2**23 - 1)
    if name.endswith(".s.kept") and value.dtype == np.uint8:
        ends = (0, 1)  # a threshold times a spike fits
    return rng.choice(ends, value.shape).astype(value.dtype)


@pytest.mark.parametrize(
    ("case", "bound"),
    [("empf", 0.97), ("lif-8-bit", 0.97), ("conv-empf", 0.97), ("conv-lif-8-bit", 0.97), ("multi-lif", 0.97)],
)
def test_the_step_points_where_the_gradient_of_the_float_network_does(tmp_path, case, bound):
    """SLTT by autograd on the fake-quantized network, brought to the same state by the same frames.

    The loss is the cross-entropy of the running mean of spikes, whose gradient goes through the present spikes.
    """
    qnet = copy.deepcopy(network(case, LEAK))
    model = export.onnx(qnet, tmp_path, learn="all", learning_rate=RATE, window=3)
    x, integers = sample(model, 6)
    cosines = []
    for number in range(6):
        label = (3 * number + 1) % 10
        with open_session(tmp_path, backend="reference") as session:
            for frame in integers[:3, number]:
                session.step(frame)
            moves = integer_steps(model, session, label)
            trace = session.tensors()["readout.trace"][0]
        gradients = float_gradients(qnet, model, x[:3, number : number + 1], trace, label)
        steps = compared(model, moves, gradients, RATE)
        assert [length for length, _ in steps.values()] == pytest.approx([1.0] * len(steps), rel=0.15)
        cosines += [cosine for _, cosine in steps.values()]
    assert len(cosines) == (12 if "lif" in case else 18)  # thresholds of these LIF neurons are not trained
    assert min(cosines) > 0.97


@pytest.mark.parametrize("case", ["empf", "lif-8-bit", "conv-empf"])
def test_learning_helps(tmp_path, case):
    """A class that is shown again and again wins, by hidden layers alone: the readout is put back after every step."""
    model = export.onnx(network(case, LEAK), tmp_path, learn="all", learning_rate=RATE)
    frames, _ = random_stream(model, 4, 1)
    readout = {name: value for name, value in model.factory.items() if name in ("readout.weight", "readout.bias")}
    with open_session(tmp_path, backend="ort") as session:

        def logits():
            session.reset()
            return np.array([session.step(frame) for frame in frames])[-1].astype(float)

        def loss(y, label):
            return np.log(np.exp((y - y.max()) / 2**10).sum()) - (y[label] - y.max()) / 2**10

        worst = int(np.argmin(logits()))
        before = loss(logits(), worst)
        for _ in range(30):
            logits()
            session.learn(worst)
            session.restore(model.pack(session.tensors() | readout))
        assert loss(logits(), worst) < before - 0.5
        first = "conv1.weight" if "conv1.weight" in model.factory else "linear1.weight"
        assert not np.array_equal(session.tensors()[first], model.factory[first])


def test_latents_have_the_signs_that_are_deployed(exported):
    case, model = exported
    latents = [name for name in model.factory if name.endswith(".latent")]
    assert len(latents) == (case in ("empf", "lif", "conv-empf"))
    for name in latents:
        signs = np.where(model.factory[name] >= 0, 1, -1)
        assert np.array_equal(golden.pack_signs(signs), model.factory[name.replace("latent", "weight")])
        assert len(np.unique(model.factory[name])) > 5


def test_what_learning_costs_is_known(exported):
    """Weights that learn and what the step keeps are in RAM, and counted."""
    case, model = exported
    kinds = {tensor.name: tensor.kind for tensor in model.tensors}
    kept = {name for name in kinds if name.endswith(".kept")}
    assert kept == {
        "empf": {"x.kept", "neuron1.s.kept"}, "lif-8-bit": {"x.kept", "neuron1.s.kept", "neuron2.s.kept"},
        "lif": {"neuron1.s.kept", "neuron2.s.kept"}, "empf-4-bit": set(),
        "conv-empf": {"x.kept", "neuron1.s.kept", "pool1.s.kept", "neuron2.s.kept"},
        "conv-lif-8-bit": {"x.kept", "neuron1.s.kept", "pool1.s.kept", "neuron2.s.kept"},
        "conv-lif-4-bit": {"neuron1.s.kept", "neuron2.s.kept"},
    }[case]  # fmt: skip
    assert {kinds[name] for name in kept} <= {"state"}
    program = c_plan(model.path)
    assert program.arena_bytes >= model.snapshot_bytes > sum(value.nbytes for value in model.factory.values()) - 40


@pytest.mark.parametrize(
    ("case", "scope", "words"),
    [
        ("empf", "last:3", r"^learn: expected last:1 to last:2"),
    ],
)
def test_networks_that_cannot_learn_so(tmp_path, case, scope, words):
    with pytest.raises(ExportError, match=words) as error:
        export.onnx(network(case), tmp_path / "m", learn=scope)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "m").exists()


def test_weights_that_are_packed_stop_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("edgesnn.export.lower.walk.Learns", lambda weights, reads: Learns(weights))
    with pytest.raises(
        ExportError, match=r"^linear2: expected synapses of 1 or 8 bits, .* got PackedLinear; "
    ) as error:
        export.onnx(network("empf-4-bit"), tmp_path / "m", learn="readout+thresholds")
    assert "\n" not in str(error.value)


def image_network(size, **layers):
    """Quantized: a convolution of 4 outputs on the digits, these layers, and a readout of `size` inputs."""
    net = Network(
        {"conv1": nn.Conv2d(1, 4, 3, padding=1), "neuron1": es.LIF(theta=0.2), **layers, "flatten": nn.Flatten(1),
         "readout": Readout(size, 10, LEAK)},
        {}, (1, 8, 8), 10,
    )  # fmt: skip
    return es.quantize(net, weights=8, spikes=1, calibrate=digits(), epochs=0).eval()


def test_windows_that_overlap_and_strides_learn_the_same_in_c(tmp_path):
    """A padded pooling whose windows share pixels, a strided convolution, and a linear layer behind images."""
    torch.manual_seed(1)
    qnet = image_network(
        12, pool=nn.MaxPool2d(3, 2, 1), conv2=nn.Conv2d(4, 3, (3, 2), (2, 1)), neuron2=es.LIF(theta=0.2),
        front=nn.Flatten(1), linear=nn.Linear(9, 12), neuron3=es.LIF(theta=0.2),
    )  # fmt: skip
    model = export.onnx(qnet, tmp_path, learn="all", learning_rate=RATE)
    export.c(tmp_path)
    assert all(check.equal for check in verify(tmp_path, ["ort", "native"], steps=20))
    frames, labels = random_stream(model, 20, 3)
    with open_session(tmp_path, backend="native") as session:
        session.run(frames, abs(labels))
        after = session.tensors()
    for name in ("conv1.weight", "conv2.weight", "linear.weight", "neuron1.theta"):
        assert not np.array_equal(after[name], model.factory[name]), name
