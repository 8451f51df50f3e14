"""What integers cost: the figures from the cells, and that finished cells are kept."""

from dataclasses import replace

import numpy as np
import pytest

import edgesnn as es
from edgesnn.bench.cases import quantization

TASK = quantization.Task("digits", (4,), k=1, steps=2, epochs=1, tuned=1, lr=1e-2)


def test_losses_are_means_over_seeds_of_cells_that_are_kept(tmp_path, monkeypatch):
    measured = quantization.measure(tmp_path, (TASK,), (0, 1))
    rows = measured.rows
    assert [(row["data"], row["seed"]) for row in rows] == [("digits", 0), ("digits", 1)]
    assert all(0 <= row[name] <= 100 for row in rows for name in ("float", "brevitas", "integer"))
    assert all(row["samples"] > 100 for row in rows)
    assert measured.figures == {
        "loss_integer_digits": pytest.approx(sum(row["brevitas"] - row["integer"] for row in rows) / 2),
        "loss_binary_digits": pytest.approx(sum(row["float"] - row["integer"] for row in rows) / 2),
    }
    monkeypatch.setattr(quantization, "_cell", None)  # nothing is trained again
    assert quantization.measure(tmp_path, (TASK,), (0, 1)) == measured


def test_the_published_table_is_of_three_data_sets_and_seeds():
    assert [task.data for task in quantization.TASKS] == ["watch", "mnist5k", "fashion"]
    assert len(quantization.SEEDS) == 3


def test_folds_test_every_seed_on_other_images_and_keep_the_rest_for_training():
    task = replace(TASK, folds=True)
    folds = [quantization._data(task, quantization._config(task, "float", seed)) for seed in range(3)]
    tested = np.concatenate([fold.test.values for fold in folds])
    assert len(np.unique(tested.reshape(len(tested), -1), axis=0)) > 0.99 * len(tested)  # digits has a few twins
    for fold in folds:
        everything = np.concatenate([fold.train.values, fold.test.values]).reshape(-1, 64)
        assert np.array_equal(
            np.sort(everything.sum(1)),
            np.sort(np.concatenate([folds[0].train.values, folds[0].test.values]).reshape(-1, 64).sum(1)),
        )
    validation = es.data.digits().validation.values
    assert all(np.array_equal(fold.train.values[-len(validation) :], validation) for fold in folds)
