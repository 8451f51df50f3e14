"""Random streams: repeatable, over the whole range, and labelled where the model learns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import make_model

from edgesnn.runtime.vectors import random_stream


@pytest.fixture(scope="module", params=[((6,), "int8"), ((2, 3, 4), "uint8")], ids=["int8", "uint8 image"])
def model(request):
    model = make_model(None, request.param[0])
    model.input = type(model.input)(*request.param, 1.0, (0.0,), (1.0,))
    return model


@given(st.integers(0, 50), st.integers(0, 2**32 - 1))
def test_shape_range_and_repetition(model, steps, seed):
    frames, labels = random_stream(model, steps, seed)
    assert frames.shape == (steps, *model.input.shape)
    assert frames.dtype == model.input.dtype
    assert (labels.shape, labels.dtype) == ((steps,), np.int32)
    assert set(labels.tolist()) <= {-1, 0, 1, 2}
    again = random_stream(model, steps, seed)
    np.testing.assert_array_equal(frames, again[0])
    np.testing.assert_array_equal(labels, again[1])


def test_all_values_and_all_labels_come(model):
    frames, labels = random_stream(model, 700, 1)
    limits = np.iinfo(model.input.dtype)
    assert (frames.min(), frames.max()) == (limits.min, limits.max)
    assert set(labels.tolist()) == {-1, 0, 1, 2}
    assert 0.4 < (labels >= 0).mean() < 0.6


def test_loud_and_silent_steps_take_turns(model):
    loudness = [np.abs(frame.astype(int)).mean() for frame in random_stream(model, 70, 2)[0]]
    assert min(loudness) == 0
    assert max(loudness) > 40
    assert all(np.mean(loudness[i::7]) != np.mean(loudness[j::7]) for i in range(7) for j in range(i))


def test_another_seed_is_another_stream(model):
    assert (random_stream(model, 9, 1)[0] != random_stream(model, 9, 2)[0]).any()


def test_a_model_that_does_not_learn_gets_no_labels(model):
    model.learn, kept = None, model.learn
    assert (random_stream(model, 40, 1)[1] == -1).all()
    model.learn = kept
