"""Variations of inertial windows against what they mean physically."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import edgesnn as es
from edgesnn.data import Variation
from edgesnn.data.variation import draw, played, rotation, varied

NOTHING = draw(Variation(0.0, 0.0, 0.0), np.ones(5))
ROWS = np.random.default_rng(0).normal(size=(40, 6))


def test_no_deviation_is_no_change():
    np.testing.assert_allclose(varied(ROWS, 3, 20, NOTHING), ROWS[3:23])


def test_draw_scales_standard_normal_values():
    change = draw(Variation(0.1, 10.0, 0.2), np.array([1.0, 1.0, 0.0, -1.0, -2.0]))
    assert change.tempo == pytest.approx(np.exp(0.1))
    assert change.vigour == pytest.approx(np.exp(-0.4))
    np.testing.assert_allclose(change.turn, np.radians([10, 0, -10]))


def test_rotation_about_z_by_a_quarter_turn():
    np.testing.assert_allclose(rotation(np.array([0, 0, np.pi / 2])) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_rotation_is_orthogonal_for_any_turn():
    for turn in np.random.default_rng(1).normal(size=(20, 3)):
        matrix = rotation(turn)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(matrix @ turn, turn)


def test_playing_faster_reads_rows_further_apart():
    ramp = np.arange(30.0)[:, None]
    np.testing.assert_allclose(played(ramp, 2, 10, 2.0)[:, 0], 2 + 2 * np.arange(10))
    np.testing.assert_allclose(played(ramp, 2, 10, 0.5)[:, 0], 2 + 0.5 * np.arange(10))
    assert played(ramp, 20, 10, 1.0)[-1, 0] == 29


def test_tempo_and_vigour_scale_turning_and_not_gravity():
    still = np.tile([0.0, 0.6, 0.8, 1.0, 2.0, 2.0], (40, 1))
    result = varied(still, 0, 10, replace(NOTHING, tempo=1.5, vigour=2.0, turn=np.array([0.3, -0.2, 0.9])))
    np.testing.assert_allclose(np.linalg.norm(result[:, :3], axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(result[:, 3:], axis=1), 9)
    assert not np.allclose(result[0, :3], still[0, :3])


def test_training_on_the_watch_is_varied_and_evaluation_is_not():
    data = es.data.watch()
    plain = replace(data, variation=None)

    def first(dataset, seed=0):
        return next(dataset.training_batches(8, 32, torch.Generator().manual_seed(seed)))[0]

    assert torch.equal(first(data), first(data))
    assert not torch.equal(first(data), first(plain))
    assert first(data).isfinite().all()
    a, b = (next(d.evaluation_batches("validation"))[0] for d in (data, plain))
    assert torch.equal(a, b)
    still = replace(data, variation=Variation(0.0, 0.0, 0.0))
    count = [
        sum(len(y) for _, y in d.training_batches(8, 32, torch.Generator().manual_seed(0))) for d in (still, plain)
    ]
    assert abs(count[0] - count[1]) <= 8  # the drawn phases differ, the coverage does not
