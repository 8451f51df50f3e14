"""Backward and descent of hidden layers: every function against NumPy, on values at the ends of their ranges."""

from __future__ import annotations

import golden
import golden_layers
import numpy as np
import pytest
from functions import assert_function
from golden_layers import ends
from hypothesis import given, settings
from hypothesis import strategies as st

FEW = settings(max_examples=6)
SEEDS = st.integers(0, 2**32 - 1)
SIZES = (st.integers(1, 9), st.integers(1, 19))


def one(value):
    return np.array([value], np.int32)


@FEW
@given(SEEDS, *SIZES)
def test_backward(seed, outputs, inputs):
    rng = np.random.default_rng(seed)
    g = ends(rng, -(2**30) // (127 * outputs), 2**30 // (127 * outputs), (1, outputs))
    w = ends(rng, -127, 127, (outputs, inputs), np.int8)
    assert_function("BackwardLinear", {"g": g, "w": w}, [golden_layers.backward(g[0], w)[None]], ["int32"])
    signs = np.where(w >= 0, 1, -1)
    packed = golden.pack_signs(signs)
    wanted = golden_layers.backward(g[0], signs)[None]
    assert_function("BackwardBinaryLinear", {"g": g, "w": packed}, [wanted], ["int32"], fan_in=inputs)


@FEW
@given(SEEDS, st.integers(1, 30), st.integers(1, 12))
def test_gradient_of_empf_passes_where_the_spike_was_not_clipped(seed, size, k):
    rng = np.random.default_rng(seed)
    g, theta = ends(rng, -(2**30), 2**30, (1, size)), int(rng.integers(0, 5000))
    v = (theta + rng.integers(-(2**k), 2**k, (1, size), endpoint=True)).astype(np.int32)
    wanted = golden_layers.empf_gradient(g[0], v[0], theta, k)[None]
    assert_function("EMPFGradient", {"g": g, "v": v, "theta": one(theta)}, [wanted], ["int32"], k=k)


def test_a_spike_is_clipped_exactly_where_its_residual_says_so():
    """Every membrane around the range of a 2-bit spike: the residual tells whether the rounded level was in it."""
    theta, k, bits = 100, 4, 2
    m = np.arange(theta - 40, theta + 120)
    level = (m - theta + 2 ** (k - 1)) >> k
    v = m - (golden.grade(m, theta, k, bits) << k)
    passed = golden_layers.empf_gradient(np.ones_like(m), v, theta, k)
    assert np.array_equal(passed, (level >= 0) & (level < 2**bits))


@FEW
@given(SEEDS, st.integers(1, 30), st.integers(1, 12), st.sampled_from([1, 2, 4, 8]))
def test_gradient_of_neurons_without_membranes(seed, size, k, bits):
    rng = np.random.default_rng(seed)
    g, theta = ends(rng, -(2**30), 2**30, (1, size)), int(rng.integers(0, 5000))
    edges = theta + np.array([-1, 2 ** (k + bits) - 1]) + 2 ** (k - 1) * np.array([-1, -1])
    current = rng.choice([-(2**30), 2**30, *edges, *(edges + 1), theta], (1, size)).astype(np.int32)
    wanted = golden_layers.parallel_empf_gradient(g[0], current[0], theta, k, bits)[None]
    inputs = {"g": g, "current": current, "theta": one(theta)}
    assert_function("ParallelEMPFGradient", inputs, [wanted], ["int32"], k=k, bits=bits)


@FEW
@given(SEEDS, st.integers(1, 30), st.integers(1, 20000))
def test_gradient_of_lif_is_a_triangle(seed, size, width):
    rng = np.random.default_rng(seed)
    theta, shift = int(rng.integers(1, 9000)), max(1, int(np.ceil(np.log2(width))))
    m = theta + rng.integers(-2 * width, 2 * width, (1, size), endpoint=True)
    s = (m >= theta).astype(np.uint8)
    inputs = {"g": ends(rng, -(2**30), 2**30, (1, size)), "v": (m - theta * golden.int64(s)).astype(np.int32), "s": s,
              "theta": one(theta)}  # fmt: skip
    wanted = golden_layers.lif_gradient(inputs["g"][0], inputs["v"][0], s[0], theta, width, shift)[None]
    assert_function("LIFGradient", inputs, [wanted], ["int32"], width=width, shift=shift)
    drop = int(rng.integers(0, 9000))
    inputs |= {"v": (m - drop * golden.int64(s)).astype(np.int32), "drop": one(drop)}
    assert_function("LIFDropGradient", inputs, [wanted], ["int32"], width=width, shift=shift)
    lam, v = int(rng.integers(0, 2**15, endpoint=True)), ends(rng, *golden.SAT24, (1, size))
    current = (m - ((golden.int64(v) * lam + 2**14) >> 15)).astype(np.int32)
    inputs = {"g": inputs["g"], "v": v, "I": current, "lam": one(lam), "theta": one(theta)}
    assert_function("LIFClearGradient", inputs, [wanted], ["int32"], width=width, shift=shift)


@FEW
@given(SEEDS, st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_of_enlarged_images_a_pixel_gets_all_errors(seed, channels, height, width):
    rng = np.random.default_rng(seed)
    rows, columns = (rng.integers(0, side, rng.integers(1, 7)).tolist() for side in (height, width))
    g = ends(rng, -(2**24), 2**24, (1, channels, len(rows), len(columns)))
    wanted = golden_layers.backward_upsample(g[0], rows, columns, (height, width))[None]
    places = {"rows": rows, "columns": columns, "size": [height, width]}
    assert_function("BackwardUpsample2d", {"g": g}, [wanted], ["int32"], **places)


@FEW
@given(SEEDS, st.integers(1, 9), st.integers(1, 4))
def test_of_delayed_values_the_newest_gets_the_error(seed, channels, taps):
    g = ends(np.random.default_rng(seed), -(2**30), 2**30, (1, taps * channels))
    assert_function("BackwardDelay", {"g": g}, [g[:, -channels:]], ["int32"], taps=taps)


@FEW
@given(SEEDS, st.sampled_from([(np.uint8, -1, 255), (np.uint8, 0, 15), (np.int8, -128, 127)]))
def test_errors_pass_where_nothing_was_clamped(seed, kind):
    rng, (dtype, low, high) = np.random.default_rng(seed), kind
    g, y = ends(rng, -(2**30), 2**30, (1, 3, 2, 4)), ends(rng, low if low < -1 else 0, high, (1, 3, 2, 4), dtype)
    wanted = np.where((low < golden.int64(y)) & (golden.int64(y) < high), g, 0)
    assert_function("ClampGradient", {"g": g, "y": y}, [wanted], ["int32"], low=low, high=high)


def descent(rng, outputs, inputs):
    dtype, low, high = [("uint8", 0, 1), ("uint8", 0, 255), ("int8", -128, 127), ("int32", 0, 2**15 - 1)][
        rng.integers(4)
    ]
    x = ends(rng, low, high, (1, inputs), dtype)
    step = ends(rng, -(2**30), 2**30, (1, outputs))
    attributes = {
        "limit": 2**30 // max(-low, high),
        "shift": int(rng.integers(1, 31)),
        "seed": int(rng.integers(2**32)),
    }
    return x, step, one(rng.choice([0, 1, 2**31 - 1])), attributes


@FEW
@given(SEEDS, *SIZES)
def test_descent_of_weights(seed, outputs, inputs):
    rng = np.random.default_rng(seed)
    x, step, count, attributes = descent(rng, outputs, inputs)
    w = ends(rng, -127, 127, (outputs, inputs), np.int8)
    wanted = golden_layers.descend(w, x[0], step[0], int(count[0]), **attributes)
    given_inputs = {"weight": w, "x": x, "step": step, "count": count}
    assert_function("LearnLinear", given_inputs, [wanted], ["int8"], **attributes)
    packed = golden.pack_signs(np.where(w >= 0, 1, -1))
    given_inputs = {"weight": packed, "latent": w, "x": x, "step": step, "count": count}
    expected = [golden.pack_signs(np.where(wanted >= 0, 1, -1)), wanted]
    pads = [0, 0, 0, -inputs % 8]
    assert_function("LearnBinaryLinear", given_inputs, expected, ["uint8", "int8"], pads=pads, **attributes)


@pytest.mark.parametrize(("step", "x"), [(1000, 3), (-1000, 3), (77, 255), (-(2**20), 1)])
def test_descent_is_unbiased(step, x):
    """Over many learning steps the mean move is step*x / 2^shift, and moves of two weights are not correlated."""
    shift, steps = 22, 4000
    weight = np.zeros((2, 2), np.int8)
    moves = np.array([
        -golden_layers.descend(weight, np.full(2, x), np.full(2, step), count, limit=2**22, shift=shift, seed=5)
        for count in range(steps)
    ]).reshape(steps, 4)  # fmt: skip
    exact = step * x / 2**shift
    share = exact - np.floor(exact)
    assert np.abs(moves.mean(axis=0) - exact).max() < 5 * np.sqrt(share * (1 - share) / steps)
    covariance = np.cov(moves.T) - np.diag(moves.var(axis=0, ddof=1))
    assert np.abs(covariance).max() < 5 * share * (1 - share) / np.sqrt(steps) + 1e-9


@FEW
@given(SEEDS, st.integers(1, 40), st.integers(1, 46))
def test_thresholds_and_biases(seed, size, shift):
    rng = np.random.default_rng(seed)
    g, theta = ends(rng, -(2**30), 2**30, (1, size)), int(rng.choice([0, 2**23 - 1, rng.integers(0, 9000)]))
    most = min(2**30 - 1, (2**52 - 2 ** (shift - 1)) // (size * 2**30))
    m, count, draw = int(rng.integers(0, most, endpoint=True)), int(rng.integers(2**31)), int(rng.integers(2**32))
    limit = int(rng.choice([1, 2**31, size * 2**30]))
    by_channel = np.array([theta, 0, 2**23 - 1], np.int32)
    images = ends(rng, -(2**30), 2**30, (1, 3, 1, size))
    for numbers, errors in ((one(theta), g), (by_channel.reshape(3, 1, 1), images), (by_channel, images[..., 0, 0])):
        wanted = golden_layers.learn_threshold(numbers.ravel(), errors[0], m, count, limit, shift, draw)
        inputs = {"theta": numbers, "g": errors, "M": one(m), "count": one(count)}
        wanted = wanted.reshape(numbers.shape)
        assert_function("LearnThreshold", inputs, [wanted], ["int32"], limit=limit, shift=shift, seed=draw)
    table, at = np.stack([by_channel, by_channel[::-1]]).reshape(2, 3, 1, 1), int(rng.integers(2))
    moved = table.copy()
    moved[at, :, 0, 0] = golden_layers.learn_threshold(table[at].ravel(), images[0], m, count, limit, shift, draw)
    inputs = {"theta": table, "at": one(at), "g": images, "M": one(m), "count": one(count)}
    assert_function("LearnThresholdAt", inputs, [moved], ["int32"], limit=limit, shift=shift, seed=draw)
    e, bias = ends(rng, -(2**15), 2**15, (1, size)), ends(rng, *golden.SAT24, size)
    bias_shift = 1 + shift % 32
    inputs = {"bias": bias, "e": e, "count": one(count)}
    moved, counted = golden_layers.learn_bias(bias, e[0], count, bias_shift, draw)
    assert_function("LearnBias", inputs, [moved, [counted]], ["int32", "int32"], shift=bias_shift, seed=draw)


def test_error_of_the_readout():
    rng = np.random.default_rng(3)
    inputs = {"weight": ends(rng, -127, 127, (4, 9), np.int8), "bias": ends(rng, -3000, 3000, 4),
              "trace": ends(rng, 0, 2**15 - 1, (1, 9)), "M": ends(rng, 0, 2**20, 4), "label": one(2)}  # fmt: skip
    wanted = golden_layers.readout_error(*(inputs[name] for name in ("weight", "bias")), inputs["trace"][0],
                                         inputs["M"], 2, 30)  # fmt: skip
    assert_function("ReadoutError", inputs, [wanted[None]], ["int32"], shift=30)


@pytest.mark.parametrize(("t", "steps", "last"), [(1, 4, 0), (0, 4, 3), (3, 4, 2), (0, 1, 0)])
def test_the_last_step_is_the_one_before_the_next(t, steps, last):
    assert_function("LastStep", {"t": one(t)}, [one(last)], ["int32"], steps=steps)


def test_what_is_kept_is_the_value():
    value = np.array([[1, 2, 255]], np.uint8)
    assert_function("Retain", {"kept": np.zeros_like(value), "value": value}, [value], ["uint8"])
