"""The soak of the native runtime: small in every run, ten million steps in the long one; it sees a wrong bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgesnn.bench.cases import soak_stream
from edgesnn.bench.cases.soak_stream import Plan
from edgesnn.runtime import state
from edgesnn.runtime.native import NativeSession

SMALL = Plan(steps=20_000, batch=500, windows=4, window=5, kills=1)


def check(figures, plan):
    assert figures["steps"] >= plan.steps
    assert figures["differences"] == 0
    assert (figures["windows"], figures["kills"]) == (plan.windows, plan.kills)
    assert all(figures[key] > 0 for key in ("resets", "labels", "saves", "restarts"))


def test_a_small_soak(small_model, tmp_path):
    check(soak_stream.measure(small_model, SMALL, tmp_path).figures, SMALL)


def test_a_wrong_logit_and_a_wrong_state_are_seen(small_model, tmp_path, monkeypatch):
    run = NativeSession.run

    def wrong(session, *events):
        y = run(session, *events)
        if len(y) == SMALL.window:
            y[2, 0] += 1
            session._arena[0] ^= 1
        return y

    monkeypatch.setattr(NativeSession, "run", wrong)
    assert soak_stream._soak(small_model, SMALL, tmp_path / "s.state")["differences"] == 2 * SMALL.windows


def test_a_batch_that_was_lost_is_seen(small_model, tmp_path):
    path, nobody_killed = tmp_path / "k.state", dataclasses.replace(SMALL, kills=0)
    soak_stream.work(str(small_model.path), str(path), "3")
    assert soak_stream._kill(small_model, nobody_killed, path)["differences"] == 0
    path.unlink()
    factory = small_model.pack(small_model.factory)  # as if the first batch had been saved, and was not
    state.save(path, small_model.model_id, factory)
    assert soak_stream._kill(small_model, nobody_killed, path)["differences"] == 1


@pytest.mark.long
def test_ten_million_steps(small_model, tmp_path):
    plan = Plan()
    figures = soak_stream.measure(small_model, plan, tmp_path).figures
    check(figures, plan)
    assert figures["steps"] >= 10**7
    assert figures["rss_growth_bytes"] < 2**20


def test_a_batch_depends_on_its_number_alone(small_model):
    first, second = soak_stream._Stream(small_model), soak_stream._Stream(small_model)
    second.batch(3, 50)
    for one, other in zip(first.batch(7, 50), second.batch(7, 50), strict=True):
        np.testing.assert_array_equal(one, other)
