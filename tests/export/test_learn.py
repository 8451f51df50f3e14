"""The learning graph: the trace that cannot overflow, step sizes as shifts, and what is refused."""

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
from edgesnn.export.learn import TraceScale, learn_graph, learn_spec, trace_scale
from edgesnn.export.lower import ReadoutLayer, Signal, lower
from edgesnn.runtime import open as open_session
from edgesnn.runtime.vectors import random_stream

Q15 = 2**15


def spikes(inputs, high=15, unit=0.1):
    return Signal("s", unit, 0, high, (inputs,))


def settled(scale, high, leak, steps):
    """The trace of a spike that stays at `high`: until it no longer moves, or over `steps` without a leak."""
    value = np.zeros(1, np.int64)
    for _ in range(steps if leak == Q15 else 400_000):
        after = golden.trace(value, np.array([high]), leak, scale.gain, scale.limit)
        if leak < Q15 and after == value:
            break
        value = after
    return int(value[0])


@given(inputs=st.integers(1, 4000), high=st.sampled_from([1, 3, 15, 255]), steps=st.integers(1, 100),
       leak=st.sampled_from([0, 1, 16384, 29491, 32000, 32440, Q15]) | st.integers(0, 32600))  # fmt: skip
def test_trace_never_overflows_the_readout(inputs, high, leak, steps):
    """C * 127 * limit < 2^31; and the limit is above what a constant spike settles at, so that it only ever guards."""
    try:
        scale = trace_scale(spikes(inputs, high), leak, steps)
    except ExportError:
        assume(False)
    assert inputs * 127 * scale.limit < 2**31
    assert scale.limit < 2**23
    assert scale.gain >= 1
    assert 0 <= scale.bits <= 10
    share = (Q15 - leak) / Q15 if leak < Q15 else 1 / steps
    assert high * scale.gain / share <= scale.limit
    assert scale.gain == round(share * 2**scale.bits)


@pytest.mark.parametrize("leak", [0, 16384, 29491, 32000])
def test_trace_is_the_mean_spike(leak):
    """A spike of 9 that stays settles at 9 units, up to the rounding of the gain and of each step."""
    scale = trace_scale(spikes(24), leak, 1)
    share = (Q15 - leak) / Q15
    exact = 9 * scale.gain / share
    assert abs(settled(scale, 9, leak, 1) - exact) <= 0.5 / share + 1
    assert abs(exact / 2**scale.bits - 9) <= 9 * 0.5 / scale.gain


def test_trace_without_a_leak_is_the_mean_of_the_window():
    scale = trace_scale(spikes(24), Q15, 4)
    assert scale == TraceScale(10, 256, (2**31 - 1) // (127 * 24))
    assert settled(scale, 9, Q15, 4) == 9 * 2**10


def test_wide_readouts_have_coarser_traces():
    assert [trace_scale(spikes(inputs, 255), 29491, 1).bits for inputs in (10, 100, 1000)] == [10, 9, 6]


@pytest.mark.parametrize(("inputs", "leak"), [(10_000_000, 29491), (300_000, 32767), (24, 32767 + 1)])
def test_traces_that_would_not_move_are_refused(inputs, leak):
    """Too many inputs, or a leak so small that a spike adds less than half a unit."""
    with pytest.raises(
        ExportError, match=rf"^readout: expected a trace of {inputs} inputs that fits int32 .*; use fewer"
    ) as e:
        trace_scale(spikes(inputs), leak, 2**15)
    assert "\n" not in str(e.value)


# -- step sizes -------------------------------------------------------------------------------------------------------


def readout(weight_unit=0.02, spike_unit=0.1):
    return ReadoutLayer(spikes(24, unit=spike_unit), 10, Q15, weight_unit * spike_unit)


@given(
    power=st.integers(-11, 0),
    weight_power=st.integers(-10, -2),
    spike_power=st.integers(-8, 1),
    bits=st.integers(0, 12),
)
def test_shifts_are_the_learning_rate(power, weight_power, spike_power, bits):
    """With units that are powers of two, weight and bias change by exactly `rate` times gradient."""
    rate, weight, spike = 2.0**power, 2.0**weight_power, 2.0**spike_power
    try:
        spec = learn_spec(readout(weight, spike), TraceScale(bits, 1, 1), rate, 7)
    except ExportError:
        assume(False)
    # An error of 1 and a trace of one spike unit: in integers 2^15 and 2^bits; the weight moves by rate * spike.
    assert 2.0 ** (15 + bits - spec.weight_shift) * weight == rate * spike
    assert 2.0 ** (30 - spec.bias_shift) / 2**10 == rate
    assert (spec.scope, spec.seed) == ("readout", 7)


@pytest.mark.parametrize("rate", [1e-9, 1e6])
def test_rates_whose_shifts_do_not_fit(rate):
    with pytest.raises(
        ExportError, match=r"^learn: expected a learning rate whose shifts are 1 to 32, got .* with shifts \["
    ):
        learn_spec(readout(), TraceScale(12, 1, 1), rate, 1)


@pytest.mark.parametrize("rate", [0.0, -1e-3, float("nan"), float("inf")])
def test_rates_that_are_no_rates(rate):
    with pytest.raises(ExportError, match=r"^learn: expected a learning rate") as error:
        learn_spec(readout(), TraceScale(12, 1, 1), rate, 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_are_32_bits(seed):
    """The C runtime holds it in uint32; another seed would draw other numbers there."""
    with pytest.raises(ExportError, match=rf"^learn: expected a seed from 0 to 4294967295, got {seed}; "):
        learn_spec(readout(), TraceScale(12, 1, 1), 0.1, seed)


# -- the graph --------------------------------------------------------------------------------------------------------


def test_logits_of_the_largest_trace_are_kept_within_32_bits():
    """Weights and trace at their limits: a readout whose logit could leave int32 is refused."""
    result = lower(network("empf", 0.9), trainable_readout=True).readout
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
    assert (spec.seed, spec.scope) == (77, "readout")
    assert {name: attributes[name] for name in ("weight_shift", "bias_shift", "seed")} == {
        name: getattr(spec, name) for name in ("weight_shift", "bias_shift", "seed")
    }
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
    bits = trace_scale(spikes(24, unit=1.0), round(0.9 * Q15), 4).bits
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
