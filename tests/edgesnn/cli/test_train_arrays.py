"""`edgesnn train --data FILE.npz`: a user's own arrays, from the file to a run that loads again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from command_line import Command

import edgesnn as es


def test_arrays_of_a_file_are_trained(tmp_path: Path, edgesnn: Command) -> None:
    file, run = tmp_path / "mine.npz", tmp_path / "run"
    x, y = np.random.default_rng(0).integers(0, 256, (12, 1, 4, 4)).astype(np.uint8), np.arange(12) % 3
    np.savez(file, train_x=x, train_y=y, validation_x=x[:3], validation_y=y[:3], test_x=x[:3], test_y=y[:3])
    outcome = edgesnn(
        "train", "--model", "mlp", "--rule", "sltt", "--sizes", "8", "--data", file, "--epochs", "1", "-o", run
    )
    assert outcome.status == 0, outcome.err
    assert es.runs.load_run(run).data.classes == ("0", "1", "2")


def test_flags_are_checked_as_a_configuration_is(tmp_path: Path, edgesnn: Command) -> None:
    outcome = edgesnn("train", "mnist-empf", "--seed", 5_000_000_000, "-o", tmp_path / "run")
    assert outcome.status != 0
    assert "train: 'seed': Input should be less than 4294967296, got 5000000000" in outcome.err
    assert not (tmp_path / "run").exists()
