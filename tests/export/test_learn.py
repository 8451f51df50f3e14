"""The learning graph of scope `readout`: step sizes as shifts, the formula, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import golden
import numpy as np
import onnx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from quantized import network

from edgesnn import export
from edgesnn.errors import ExportError
from edgesnn.export.learn import learn_graph, learn_spec, trace_limit, usable_rate
from edgesnn.export.lower import ReadoutLayer, Signal, lower
from edgesnn.export.trace import TraceScale, trace_scale
from edgesnn.runtime import open as open_session
from edgesnn.runtime.vectors import random_stream

Q15 = 2**15


# -- step sizes -------------------------------------------------------------------------------------------------------


def readout(weight_unit=0.02, spike_unit=0.1):
    return ReadoutLayer(Signal("s", spike_unit, 0, 15, (24,)), 10, Q15, weight_unit * spike_unit)


@given(
    power=st.integers(-11, 0),
    weight_power=st.integers(-10, -2),
    spike_power=st.integers(-8, 1),
    bits=st.integers(0, 12),
)
def test_shifts_are_the_learning_rate(power, weight_power, spike_power, bits):
    """With units that are powers of two, weight and bias change by exactly `rate` times gradient."""
    rate, weight, spike = 2.0**power, 2.0**weight_power, 2.0**spike_power
    made, scale = readout(weight, spike), TraceScale(bits, 1, 1)
    try:
        spec = learn_spec(made, scale, usable_rate(made, scale, rate), 7)
    except ExportError:
        assume(False)
    # An error of 1 and a trace of one spike unit: in integers 2^15 and 2^bits; the weight moves by rate * spike.
    assert 2.0 ** (15 + bits - spec.numbers["weight_shift"]) * weight == rate * spike
    assert 2.0 ** (30 - spec.numbers["bias_shift"]) / 2**10 == rate
    assert (spec.scope, spec.numbers["seed"]) == ("readout", 7)


@pytest.mark.parametrize("rate", [1e-9, 1e6])
def test_rates_whose_shifts_do_not_fit(rate):
    with pytest.raises(ExportError, match=r"^learn: expected a learning rate from \S+ to \S+, which steps .*, got"):
        usable_rate(readout(), TraceScale(12, 1, 1), rate)


@pytest.mark.parametrize("largest", [30, 32])
@pytest.mark.parametrize("bits", [0, 12])
def test_without_a_rate_the_usual_one_or_the_nearest_that_fits_is_taken(bits, largest):
    made, scale = readout(), TraceScale(bits, 1, 1)
    rate = usable_rate(made, scale, None, largest)
    numbers = learn_spec(made, scale, rate, 1).numbers
    assert usable_rate(made, scale, rate, largest) == rate
    if bits == 0:
        assert rate == 3e-4
    else:
        assert numbers["weight_shift"] == largest
        with pytest.raises(ExportError, match="expected a learning rate from"):
            usable_rate(made, scale, rate / 2, largest)


def test_a_readout_of_zeros_has_no_rate():
    with pytest.raises(ExportError, match=r"^learn: expected a readout with a learning rate for weights and bias"):
        usable_rate(readout(weight_unit=1e-12), TraceScale(0, 1, 1), None)


@pytest.mark.parametrize("rate", [0.0, -1e-3, float("nan"), float("inf")])
def test_rates_that_are_no_rates(rate):
    with pytest.raises(ExportError, match=r"^learn: expected a learning rate") as error:
        usable_rate(readout(), TraceScale(12, 1, 1), rate)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_are_32_bits(seed):
    """The C runtime holds it in uint32; another seed would draw other numbers there."""
    with pytest.raises(ExportError, match=rf"^learn: expected a seed from 0 to 4294967295, got {seed}; "):
        learn_spec(readout(), TraceScale(12, 1, 1), 0.1, seed)


# -- the graph --------------------------------------------------------------------------------------------------------


def test_logits_of_the_largest_trace_are_kept_within_32_bits():
    """Weights and trace at their limits: a readout whose logit could leave int32 is refused."""
    result = lower(network("empf", 0.9), "readout").readout
    scale = TraceScale(0, 1, (2**31 - 1) // (127 * 24))
    spec = learn_spec(result, TraceScale(12, 1, 1), 1e-2, 1)
    learn_graph(replace(result, unit=2.0**-12), scale, spec, {})
    with pytest.raises(
        ExportError, match=r"^readout.learn: expected logits within \+-1073741824, got a bound of .*; "
    ) as error:
        learn_graph(replace(result, unit=2.0**-10), scale, spec, {})
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learning")
    return export.onnx(network("empf", 0.9), folder, learn="readout", learning_rate=3e-2, seed=77)


def test_learning_follows_the_formula(exported):
    """Along a stream: weights, bias and count are those of NumPy, given the trace and multiplier of the graphs."""
    graph = exported.graph("learn").graph
    multiplier = onnx.numpy_helper.to_array(graph.initializer[0])
    attributes = {entry.name: entry.i for entry in graph.node[0].attribute}
    spec = exported.learn
    assert (spec.numbers["seed"], spec.scope) == (77, "readout")
    assert {name: attributes[name] for name in ("weight_shift", "bias_shift", "seed")} == spec.numbers
    frames, labels = random_stream(exported, 12, 5)
    with open_session(exported.path, backend="reference") as session:
        for frame, label in zip(frames, labels, strict=True):
            session.step(frame)
            before = session.tensors()
            session.learn(abs(int(label)))
            after = session.tensors()
            weight, bias, trace = (golden.int64(before[f"readout.{name}"]) for name in ("weight", "bias", "trace"))
            weight, bias, count = golden.learn_readout(
                weight, bias, trace[0], multiplier, abs(int(label)), int(before["learn.count"][0]), **attributes
            )
            assert np.array_equal(after["readout.weight"], weight)
            assert np.array_equal(after["readout.bias"], bias)
            assert after["learn.count"].tolist() == [count]
        assert not np.array_equal(after["readout.weight"], exported.factory["readout.weight"])


def test_logits_of_the_trace_are_those_of_the_readout(exported):
    """With the trace at its mean, z is the logit of one step: real weight * unit * spike, in 2^-10 nat."""
    qnet = network("empf", 0.9)
    graph = exported.graph("learn").graph
    m = onnx.numpy_helper.to_array(graph.initializer[0])
    shift = {entry.name: entry.i for entry in graph.node[0].attribute}["shift"]
    average = next(node for node in exported.step.graph.node if node.op_type == "Trace")
    gain = {entry.name: entry.i for entry in average.attribute}["gain"]
    bits = trace_scale(readout().spikes, round(0.9 * Q15), 4, trace_limit(24)).bits
    assert gain == round((Q15 - round(0.9 * Q15)) / Q15 * 2**bits)
    unit = float(qnet.readout.quant_weight().scale.detach()) * qnet.layers["neuron2"].scale
    assert m.tolist() == [round(unit * 2 ** (10 - bits) * 2**shift)] * 10


def test_learning_helps(exported):
    """The loss of one class shown again and again falls: the sign of the update is right."""
    frames, _ = random_stream(exported, 1, 1)
    with open_session(exported.path, backend="ort") as session:
        session.step(frames[0])
        worst = int(np.argmin(session.step(frames[0])))
        for _ in range(30):
            session.learn(worst)
        session.reset()
        session.step(frames[0])
        assert int(np.argmax(session.step(frames[0]))) == worst


def test_learn_graph_takes_only_what_persists(exported):
    proto = exported.graph("learn")
    onnx.checker.check_model(proto, full_check=True)
    evaluator = ReferenceEvaluator(proto)
    assert set(evaluator.input_names) == {"readout.weight", "readout.bias", "learn.count", "readout.trace", "label"}
    assert set(evaluator.output_names) == {"readout.weight.new", "readout.bias.new", "learn.count.new"}
    kinds = {tensor.name: tensor.kind for tensor in exported.tensors}
    assert kinds["learn.count"] == "learner"
    assert kinds["readout.trace"] == "state"
