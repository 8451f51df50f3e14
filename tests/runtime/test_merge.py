"""Merging states: sums that add up, in any order, and readouts whose means are rounded half to even."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import exported, movements

from edgesnn import runtime
from edgesnn.errors import ConfigError, ModelError, StateError
from edgesnn.runtime import stream
from edgesnn.runtime.merge import merge
from edgesnn.runtime.model import Array
from edgesnn.runtime.stream import Row

FEW = settings(max_examples=20, deadline=None)
SEEDS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4)


def learned_state(person: int = 4) -> bytes:
    with runtime.open(exported("means").path) as session:
        rows = [Row(row, part.label) for part in movements(person) for row in part.rows]
        list(stream.adapt(session, rows))
        return session.snapshot()


def random_state(seed: int, scope: str) -> dict[str, Array]:
    """Any state that a device may have, its membranes and its guard in the middle of something."""
    rng, model = np.random.default_rng(seed), exported(scope)
    state = {t.name: rng.integers(-90, 90, t.shape).astype(t.dtype) for t in model.tensors}
    if scope == "means":
        count = rng.integers(0, 2048, state["means.count"].shape)
        total = rng.integers(0, 2**15, state["means.sum"].shape) * count[:, None]
        return state | {"means.count": count.astype(np.int32), "means.sum": total.astype(np.int32)}
    return state | {"learn.count": rng.integers(0, 2**31, 1).astype(np.int32)}


def merged(states: Sequence[dict[str, Array]], scope: str) -> dict[str, Array]:
    model = exported(scope)
    return model.unpack(merge(model, [model.pack(state) for state in states]))


def test_one_devices_state_keeps_what_it_learned() -> None:
    """Weights and biases, computed anew, are those that the device's own graph computed."""
    model, snapshot = exported("means"), learned_state()
    before, after = model.unpack(snapshot), model.unpack(merge(model, [snapshot]))
    for name in before:
        if name.startswith("means."):
            np.testing.assert_array_equal(after[name], before[name])
        else:
            assert not after[name].any()
    assert (before["means.weight"] != model.factory["means.weight"]).any()


@FEW
@given(SEEDS)
def test_sums_add_up_and_counts_stay_below_most(seeds: list[int]) -> None:
    states = [random_state(seed, "means") for seed in seeds]
    after = merged(states, "means")
    total = sum(state["means.sum"].astype(object) for state in states)
    count = sum(state["means.count"].astype(object) for state in states)
    for group, labels in enumerate(count):
        halvings = 0
        while labels >> halvings >= 2048:
            halvings += 1
        assert after["means.count"][group] == labels >> halvings
        assert (after["means.sum"][group] == total[group] >> halvings).all()
    assert not any(after[name].any() for name in after if not name.startswith("means."))


@FEW
@given(SEEDS, st.sampled_from(["means", "readout"]))
def test_the_order_of_the_devices_does_not_matter(seeds: list[int], scope: str) -> None:
    model = exported(scope)
    packed = [model.pack(random_state(seed, scope)) for seed in seeds]
    assert merge(model, packed) == merge(model, packed[::-1]) == merge(model, sorted(packed))


@FEW
@given(SEEDS)
def test_readouts_are_averaged_and_rounded_half_to_even(seeds: list[int]) -> None:
    states = [random_state(seed, "readout") for seed in seeds]
    after = merged(states, "readout")
    for name in ("readout.weight", "readout.bias"):
        exact = [[round(sum(int(v) for v in column) / len(states)) for column in zip(*rows, strict=True)]
                 for rows in zip(*(np.atleast_2d(state[name]) for state in states), strict=True)]  # fmt: skip
        np.testing.assert_array_equal(np.atleast_2d(after[name]), exact)
    assert after["learn.count"] == sum(int(state["learn.count"][0]) for state in states) % 2**31
    assert not after["readout.trace"].any()


def test_what_cannot_be_merged_is_refused() -> None:
    model = exported("means")
    with pytest.raises(ConfigError, match="at least one state"):
        merge(model, [])
    with pytest.raises(StateError, match="belongs to another model"):
        merge(model, [b"short"])


def test_a_model_that_does_not_learn_is_refused() -> None:
    model = exported("means")
    fixed = type(model)(model.path, model.step)
    fixed.learn = None
    with pytest.raises(ModelError, match="learns means or readout, got one that learns nothing"):
        merge(fixed, [model.pack(model.factory)])
