"""Class means of the training data: the traces, their scatter, the clusters, and where they are kept."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_data
import torch
from hypothesis import given
from hypothesis import strategies as st
from quantized import network

import edgesnn as es
from edgesnn.quant import quantize, rebuild
from edgesnn.quant.class_means import BETWEEN, MEANS, RIDGE, class_means, clusters, settle_steps, traces


@pytest.fixture(scope="module")
def stream():
    """A quantized network on the tiny stream, whose readout averages ten steps."""
    data = tiny_data.stream()
    net = es.models.mlp(data.input_shape[0], [12], len(data.classes), es.EMPF(), "binary", leak=0.9)
    return quantize(net, calibrate=data, epochs=0).eval(), data


def test_traces_are_leaky_means_of_the_readouts_input(stream):
    net, data = stream
    found = list(traces(net, data, "train"))
    assert [label for _, label in found] == [recording.label for recording in data.train]
    x, y = next(iter(data.evaluation_batches("train")))
    spikes = []
    hook = net.readout.register_forward_pre_hook(lambda _, args: spikes.append(args[0].double().numpy()))
    state = {}
    with torch.no_grad():
        for t in range(len(x)):
            _, state = net.step(x[t], state, t)
    hook.remove()
    for n, (rows, _) in enumerate(found):
        steps = int((y[:, n] >= 0).sum())
        expected = [sum(0.1 * 0.9 ** (t - u) * spikes[u][n] for u in range(t + 1)) for t in range(steps)]
        np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-6)


def test_the_trace_of_an_image_is_its_mean_spike():
    net = network("empf")
    rows, label = next(traces(net, es.data.digits(), "train"))
    assert rows.shape == (1, 24)
    assert label == es.data.digits().train.labels[0]
    assert 0 <= rows.min() < rows.max() <= 15 * net.layers["neuron2"].scale * (1 + 1e-6)


def test_the_metric_is_the_inverse_scatter(stream):
    net, data = stream
    found = class_means(net, data)
    settled = [(rows[settle_steps(0.9) :], label) for rows, label in traces(net, data, "train")]
    within = np.mean([np.cov(rows.T, bias=True) for rows, _ in settled], axis=0)
    means = [np.array([rows.mean(axis=0) for rows, label in settled if label == k]) for k in range(len(data.classes))]
    scatter = within + BETWEEN * np.mean([np.cov(rows.T, bias=True) for rows in means], axis=0)
    scatter += RIDGE * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    np.testing.assert_allclose(found.metric @ scatter, np.eye(len(scatter)), atol=1e-6)
    assert found.means.shape == (MEANS * len(data.classes), 12)
    for k, rows in enumerate(means):
        own = found.means[k * MEANS : (k + 1) * MEANS]
        assert (own >= rows.min(axis=0) - 1e-9).all()
        assert (own <= rows.max(axis=0) + 1e-9).all()


def test_they_survive_a_checkpoint(stream):
    net, _ = stream
    copy = rebuild(net.config)
    assert float(copy.readout.metric.abs().max()) == 0
    copy.load_state_dict(net.state_dict())
    assert torch.equal(copy.readout.class_means, net.readout.class_means)
    assert float(net.readout.metric.abs().max()) > 0


def test_wide_readouts_have_none():
    net = es.models.mlp(64, [600], 10, es.EMPF(), "binary")
    readout = quantize(net, calibrate=es.data.digits(), epochs=0).readout
    assert readout.class_means.numel() == readout.metric.numel() == 0


@pytest.mark.parametrize(("leak", "steps"), [(0.95, 12), (0.9, 6), (0.0, 1), (1.0, 0)])
def test_settling_takes_its_share_of_the_time_constant(leak, steps):
    assert settle_steps(leak) == steps


# Clusters.


def test_two_heaps_are_found():
    rng = np.random.default_rng(0)
    heaps = [rng.normal(centre, 0.1, (7, 3)) for centre in ([0, 0, 0], [3, 1, 0])]
    found = clusters(np.concatenate(heaps), np.eye(3), 2)
    expected = np.stack([heap.mean(axis=0) for heap in heaps])
    order = np.argsort(found[:, 0])
    np.testing.assert_allclose(found[order], expected)


def test_what_is_near_depends_on_the_metric():
    """Two heaps far apart along an axis that the metric takes for noise: it parts the other one."""
    rows = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 1.0], [100.0, 1.0]])
    found = clusters(rows, np.diag([1e-6, 1.0]), 2)
    assert sorted(found[:, 1].tolist()) == [0.0, 1.0]


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 3))
def test_every_mean_has_rows_and_lies_among_them(seed, rows, count):
    values = np.random.default_rng(seed).integers(0, 4, (rows, 2)).astype(float)
    found = clusters(values, np.eye(2), count)
    assert found.shape == (count, 2)
    assert np.isfinite(found).all()
    assert (found >= values.min(axis=0)).all()
    assert (found <= values.max(axis=0)).all()
