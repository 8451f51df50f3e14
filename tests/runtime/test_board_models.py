"""Generated models on the emulated board: the reference evaluator's integers, and work by their layers."""

from pathlib import Path

import numpy as np
import pytest
from random_models import RandomModel, Shape

from edgesnn import boards, export
from edgesnn.runtime.backends import open_session
from edgesnn.runtime.profile import profile

SHAPES = {
    "dense": Shape(),
    "conv": Shape((3, 6, 5), "uint8", (("BinaryConv2d", 9), ("Conv2d", 4), ("BinaryLinear", 10)), pool=True),
    "steps": Shape((13,), "int8", (("BinaryLinear", 33), ("BinaryLinear", 7)), steps=3, bits=8),
}


@pytest.mark.parametrize("name", SHAPES)
def test_board_equals_reference(name: str, emulator: str, tmp_path: Path) -> None:
    shape = SHAPES[name]
    RandomModel(shape, seed=7).write(tmp_path)
    export.c(tmp_path, emulator)
    rng = np.random.default_rng(3)
    limits = np.iinfo(shape.input_dtype)
    frames = rng.integers(limits.min, limits.max + 1, (40, *shape.input_shape)).astype(shape.input_dtype)
    labels = rng.integers(0, shape.classes, len(frames))
    with open_session(tmp_path, "reference") as reference, open_session(tmp_path, "board", board=emulator) as board:
        for t, (x, label) in enumerate(zip(frames, labels, strict=True)):
            assert reference.step(x).tolist() == board.step(x).tolist()
            if t % 3 == 0:
                reference.learn(int(label))
                board.learn(int(label))
            if t == 20:
                reference.reset()
                board.reset()
        assert reference.snapshot() == board.snapshot()
    work = profile(tmp_path / "c", boards.load(emulator), frames, labels.tolist())
    assert list(work.by_layer) == [*(f"fc{i}" for i in range(len(shape.hidden))), "readout", "step"]
    assert all(count > 0 for count in work.by_layer.values())
    assert work.instructions_per_learn > 0
