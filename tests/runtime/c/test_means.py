"""The kernels of class means against the integers of Python: decisions, the guard, learning."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import golden_means
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

SIZES = (st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 3), st.integers(1, 40))
COUNTERS = ("last", "run", "seen", "factory_errors", "learned_errors")


class Means(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("factory_weight", "factory_bias", "factory_mean", "metric")),
        *((name, ctypes.c_uint32) for name in ("classes", "means", "inputs")),
        ("multiplier", ctypes.c_int32),
        *((name, ctypes.c_uint32) for name in ("shift", "metric_shift")),
        ("bias_limit", ctypes.c_int32),
        *((name, ctypes.c_uint32) for name in ("settle", "check", "prior", "most")),
    ]


class Guard(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in COUNTERS]


def p(array):
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def case(seed, classes, means, inputs):
    rng = np.random.default_rng(seed)
    c, learned, trace = golden_means.random_case(rng, classes, means, inputs)
    multiplier, shift = int(rng.integers(1, 2**21)), int(rng.integers(20, 33))
    arrays = (c.factory_weight, c.factory_bias, c.factory_mean, c.metric)
    packed = Means(
        *(array.ctypes.data for array in arrays), classes, means, inputs, multiplier, shift, c.shift, c.bias_limit,
        c.settle, c.check, c.prior, c.most,
    )  # fmt: skip
    label = int(rng.choice([learned.last, rng.integers(classes)]))
    return c, learned, trace, label, packed


@given(*SIZES)
def test_decisions(kernels, seed, classes, means, inputs):
    c, learned, trace, _, packed = case(seed, classes, means, inputs)
    y = np.empty(classes, np.int32)
    address = ctypes.byref(packed)
    kernels.esnn_guarded_means(p(trace), p(learned.weight), p(learned.bias), learned.use, p(y), address)
    expected = golden_means.decide(trace, learned, c, packed.multiplier, packed.shift)
    np.testing.assert_array_equal(y, expected.astype(np.int32))


@given(*SIZES)
def test_a_label_is_checked_learned_and_judged(kernels, seed, classes, means, inputs):
    """The three kernels one after the other, as generated code calls them, some labels in a row."""
    c, learned, trace, label, packed = case(seed, classes, means, inputs)
    weight, bias, total, count = (array.copy() for array in (learned.weight, learned.bias, learned.sum, learned.count))
    counters = {name: np.array([getattr(learned, name)], np.int32) for name in COUNTERS}
    guard, scratch = Guard(*(array.ctypes.data for array in counters.values())), np.empty(inputs, np.int16)
    for _ in range(3):
        learned = golden_means.learn(trace, label, learned, c)
        kernels.esnn_guard_check(p(trace), p(weight), p(bias), label, ctypes.byref(guard), ctypes.byref(packed))
        kernels.esnn_learn_means(p(weight), p(bias), p(total), p(count), p(trace), label, int(counters["run"][0]),
                                 p(scratch), ctypes.byref(packed))  # fmt: skip
        use = kernels.esnn_guard_decide(
            p(count), *(int(counters[name][0]) for name in COUNTERS[2:]), classes, means
        )  # fmt: skip
        np.testing.assert_array_equal(weight, learned.weight)
        np.testing.assert_array_equal(bias, learned.bias)
        np.testing.assert_array_equal(total, learned.sum)
        np.testing.assert_array_equal(count, learned.count)
        assert {name: int(array[0]) for name, array in counters.items()} == {
            name: getattr(learned, name) for name in COUNTERS
        }
        assert use == learned.use
        trace = trace[::-1].copy()


def test_a_damaged_count_divides_by_nothing(kernels):
    """A state with a valid checksum may still hold nonsense: no kernel may trap on it."""
    c, learned, trace, label, packed = case(1, 2, 1, 4)
    packed.settle = 0
    for count in (-c.prior, -c.prior - 1, -(2**31), 2**31 - 1):
        damaged = replace(learned, count=np.full(2, count, np.int32))
        arrays = [a.copy() for a in (damaged.weight, damaged.bias, damaged.sum, damaged.count)]
        scratch = np.empty(4, np.int16)
        kernels.esnn_learn_means(*map(p, arrays), p(trace), label, 1, p(scratch), ctypes.byref(packed))
        assert 0 < arrays[3][label] <= 2**30 + 1
