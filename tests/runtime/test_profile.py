"""Instruction counts: the same on every run, told apart by layer and by function, without the harness."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgesnn import boards
from edgesnn.errors import DataError
from edgesnn.runtime.profile import Profile, profile

pytestmark = pytest.mark.usefixtures("emulator")


def spin_frames(turns: int, count: int = 4) -> np.ndarray:
    return np.tile(np.array([1, turns, 0, 0, 0], np.uint8), (count, 1))


def count(package: Path, turns: int, labels: list[int] | None = None) -> Profile:
    return profile(package, boards.load("mps2-an386"), spin_frames(turns), labels)


def test_two_runs_are_equal(fake_package: Path) -> None:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 200, (50, 5), np.uint8)
    labels = rng.integers(-1, 3, 50).tolist()
    first, second = (profile(fake_package, boards.load("mps2-an386"), frames, labels) for _ in range(2))
    assert first == second
    assert first.learns == sum(label >= 0 for label in labels)


def test_work_is_told_apart_by_layer_and_function(fake_package: Path) -> None:
    short, middle, long = (count(fake_package, turns) for turns in (40, 80, 120))
    more = middle.by_function["spin"] - short.by_function["spin"]  # 40 turns
    assert 40 <= more <= 240
    assert long.by_function["spin"] - middle.by_function["spin"] == more
    (short_sum, short_spin), (long_sum, long_spin) = short.by_layer, long.by_layer
    assert long_spin - short_spin == 2 * more  # the kernel counts to the layer that calls it
    assert (short_sum, short.between) == (long_sum, long.between)
    assert short.instructions_per_step == sum(short.by_function.values())
    assert short.instructions_per_step == sum(short.by_layer) + short.between.total() / 4


@pytest.mark.parametrize("name", ["sum", "9_step"])
def test_layers_are_told_apart_by_their_place_whatever_their_names(fake_package: Path, tmp_path: Path, name) -> None:
    package = tmp_path / "c"
    shutil.copytree(fake_package, package)
    code = package / "src" / "fake.c"
    code.write_text(code.read_text().replace("fake_layer_1_spin", f"fake_layer_1_{name}"))
    renamed, found = count(package, 40), count(fake_package, 40)
    assert renamed.by_layer == found.by_layer
    assert renamed.between == found.between


def test_learning_is_counted_apart(fake_package: Path) -> None:
    without, some, all_ = (count(fake_package, 9, labels) for labels in (None, [1, -1, 2, -1], [0, 1, 2, 0]))
    assert without.instructions_per_learn == 0
    assert some.instructions_per_learn == all_.instructions_per_learn > 200
    assert without.instructions_per_step == some.instructions_per_step == all_.instructions_per_step
    assert (some.learns, all_.learns) == (2, 4)


def test_harness_is_left_out(fake_package: Path) -> None:
    names = set(count(fake_package, 3, [0, 0, 0, 0]).by_function)
    assert names == {"step", "esnn_step", "fake_layer_0_sum", "fake_layer_1_spin", "spin"}


@pytest.mark.parametrize("frames", [np.zeros((0, 5), np.uint8), np.zeros((2, 4), np.uint8), np.zeros((2, 5), np.int32)])
def test_wrong_frames(fake_package: Path, frames: np.ndarray) -> None:
    with pytest.raises(DataError, match="frame"):
        profile(fake_package, boards.load("mps2-an386"), frames)


def test_wrong_number_of_labels(fake_package: Path) -> None:
    with pytest.raises(DataError, match="3 labels"):
        count(fake_package, 3, [0, 0, 0])
