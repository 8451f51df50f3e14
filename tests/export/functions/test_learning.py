"""Learning in integers: the random numbers, the stochastic rounding, the softmax and one whole step."""

from __future__ import annotations

import golden
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from functions import assert_function, run
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgesnn.export.functions.learning import EXP_Q15

U32 = st.one_of(st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]), st.integers(0, 2**32 - 1))
FEW = settings(max_examples=25)


def lowbias32(x: int) -> int:
    """The reference of hash-prospector, in Python's own integers."""
    mask = 0xFFFFFFFF
    x ^= x >> 16
    x = x * 0x7FEB352D & mask
    x ^= x >> 15
    x = x * 0x846CA68B & mask
    return x ^ x >> 16


def last(function, inputs, dtype, **attributes):
    """What the backends agree on."""
    results = [outputs[0] for _, outputs in run(function, inputs, [dtype], **attributes)]
    assert all(np.array_equal(result, results[0]) for result in results)
    return results[0]


@FEW
@given(x=hnp.arrays(np.int64, hnp.array_shapes(max_dims=1, max_side=40), elements=U32))
def test_mix_is_lowbias32(x):
    assert_function("Mix", {"x": x}, [[lowbias32(int(value)) for value in x]], ["int64"])


def test_golden_mix_is_lowbias32():
    values = [0, 1, 2, 0xDEADBEEF, 0xFFFFFFFF]
    assert golden.mix(np.array(values)).tolist() == [lowbias32(value) for value in values]
    assert lowbias32(0) == 0


def test_mix_depends_on_the_counter_alone():
    """The number of index i is the same alone, in any order, and in any company."""
    index = np.arange(1000, dtype=np.int64)
    whole = last("Mix", {"x": index}, "int64")
    backwards = last("Mix", {"x": index[::-1].copy()}, "int64")
    assert np.array_equal(whole, backwards[::-1])
    assert [int(last("Mix", {"x": index[i : i + 1]}, "int64")[0]) for i in (0, 7, 999)] == whole[[0, 7, 999]].tolist()
    assert len(set(whole.tolist())) == 1000


@settings(max_examples=40)
@given(shift=st.integers(1, 32), data=st.data())
def test_stochastic_shift(shift, data):
    """|x| up to 2^40, above the largest product of a Q15 error and a 24-bit trace."""
    shape = data.draw(hnp.array_shapes(max_dims=2, max_side=6))
    x = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(-(2**40), 2**40)))
    random = data.draw(hnp.arrays(np.int64, shape, elements=U32))
    expected = (x + (random >> (32 - shift))) >> shift
    assert_function(
        "StochasticShift", {"x": x.astype(np.float64), "random": random}, [expected], ["float64"], shift=shift
    )


@pytest.mark.parametrize(("value", "shift"), [(1, 5), (-1, 5), (37, 6), (-37, 6), (3, 2), (2**20 + 1, 23)])
def test_stochastic_shift_is_unbiased(value, shift):
    """Over 2^16 counters the mean is value / 2^shift within five standard errors (seed fixed; chance 6e-7 a case)."""
    count = 2**16
    x = np.full(count, value, np.float64)
    rounded = last("StochasticShift", {"x": x, "random": golden.random(9, 4, np.arange(count))}, "float64", shift=shift)
    exact = value / 2**shift
    share = exact - np.floor(exact)
    assert set(rounded) == {np.floor(exact), np.floor(exact) + 1}
    assert abs(rounded.mean() - exact) < 5 * np.sqrt(share * (1 - share) / count)


def test_table_of_the_exponential():
    assert EXP_Q15[0] == 2**15
    assert (np.diff(EXP_Q15) <= 0).all()
    assert EXP_Q15[255] == 0
    assert np.array_equal(EXP_Q15, np.round(2**15 * np.exp(-np.arange(256) / 16)))


@FEW
@given(data=st.data(), classes=st.integers(1, 9))
def test_softmax_error(data, classes):
    logit = st.one_of(st.integers(-5000, 5000), st.sampled_from([-(2**30), 2**30 - 1]))
    z = data.draw(hnp.arrays(np.int32, (1, classes), elements=logit))
    label = data.draw(st.integers(0, classes - 1))
    expected = golden.softmax_error(golden.int64(z[0]), label)[None]
    assert_function("SoftmaxError", {"z": z, "label": np.array([label], np.int32)}, [expected], ["int64"])
    assert -classes < expected.sum() <= 0  # each probability is rounded down


