"""What is told before building: flash within 2 % of the linked firmware, RAM to the byte, and a bound of the stack."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from emulated import need
from random_models import RandomModel, Shape

from edgesnn import boards
from edgesnn.errors import BoardError, ModelError
from edgesnn.export.c_package import c
from edgesnn.runtime import Model
from edgesnn.runtime.board import Harness
from edgesnn.runtime.firmware import build
from edgesnn.runtime.objects import pushed_bytes
from edgesnn.runtime.prediction import predict
from edgesnn.runtime.vectors import random_stream

IMAGE = Shape((2, 6, 7), "uint8", (("Conv2d", 5), ("BinaryConv2d", 6), ("BinaryLinear", 9)), pool=True, steps=2)
WIDE = Shape((40,), hidden=(("BinaryLinear", 64), ("Linear", 48)), neurons=("LIF", "EMPF"))
FEW = [("mps2-an386", Shape()), ("mps2-an385", IMAGE)]
MORE = [
    *((board, shape) for board in ("mps2-an386", "mps2-an385") for shape in (Shape(), IMAGE, WIDE)),
    *((board, WIDE) for board in ("mps3-an547", "riscv32-virt", "mps2-an385-armv6m")),
]


def compare(folder: Path, board: str, shape: Shape, seed: int) -> None:
    RandomModel(shape, seed=seed).write(folder)
    package, chosen, model = c(folder), boards.load(board), Model.load(folder)
    told, linked = predict(package, chosen), build(package, chosen)
    assert abs(told.flash_bytes - linked.flash_bytes) <= 0.02 * linked.flash_bytes
    assert told.ram_bytes == linked.ram_bytes
    harness = Harness(linked)
    for frame, label in zip(*random_stream(model, 20, seed=seed), strict=True):
        harness.step(frame.tobytes())
        if label >= 0:
            harness.learn(int(label))
    seen = harness.info().stack_used_bytes
    harness.close()
    assert seen <= told.stack_bytes <= 2 * seen
    assert max(told.call_stack_bytes["esnn_step"], told.call_stack_bytes["esnn_learn"]) < told.stack_bytes


@pytest.mark.parametrize(("board", "shape"), FEW, ids=["dense-m4", "image-m3"])
def test_what_is_told_is_what_is_linked(tmp_path: Path, board: str, shape: Shape) -> None:
    need(board)
    compare(tmp_path, board, shape, seed=5)


@pytest.mark.long
@pytest.mark.parametrize("seed", [6, 7])
@pytest.mark.parametrize(("board", "shape"), MORE)
def test_over_random_models_and_cores(tmp_path: Path, board: str, shape: Shape, seed: int) -> None:
    need(board)
    compare(tmp_path, board, shape, seed)


@pytest.fixture
def package(fake_package: Path, tmp_path: Path, emulator: str) -> Path:
    """A copy of the fake package that a test may change."""
    return Path(shutil.copytree(fake_package / "src", tmp_path / "c" / "src")).parent


def test_it_is_kept_by_content(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = predict(package, boards.load("mps2-an386"))
    monkeypatch.setattr("edgesnn.runtime.prediction._predict", None)
    assert predict(package, boards.load("mps2-an386")) == first


@pytest.mark.parametrize(
    ("code", "nbytes"),
    [
        ("f0b5 85b0", 20 + 20),  # push {r4-r7, lr}; sub sp, #20
        ("2de9f04f 87b0", 36 + 28),  # push.w {r4-r11, lr}; sub sp, #28
        ("2ded108b", 64),  # vpush {d8-d15}
        ("08b4 2de9f000 2ded048b", 4 + 16 + 16),
        ("7047 00bf", 0),  # bx lr; nop
        ("4ff00000 b4b4", 16),  # mov.w r0, #0; push {r2, r4, r5, r7}
    ],
)
def test_what_thumb_code_pushes(code: str, nbytes: int) -> None:
    assert pushed_bytes(bytes.fromhex(code)) == nbytes


def test_recursion_is_refused(package: Path) -> None:
    source = package / "src" / "fake.c"
    text = source.read_text()
    between = (
        "static int32_t recurse(int32_t depth);\n__attribute__((noinline)) static int32_t between(int32_t depth) {\n"
        "    sink = depth;\n    return recurse(depth) + sink;\n}\n\n"
    )
    at = text.index("__attribute__((noinline)) static int32_t recurse")
    source.write_text(text[:at] + between + text[at:].replace("recurse(depth - 1) +", "between(depth - 1) +"))
    with pytest.raises(
        ModelError, match=r"fake: expected C without recursion, got (recurse|between), which calls itself"
    ):
        predict(package, boards.load("mps2-an386"))


def test_c_that_does_not_compile(package: Path) -> None:
    source = package / "src" / "fake.c"
    source.write_text(source.read_text() + "#error broken\n")
    with pytest.raises(ModelError, match=r"fake: expected C that compiles for mps2-an386, got: .*broken") as caught:
        predict(package, boards.load("mps2-an386"))
    assert "\n" not in str(caught.value)


def test_a_board_without_a_memory_map_is_refused(fake_package: Path) -> None:
    for board in ("host", "raspberry-pi-4"):
        with pytest.raises(BoardError, match=f"board {board}: expected a board with flash and RAM"):
            predict(fake_package, boards.load(board))
