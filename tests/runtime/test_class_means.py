"""Class means for all groups at once, against one group at a time in integers of Python."""

from __future__ import annotations

from dataclasses import replace

import golden_means
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import exported

from edgesnn.errors import ModelError
from edgesnn.runtime.class_means import learned_means, means_readout, read_learner

SIZES = (st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 3), st.integers(1, 9))


@settings(max_examples=50, deadline=None)
@given(*SIZES)
def test_a_group_has_the_readout_that_learning_one_more_trace_gives_it(
    seed: int, classes: int, means: int, inputs: int
) -> None:
    rng = np.random.default_rng(seed)
    constants, learned, trace = golden_means.random_case(rng, classes, means, inputs)
    after = golden_means.learn_means(trace, int(rng.integers(classes)), replace(learned, run=2**30), constants)
    changed = int(np.flatnonzero((after.count != learned.count) | (after.sum != learned.sum).any(axis=1))[0])
    mean = learned_means(constants.factory_mean, after.sum, after.count, constants.prior)
    weight, bias = means_readout(mean, constants.metric, constants.shift, constants.bias_limit)
    np.testing.assert_array_equal(weight[changed], after.weight[changed])
    assert bias[changed] == after.bias[changed]
    assert (weight.dtype, bias.dtype) == (np.int8, np.int32)


@given(st.integers(0, 2**32 - 1), st.integers(0, 9))
def test_a_mean_that_nobody_labelled_is_the_factorys(seed: int, power: int) -> None:
    factory = np.random.default_rng(seed).integers(0, 2**15, (3, 4)).astype(np.int16)
    nothing = np.zeros((3, 4), np.int32)
    np.testing.assert_array_equal(learned_means(factory, nothing, nothing[:, 0], 2**power), factory)


def test_the_learner_of_a_model_is_that_of_its_graph() -> None:
    model = exported("means")
    learner = read_learner(model)
    assert model.learn is not None
    assert (learner.prior, learner.most) == (model.learn.numbers["prior"], model.learn.numbers["most"])
    weight, bias = means_readout(learner.factory_mean, learner.metric, learner.shift, learner.bias_limit)
    np.testing.assert_array_equal(weight, model.factory["means.weight"])
    np.testing.assert_array_equal(bias, model.factory["means.bias"])
    assert weight.any()


def test_a_model_of_another_scope_has_no_class_means() -> None:
    with pytest.raises(ModelError, match="got one that learns readout; export again with --learn means"):
        read_learner(exported("readout"))
