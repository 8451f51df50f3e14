"""The bench `adapt`: what its figures mean, and a device that meets one person by the real C."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_data
import torch

import edgesnn as es
from edgesnn.adaptation import controls, leave_one_out
from edgesnn.bench.cases import adapt
from edgesnn.data import watch
from edgesnn.quant import quantize


def row(person, seed, fixed, learned):
    return {"shift": "person", "person": person, "seed": seed, "fixed": fixed, "learned": learned,
            "unguarded": learned - 0.1, "sgd": 0.5, "offline": 0.9, "labels_alone": 0.8}  # fmt: skip


def test_figures_are_means_and_worst_cases():
    people = [row(1, 0, 0.8, 0.9), row(2, 0, 0.9, 0.92), row(1, 1, 0.7, 0.9), row(2, 1, 0.9, 0.86)]
    arms = [{"fixed": 0.3, "learned": 0.8}, {"fixed": 0.4, "learned": 0.8}]
    found = adapt.summary(people, arms)
    expected = {
        "fixed_mean": 0.825, "learned_mean": 0.895, "gain_mean": 0.07, "worst_delta": -0.01, "worst_run_delta": -0.04,
        "other_arm_gain": 0.45, "offline_control_mean": 0.9, "labels_alone_mean": 0.8, "sgd_mean": 0.5,
        "unguarded_mean": 0.795,
    }  # fmt: skip
    assert dict(found.figures) == pytest.approx(expected)
    assert found.rows == [*people, *arms]
    assert found.plot.count("<polyline") + found.plot.count("<path") >= 3


@pytest.fixture(scope="module")
def tiny():
    data = tiny_data.stream()
    torch.manual_seed(0)
    net = es.models.mlp(data.input_shape[0], [12], len(data.classes), es.EMPF(), "binary", leak=0.9)
    es.fit(net, data, epochs=3, progress=False)
    return quantize(net, calibrate=data, epochs=0).eval(), data


def test_every_person_meets_the_device(tiny):
    qnet, data = tiny
    found = adapt.outcomes(qnet, data, "means")
    assert [outcome.user.person for outcome in found] == [4, 5]
    for outcome in found:
        described = adapt.described(outcome)
        assert described["fixed"] == np.mean(outcome.before == outcome.user.labels)
        assert described["kept"] == outcome.guard.used
        assert outcome.guard.seen == 0  # 16 labels a recording: less than the guard waits for
        assert described["learned"] == described["fixed"]


def test_gradient_descent_is_a_control_without_a_guard(tiny):
    found = adapt.outcomes(*tiny, "readout")
    assert all(outcome.guard is None and outcome.kept for outcome in found)


def test_offline_controls_learn_from_what_they_are_given(tiny):
    """With the labels of three easy classes both are right; with labels of no value they would be near a third."""
    found = controls.offline(*tiny)
    assert 0.5 < found.alone <= 1
    assert 0.5 < found.together <= 1


def test_nobody_who_is_tested_chooses(tmp_path, monkeypatch):
    """The networks that settings are chosen by were trained without the tested person, and judged on two others."""
    seen = []

    def trained(split, settings, seed, path):
        seen.append((split, settings, path.name))
        return len(seen)

    class Judged:
        def __init__(self, accuracy):
            self.accuracy = accuracy

    monkeypatch.setattr(leave_one_out, "trained", trained)
    monkeypatch.setattr(leave_one_out, "evaluate", lambda net, *_, **__: Judged(1 / net))
    assert leave_one_out.chosen(9, tmp_path) == leave_one_out.CANDIDATES[0]
    assert len({name for *_, name in seen}) == len(leave_one_out.CANDIDATES)
    for split, _, _ in seen:
        assert 9 not in {r.person for r in (*split.train, *split.test)}
        validation = {r.person for r in split.test}
        assert len(validation) == 2
        assert not validation & {r.person for r in split.train}
        everybody = np.concatenate([r.rows for r in split.train])
        np.testing.assert_allclose(split.mean, everybody.mean(axis=0, dtype=np.float64))


def test_the_other_arm_was_never_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(leave_one_out, "trained", lambda split, *_: split)
    for arm in leave_one_out.ARMS:
        _, split = leave_one_out.without_arm(arm, 0, tmp_path)
        assert {r.arm for r in split.test} == {arm}
        assert arm not in {r.arm for r in split.train}
        assert len(split.train) + len(split.test) == len(watch().train) + len(watch().validation) + len(watch().test)