@st.composite
def readouts(draw):
    classes, inputs = draw(st.integers(2, 6)), draw(st.integers(1, 19))
    limit = min((2**31 - 1) // (127 * inputs), 2**23 - 1)
    ends = st.sampled_from([-127, 0, 127])
    label, count = draw(st.integers(0, classes - 1)), draw(st.sampled_from([0, 2**31 - 1]) | st.integers(0, 2**31 - 1))
    top = draw(st.integers(1, 2**21 - 1))
    bias = st.sampled_from([-(2**23), 2**23 - 1]) | st.integers(-3000, 3000)
    inputs_of_node = {
        "weight": draw(hnp.arrays(np.int8, (classes, inputs), elements=ends | st.integers(-127, 127))),
        "bias": draw(hnp.arrays(np.int32, classes, elements=bias)),
        "trace": draw(hnp.arrays(np.int32, (1, inputs), elements=st.sampled_from([0, limit]) | st.integers(0, limit))),
        "M": draw(hnp.arrays(np.int32, classes, elements=st.integers(-top, top))),
        "label": np.array([label], np.int32),
        "count": np.array([count], np.int32),
    }
    attributes = {
        "shift": draw(st.integers(22, 46)),
        "weight_shift": draw(st.sampled_from([1, 32]) | st.integers(1, 32)),
        "bias_shift": draw(st.sampled_from([1, 32]) | st.integers(1, 32)),
        "seed": draw(U32),
    }
    return inputs_of_node, attributes


@FEW
@given(case=readouts())
def test_learn_readout(case):
    """2^31 * 2^21 stays below 2^53, and its shift by 22 or more below 2^30, as the exporter proves."""
    inputs, attributes = case
    expected = golden.learn_readout(
        golden.int64(inputs["weight"]), golden.int64(inputs["bias"]), inputs["trace"][0], inputs["M"],
        int(inputs["label"][0]), int(inputs["count"][0]), **attributes,
    )  # fmt: skip
    weight, bias, count = expected
    assert_function("LearnReadout", inputs, [weight, bias, [count]], ["int8", "int32", "int32"], ["M"], **attributes)


@example(seed=0xFFFFFFFF)
@settings(max_examples=5)
@given(seed=U32)
def test_learning_steps_draw_other_numbers(seed):
    """The same activity twice, one count apart: the roundings differ, and so do those of another seed."""
    inputs = {
        "weight": np.zeros((2, 40), np.int8), "bias": np.zeros(2, np.int32), "trace": np.full((1, 40), 9, np.int32),
        "M": np.ones(2, np.int32), "label": np.array([1], np.int32), "count": np.array([5], np.int32),
    }  # fmt: skip
    attributes = {"shift": 20, "weight_shift": 18, "bias_shift": 20}

    def weights(count, seed):
        given = inputs | {"count": np.array([count], np.int32)}
        return next(run("LearnReadout", given, ["int8", "int32", "int32"], ranks=[2, 1, 1], **attributes, seed=seed))[
            1
        ][0].tolist()

    assert weights(5, seed) == weights(5, seed)
    assert weights(5, seed) != weights(6, seed)
    assert weights(5, seed) != weights(5, seed ^ 1)


def test_a_step_moves_towards_the_label():
    """From zero weights over two classes p = 1/2 each: e = (+2^14, -2^14), an exact multiple of the step."""
    inputs = {
        "weight": np.zeros((2, 2), np.int8), "bias": np.zeros(2, np.int32), "trace": np.array([[2**10, 0]], np.int32),
        "M": np.ones(2, np.int32), "label": np.array([1], np.int32), "count": np.array([2**31 - 1], np.int32),
    }  # fmt: skip
    attributes = {"shift": 20, "weight_shift": 22, "bias_shift": 27, "seed": 3}
    expected = [[[-4, 0], [4, 0]], [-4, 4], [0]]
    assert_function("LearnReadout", inputs, expected, ["int8", "int32", "int32"], **attributes)
