"""Class means as a readout: integers of the factory's statistics, both graphs, and what is refused."""

from __future__ import annotations

import copy
import json

import golden_means
import numpy as np
import pytest
import torch
from quantized import digits, network, sample
from tiny_data import stream

import edgesnn as es
from edgesnn import export
from edgesnn.errors import ExportError
from edgesnn.export.bounds import score_bound
from edgesnn.export.class_means import MOST, PRIOR, factory_means, means_spec, trace_limit
from edgesnn.quant import QuantReadout, quantize
from edgesnn.quant.class_means import MEANS
from edgesnn.quant.integer import evaluate_integer
from edgesnn.runtime import open as open_session
from edgesnn.runtime.guard import Guard, overruled, read_guard
from edgesnn.runtime.vectors import seasoned
from edgesnn.runtime.verify import verify

LEAK = 0.9


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export.onnx(network("empf", LEAK), tmp_path_factory.mktemp("means"), learn="means")


def readout(means, metric):
    layer = QuantReadout(es.layers.Readout(metric.shape[0], len(means) // MEANS))
    layer.class_means.copy_(torch.tensor(means))
    layer.metric.copy_(torch.tensor(metric))
    return layer


# The factory's integers.


def test_scores_are_discriminants_in_nat():
    """m P x - m P m / 2 in real numbers, to the rounding of weights to int8."""
    rng = np.random.default_rng(0)
    root = rng.normal(0, 1, (24, 24))
    metric, means, unit = root @ root.T + np.eye(24), rng.uniform(0, 2, (6, 24)), 0.1 * 2.0**-9
    found = factory_means(readout(means, metric), unit, trace_limit(24))
    x = rng.uniform(0, 2, (50, 24))
    trace = np.rint(x / unit).astype(np.int64)
    scores = trace @ found.weight.T.astype(np.int64) + found.bias
    nat = scores * (int(found.M[0]) / 2.0**found.shift) / 2**10
    exact = x @ metric @ means.T - np.einsum("gi,ij,gj->g", means, metric, means) / 2
    spread = np.abs(means @ metric).max() / 84  # one unit of a weight
    assert np.abs(nat - exact).max() < spread * np.abs(x[:, None] - means[None]).sum(axis=2).max()


def test_the_score_at_a_mean_is_exact():
    """However the weights were rounded: half the energy of the mean, rounded down."""
    rng = np.random.default_rng(1)
    metric, means = np.diag(rng.uniform(0.5, 2, 24)), rng.uniform(0, 2, (4, 24))
    found = factory_means(readout(means, metric), 0.001, trace_limit(24))
    m = found.mean.astype(np.int64)
    energy = np.einsum("gi,ij,gj->g", m, found.metric.astype(np.int64), m)
    at_mean = (found.weight.astype(np.int64) * m).sum(axis=1) + found.bias
    assert at_mean.tolist() == (energy >> (found.metric_shift + 1)).tolist()


@pytest.mark.parametrize("spread", [1.0, 1e3, 1e6])
def test_scores_are_as_fine_as_int32_allows(spread):
    """A metric of traces that hardly vary gives scores of many nat: their unit becomes coarser, never their range."""
    found = factory_means(readout(np.full((4, 24), 2.0), np.eye(24) * spread), 0.001, trace_limit(24))
    largest = score_bound(24, trace_limit(24)) * int(found.M[0]) / 2.0**found.shift
    assert largest < 2**31
    nat = int(found.M[0]) / 2.0**found.shift / (spread / (2**15 - 1) * 1e-6 * 2.0**found.metric_shift)
    assert np.log2(nat) == pytest.approx(round(np.log2(nat)), abs=1e-3)
    assert nat == pytest.approx(2**10) or largest > 2**30 * 0.98


@pytest.mark.parametrize("inputs", [1, 24, 128, 512])
def test_no_score_leaves_int32(inputs):
    limit = trace_limit(inputs)
    assert 1 <= limit <= 2**15 - 1
    assert score_bound(inputs, limit) < 2**31
    assert score_bound(inputs, limit + 1) >= 2**31 or limit == 2**15 - 1


def test_learning_at_a_factory_mean_changes_no_weight():
    """The factory's integers are those of the learning formula for a mean that nobody has labelled."""
    rng = np.random.default_rng(2)
    root = rng.normal(0, 1, (12, 12))
    found = factory_means(readout(rng.uniform(0, 2, (4, 12)), root @ root.T + np.eye(12)), 0.001, trace_limit(12))
    constants = golden_means.Constants(
        found.weight,
        found.bias,
        found.mean,
        found.metric,
        MEANS,
        found.metric_shift,
        found.bias_limit,
        0,
        0,
        PRIOR,
        MOST,
    )
    zero = np.zeros(4, np.int32)
    state = golden_means.Learned(found.weight, found.bias, np.zeros((4, 12), np.int32), zero)
    for label in (0, 1):
        group = golden_means.scores(found.mean[2 * label], found.weight, found.bias)[2 * label : 2 * label + 2].argmax()
        trace = found.mean[2 * label + group].astype(np.int32)
        after = golden_means.learn_means(trace, label, state, constants)
        assert np.abs(after.weight - found.weight).max() <= 1  # the mean itself moves by its rounding at most
        assert after.count.sum() == 1


# The graphs.


def test_decisions_follow_the_formula(exported):
    """Along a stream of digits: the trace of the graph through the integers of NumPy, for factory and learned means."""
    qnet = network("empf", LEAK)
    unit = qnet.layers["neuron2"].scale * 2.0**-10
    factory = factory_means(qnet.readout, unit, trace_limit(24))
    constants = golden_means.Constants(
        factory.weight, factory.bias, factory.mean, factory.metric, MEANS, factory.metric_shift, factory.bias_limit,
        **{name: exported.learn.numbers[name] for name in ("settle", "check", "prior", "most")},
    )  # fmt: skip
    _, frames = sample(exported, 12)
    labels = digits().test.labels
    with open_session(exported.path, backend="reference") as session:
        session.restore(seasoned(exported))
        for n in range(12):
            for x in frames[:, n]:
                y = session.step(x)
                now = session.tensors()
                learned = state_of(now)
                trace = now["readout.trace"][0]
                expected = golden_means.decide(trace, learned, constants, int(factory.M[0]), factory.shift)
                assert y.tolist() == expected.tolist()
            session.learn(int(labels[n]))
            after = golden_means.learn(trace, int(labels[n]), learned, constants)
            got = state_of(session.tensors())
            for name in golden_means.Learned.__dataclass_fields__:
                np.testing.assert_array_equal(getattr(got, name), getattr(after, name), err_msg=name)


def state_of(tensors):
    arrays = [tensors[f"means.{name}"] for name in ("weight", "bias", "sum", "count")]
    names = ("last", "run", "seen", "factory_errors", "learned_errors", "use")
    return golden_means.Learned(*arrays, *(int(tensors[f"guard.{name}"][0]) for name in names))


def test_metadata_tells_the_learner(exported):
    assert json.loads(exported.metadata["edgesnn.learn"]) == {"scope": "means", **means_spec(LEAK).numbers}
    assert means_spec(LEAK).numbers == {"settle": 6, "check": 26, "prior": PRIOR, "most": MOST}
    assert means_spec(1.0).numbers["settle"] == means_spec(1.0).numbers["check"] == 0


def test_class_means_know_the_digits(tmp_path):
    """They replace a trained readout: right about as often, before anything is learned."""
    qnet, data = network("empf"), digits()
    found = {}
    for learn in ("readout", "means"):
        model = export.onnx(qnet, tmp_path / learn, learn=learn)
        found[learn] = evaluate_integer(model, data).accuracy
    assert found["means"] > found["readout"] - 0.05
    assert found["means"] > 0.8


def test_a_session_tells_what_its_guard_saw(exported):
    with open_session(exported.path, backend="ort") as session:
        assert read_guard(session.tensors()) == Guard(0, 0, 0, used=False)
        session.restore(seasoned(exported))
        guard = read_guard(session.tensors())
        assert guard == Guard(1000, 500, 10, used=True)
        assert (guard.factory_accuracy, guard.learned_accuracy) == (0.5, 0.99)
        session.restore(overruled(exported, exported.pack(exported.factory)))
        assert read_guard(session.tensors()).used
    assert Guard(0, 0, 0, used=False).factory_accuracy is None


# What is refused.


def test_a_readout_too_wide_for_a_metric(tmp_path):
    qnet = quantize(es.models.mlp(64, [600], 10, es.EMPF(), "binary"), calibrate=digits(), epochs=0)
    with pytest.raises(
        ExportError, match=r"^readout: expected at most 512 inputs to learn class means, got 600; "
    ) as e:
        export.onnx(qnet, tmp_path, learn="means")
    assert "\n" not in str(e.value)
    assert not list(tmp_path.iterdir())


def test_a_network_quantized_before_there_were_class_means(tmp_path):
    qnet = copy.deepcopy(network("empf", LEAK))
    qnet.readout.metric.zero_()
    with pytest.raises(ExportError, match=r"^readout: expected the class means of training data, got none; quantize"):
        export.onnx(qnet, tmp_path, learn="means")


def test_the_prior_is_a_power_of_two_that_the_sums_outgrow():
    assert means_spec(LEAK, 32).numbers["prior"] == 32
    for prior in (0, 3, 4096, 64.0, True):
        with pytest.raises(ExportError, match=f"expected a whole power of two from 1 to 2048 labels, got {prior};"):
            means_spec(LEAK, prior)


def test_means_of_a_single_spike_are_the_same_everywhere(tmp_path):
    net = es.models.mlp(8, [1], 3, leak=LEAK)
    model = export.onnx(quantize(net, calibrate=stream(), epochs=0), tmp_path, learn="means")
    assert [tensor.shape for tensor in model.tensors if tensor.name == "means.weight"] == [(3 * MEANS, 1)]
    export.c(tmp_path)
    assert all(check.equal and check.compared for check in verify(tmp_path, ["ort", "native"], steps=40))
