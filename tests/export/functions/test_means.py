"""Class means in ONNX: decisions, the guard and learning, against integers of NumPy."""

from __future__ import annotations

from dataclasses import fields

import golden_means
import numpy as np
from functions import assert_function
from hypothesis import given, settings
from hypothesis import strategies as st

FEW = settings(max_examples=30, deadline=None)
SIZES = (st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 3), st.integers(1, 9))


def one(value):
    return np.array([value], np.int32)


@FEW
@given(*SIZES)
def test_decisions(seed, classes, means, inputs):
    rng = np.random.default_rng(seed)
    constants, learned, _ = golden_means.random_case(rng, classes, means, inputs)
    limit = min((2**31 - 1) // (3 * 127 * inputs), 2**15 - 1)
    traces = rng.integers(0, limit + 1, (3, inputs)).astype(np.int32)
    multiplier, shift = int(rng.integers(1, 2**21)), int(rng.integers(20, 33))
    expected = [golden_means.decide(trace, learned, constants, multiplier, shift) for trace in traces]
    inputs_ = {
        "trace": traces, "weight": learned.weight, "bias": learned.bias, "fw": constants.factory_weight,
        "fb": constants.factory_bias, "use": one(learned.use), "M": one(multiplier),
    }  # fmt: skip
    assert_function(
        "GuardedMeans",
        inputs_,
        [np.array(expected)],
        ["int32"],
        ("fw", "fb", "M"),
        shift=shift,
        groups=[classes, means],
    )


@FEW
@given(*SIZES)
def test_guard_counts_errors_before_learning(seed, classes, means, inputs):
    rng = np.random.default_rng(seed)
    constants, learned, trace = golden_means.random_case(rng, classes, means, inputs)
    label = int(rng.choice([learned.last, rng.integers(classes)]))
    after = golden_means.guard_check(trace, label, learned, constants)
    names = ("last", "run", "seen", "factory_errors", "learned_errors")
    given_ = {
        "trace": trace[None], "weight": learned.weight, "bias": learned.bias, "fw": constants.factory_weight,
        "fb": constants.factory_bias, "label": one(label), **{name: one(getattr(learned, name)) for name in names},
    }  # fmt: skip
    expected = [one(getattr(after, name)) for name in names]
    assert_function(
        "GuardCheck", given_, expected, ["int32"] * 5, ("fw", "fb"), check=constants.check, groups=[classes, means]
    )


@FEW
@given(*SIZES)
def test_learning_moves_one_mean(seed, classes, means, inputs):
    rng = np.random.default_rng(seed)
    constants, learned, trace = golden_means.random_case(rng, classes, means, inputs)
    label = int(rng.integers(classes))
    after = golden_means.learn_means(trace, label, learned, constants)
    given_ = {
        "weight": learned.weight, "bias": learned.bias, "sum": learned.sum, "count": learned.count,
        "F": constants.factory_mean, "P": constants.metric, "trace": trace[None], "label": one(label),
        "run": one(learned.run),
    }  # fmt: skip
    expected, dtypes = [after.weight, after.bias, after.sum, after.count], ["int8", "int32", "int32", "int32"]
    attributes = {name: getattr(constants, name) for name in ("settle", "prior", "most", "shift", "bias_limit")}
    assert_function("LearnMeans", given_, expected, dtypes, ("F", "P"), **attributes, groups=[classes, means])


@FEW
@given(
    counts=st.lists(st.integers(0, 2), min_size=6, max_size=6), seen=st.integers(60, 130),
    factory=st.integers(0, 40), own=st.integers(0, 40),
)  # fmt: skip
def test_guard_decides(counts, seen, factory, own):
    count = np.array(counts, np.int32)
    learned = golden_means.Learned(*[np.empty(0)] * 3, count, seen=seen, factory_errors=factory, learned_errors=own)
    expected = one(golden_means.guard_decide(learned, 2))
    inputs = {"count": count, "seen": one(seen), "factory": one(factory), "own": one(own)}
    assert_function("GuardDecide", inputs, [expected], ["int32"], groups=[3, 2])


def test_the_yardstick_covers_all_of_the_state():
    """A field that a learning step left out would be compared with itself."""
    rng = np.random.default_rng(3)
    constants, learned, trace = golden_means.random_case(rng, 3, 2, 8)
    changed = set()
    for label in (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1):
        after = golden_means.learn(trace, label, learned, constants)
        changed |= {
            f.name for f in fields(after) if not np.array_equal(getattr(after, f.name), getattr(learned, f.name))
        }
        learned = after
    assert changed >= {"weight", "bias", "sum", "count", "last", "run", "seen"}
