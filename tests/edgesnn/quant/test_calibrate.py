"""Ranges from data: the one with the least squared error, and none for a silent layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import edgesnn as es
from edgesnn.errors import QuantizationError
from edgesnn.quant.calibrate import best_range, calibrate
from edgesnn.quant.prepare import prepare


def squared_error(values, limit, bits):
    """Of rounding relu(values) to `limit / (2^bits - 1)` and clipping at `limit`, in float64."""
    top = 2**bits - 1
    x = np.maximum(np.asarray(values, np.float64), 0)
    return ((x - limit / top * np.clip(np.rint(x * top / limit), 0, top)) ** 2).sum()


def brute_force(values, bits, candidates=2000):
    """The least squared error over a fine grid of ranges from a tenth of the largest value to all of it."""
    return min(squared_error(values, limit, bits) for limit in np.linspace(0.1, 1, candidates) * np.max(values))


@pytest.mark.parametrize("bits", [1, 2, 4, 7, 8])
@pytest.mark.parametrize("shape", ["uniform", "normal", "exponential", "outlier"])
def test_the_range_has_nearly_the_least_error_of_all(bits, shape):
    generator = np.random.default_rng(bits)
    values = {
        "uniform": generator.uniform(-1, 2, 3000),
        "normal": generator.normal(0, 1, 3000),
        "exponential": generator.exponential(1, 3000) - 0.2,
        "outlier": np.append(generator.uniform(0, 1, 3000), 8.0),
    }[shape].astype(np.float32)
    found = best_range(torch.from_numpy(values), bits)
    assert squared_error(values, found, bits) <= 1.1 * brute_force(values, bits)


@given(
    arrays(np.float32, 40, elements=st.floats(-8, 8, width=16)).filter(lambda values: values.max() > 0.01),
    st.sampled_from([1, 2, 4, 8]),
)
def test_no_coarse_candidate_is_better(values, bits):
    found = best_range(torch.from_numpy(values), bits)
    least = min(squared_error(values, fraction * float(values.max()), bits) for fraction in np.linspace(0.1, 1, 46))
    assert squared_error(values, found, bits) <= least * (1 + 1e-4) + 1e-9


def test_a_value_far_off_is_clipped():
    values = torch.cat([torch.linspace(0, 1, 20_000), torch.tensor([6.0])])
    assert best_range(values, 4) < 2


def test_what_is_never_positive_has_no_range():
    assert best_range(torch.tensor([-1.0, 0.0, float("nan")]), 4) == 0.0


@pytest.fixture(scope="module")
def net():
    net = es.models.mlp(4, [12, 10], 3, es.EMPF(lam=0.7, theta=0.5, steps=2), weights="float", seed=3).eval()
    net.layers["neuron1"].theta_raw.data += torch.tensor([0.0, 0.3])
    return net


@pytest.fixture(scope="module")
def batches():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(5, 40, 4, generator=generator) for _ in range(3)]


def test_each_range_comes_from_the_activity_of_its_layer(net, batches):
    """m - theta of every neuron, step and sample, followed step by step."""
    drives = {"neuron1": [], "neuron2": []}
    with torch.no_grad():
        for batch in batches:
            state = {}
            for t, x in enumerate(batch):
                before = dict(state)
                _, state = net.step(x, state, t)
                for i in (1, 2):
                    name, neuron = f"neuron{i}", net.layers[f"neuron{i}"]
                    x = net.layers[f"norm{i}"](net.layers[f"linear{i}"](x))
                    m = neuron.lam_values()[t % 2] * before.get(name, torch.zeros_like(x)) + x
                    drives[name].append((m - neuron.theta_values()[t % 2]).flatten().numpy())
                    x, v = neuron(x, before.get(name), t)
                    assert torch.equal(v, state[name])
    qnet = prepare(net, 8, 4)
    calibrate(qnet, net, batches)
    for name, parts in drives.items():
        layer, values = qnet.layers[name], np.concatenate(parts)
        assert layer.calibrated
        assert squared_error(values, layer.scale * 15, 4) <= 1.1 * brute_force(values, 4, 300)
    source, values = qnet.layers["input"], torch.cat([batch.flatten() for batch in batches]).abs().numpy()
    assert source.calibrated
    assert squared_error(values, source.scale * 127, 7) <= 1.1 * brute_force(values, 7, 300)


def test_the_mode_of_the_float_network_and_its_hooks_are_left_as_they_were(net, batches):
    for training in (True, False):
        net.train(training)
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        calibrate(prepare(net, 8, 4), net, batches)
        assert net.training is training
        assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
        assert not any(layer._forward_hooks for layer in net.layers.values())
    net.eval()


def test_a_silent_layer_is_refused_by_name(batches):
    net = es.models.mlp(4, [6, 6], 3, es.EMPF(theta=0.5), seed=1).eval()
    net.layers["neuron2"].theta_raw.data.fill_(1000.0)
    with pytest.raises(QuantizationError) as error:
        calibrate(prepare(net, 1, 4), net, batches)
    assert str(error.value).startswith("neuron2: ")
    assert "silent" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_input_of_zeros_is_refused_by_name(net, batches):
    with pytest.raises(QuantizationError, match=r"^input: "):
        calibrate(prepare(net, 1, 4), net, [torch.zeros_like(batch) for batch in batches])
