"""Generated models on the emulated board: the reference evaluator's integers, and work by their layers."""

from pathlib import Path

import numpy as np
import pytest
from emulated import EMULATED, need
from random_models import RandomModel, Shape

from edgesnn import boards, export
from edgesnn.errors import BudgetError
from edgesnn.export.c_plan import c_plan
from edgesnn.report.collect import measure
from edgesnn.runtime.backends import open_session
from edgesnn.runtime.model import Model
from edgesnn.runtime.profile import profile
from edgesnn.runtime.verify import available, verify

SHAPES = {
    "dense": Shape(),
    "conv": Shape((3, 6, 5), "uint8", (("BinaryConv2d", 9), ("Conv2d", 4), ("BinaryLinear", 10)), pool=True),
    "steps": Shape((13,), "int8", (("BinaryLinear", 33), ("BinaryLinear", 7)), steps=3, bits=8),
}


def own_board(folder: Path, old: str, new: str) -> str:
    """The file of a board that differs from one of the catalogue."""
    text = (boards.SUPPORT.parent / "nucleo-f446re.toml").read_text(encoding="utf-8")
    path = folder / "own.toml"
    path.write_text(text.replace('id = "nucleo-f446re"', 'id = "own"').replace(old, new), encoding="utf-8")
    return str(path)


@pytest.mark.usefixtures("emulator")
def test_a_part_one_can_buy_runs_on_the_board_with_its_core(tmp_path: Path) -> None:
    RandomModel(Shape(), seed=7).write(tmp_path)
    export.c(tmp_path, "nucleo-f446re")
    assert available(Model.load(tmp_path)) == ["reference", "ort", "native", "board"]
    with open_session(tmp_path, "reference") as reference, open_session(tmp_path, "board") as board:
        x = np.arange(13, dtype=np.int8)
        assert reference.step(x).tolist() == board.step(x).tolist()


@pytest.mark.usefixtures("emulator")
def test_firmware_that_does_not_fit_the_part_is_refused(tmp_path: Path) -> None:
    RandomModel(Shape(), seed=7).write(tmp_path)
    export.c(tmp_path, own_board(tmp_path, "bytes = 131072", "bytes = 1000"))  # the arena fits, but not with the stack
    with pytest.raises(BudgetError, match="rand on own: expected at most 524288 bytes of flash and 1000 bytes of RAM"):
        open_session(tmp_path, "board")


def verified_on(board: str, shape: Shape, folder: Path) -> None:
    """Inference and learning, after every step; and the work of each layer is counted."""
    need(board)
    RandomModel(shape, seed=7).write(folder)
    export.c(folder, board)
    checks = verify(folder, ["board"], steps=30)
    assert [check.graph for check in checks] == ["step", "learn", "vectors"]
    assert all(check.equal and check.compared > 0 for check in checks), checks
    assert measure(c_plan(folder), board).instructions_per_learn > 0


@pytest.mark.parametrize("board", EMULATED)
def test_every_emulated_board_computes_the_same(board: str, tmp_path: Path) -> None:
    verified_on(board, SHAPES["dense"], tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("board", EMULATED)
def test_every_emulated_board_computes_the_same_convolutions(board: str, tmp_path: Path) -> None:
    verified_on(board, SHAPES["conv"], tmp_path)


def test_a_model_for_a_small_board_is_refused_with_its_layers(tmp_path: Path) -> None:
    RandomModel(Shape(hidden=(("BinaryLinear", 2500), ("BinaryLinear", 300))), seed=7).write(tmp_path)
    with pytest.raises(BudgetError, match="rand on microbit: expected at most 16384 bytes of RAM, got") as caught:
        export.c(tmp_path, "microbit")
    assert "\n" not in str(caught.value)


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
    assert len(work.by_layer) == len(shape.hidden) + 1
    assert all(count > 0 for count in (*work.by_layer, work.between.total()))
    assert work.instructions_per_learn > 0
