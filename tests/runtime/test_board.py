"""A session on an emulated board: right when it works, quick to say so when it does not."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from emulated import EMULATED, need
from hypothesis import given
from hypothesis import strategies as st

from edgesnn import boards
from edgesnn.errors import BackendError, BoardError, ModelError
from edgesnn.runtime.board import BoardSession, Harness
from edgesnn.runtime.firmware import Firmware, build
from edgesnn.runtime.model import Model

HANG, FAULT, DEEP = 250, 251, 252

pytestmark = pytest.mark.usefixtures("emulator")


@pytest.fixture(scope="module")
def firmware(fake_package: Path, emulator: str) -> Firmware:
    return build(fake_package, boards.load(emulator))


def frame(*values: int) -> bytes:
    return bytes(values).ljust(5, b"\0")


def failure(harness: Harness, x: bytes) -> str:
    with pytest.raises(BackendError) as caught:
        harness.step(x)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("board", EMULATED)
def test_protocol_on_every_emulated_board(fake_package: Path, board: str) -> None:
    need(board)
    harness = Harness(build(fake_package, boards.load(board)))
    about = harness.about
    assert (about.abi, about.arena_bytes, about.input_bytes, about.classes, about.snapshot_bytes) == (1, 64, 5, 3, 12)
    assert np.frombuffer(harness.step(frame(1, 2, 3, 4, 5)), "<i4").tolist() == [1, 15, 0]
    harness.learn(2)
    assert np.frombuffer(harness.step(frame(0, 0, 0, 0, 200)), "<i4").tolist() == [2, 215, 2]
    before = harness.snapshot()
    assert np.frombuffer(before, "<i4").tolist() == [2, 215, 2]
    harness.reset()
    assert np.frombuffer(harness.snapshot(), "<i4").tolist() == [0, 0, 2]
    harness.restore(before)
    assert harness.snapshot() == before
    harness.close()
    harness.close()


@pytest.fixture(scope="module")
def running(firmware: Firmware) -> Iterator[Harness]:
    harness = Harness(firmware)
    yield harness
    harness.close()


@given(st.lists(st.one_of(st.binary(min_size=5, max_size=5), st.integers(0, 2), st.none()), max_size=30))
def test_any_sequence_of_requests(running: Harness, requests: list[bytes | int | None]) -> None:
    running.restore(bytes(12))
    steps, total, label = 0, 0, 0
    for request in requests:
        if request is None:
            running.reset()
            steps, total = 0, 0
        elif isinstance(request, int):
            running.learn(request)
            label = request
        elif request[0] < HANG:
            steps, total = steps + 1, total + sum(request)
            assert np.frombuffer(running.step(request), "<i4").tolist() == [steps, total, label]
        assert np.frombuffer(running.snapshot(), "<i4").tolist() == [steps, total, label]


def test_a_status_of_the_model_becomes_its_text(running: Harness) -> None:
    for _ in range(3):
        with pytest.raises(BackendError, match="the label is not a class"):
            running.learn(3)
    running.learn(1)


def test_stack_is_measured(firmware: Firmware) -> None:
    harness = Harness(firmware)
    used = []
    for depth in (0, 10, 20, 30):
        harness.step(frame(DEEP, depth))
        used.append(harness.info().stack_used_bytes)
    harness.close()
    assert 0 < used[0] < 1024
    assert used[1] - used[0] >= 10 * 128
    assert used[3] - used[2] == used[2] - used[1]


@pytest.mark.parametrize(
    ("board", "trouble", "said"),
    [
        ("mps2-an386", (FAULT,), "fault"),
        ("mps2-an386", (DEEP, 255), "stack overflow"),
        ("microbit", (DEEP, 255), "stack overflow"),  # its emulator ignores wild pointers
        ("riscv32-virt", (FAULT,), "fault"),
        ("riscv32-virt", (DEEP, 255), "stack overflow"),
        ("raspberry-pi-4", (FAULT,), "signal 11"),
    ],
)
def test_a_crash_is_told_at_once(fake_package: Path, board: str, trouble: tuple[int, ...], said: str) -> None:
    need(board)
    harness = Harness(build(fake_package, boards.load(board)))
    start = time.monotonic()
    message = failure(harness, frame(*trouble))
    assert time.monotonic() - start < 5
    assert said in message
    assert board in message


def test_a_hang_ends_after_the_timeout(firmware: Firmware) -> None:
    harness = Harness(firmware, timeout_s=0.5)
    assert "0.5 s" in failure(harness, frame(HANG))


def test_a_closed_harness_says_so(firmware: Firmware) -> None:
    harness = Harness(firmware)
    harness.close()
    assert "closed" in failure(harness, frame(1))


def test_large_replies_and_requests_do_not_deadlock(fake_package: Path, tmp_path: Path, emulator: str) -> None:
    bytes_ = 300_000  # several times what a pipe holds
    package = Path(shutil.copytree(fake_package, tmp_path / "c"))
    header = (package / "src" / "fake.h").read_text(encoding="utf-8")
    header = header.replace("ARENA_BYTES 64", f"ARENA_BYTES {bytes_}").replace("SHOT_BYTES 12", f"SHOT_BYTES {bytes_}")
    (package / "src" / "fake.h").write_text(header, encoding="utf-8")
    harness = Harness(build(package, boards.load(emulator)))
    data = np.random.default_rng(0).bytes(bytes_)
    harness.restore(data)
    assert harness.snapshot() == data
    harness.close()


def test_variables_and_floating_point_are_set_up(fake_package: Path, tmp_path: Path, emulator: str) -> None:
    package = Path(shutil.copytree(fake_package, tmp_path / "c"))
    text = (package / "src" / "fake.c").read_text(encoding="utf-8")
    text = text.replace("[2] = label;", "[2] = (int32_t)(2.5f * (float)table[label]);")
    text = text.replace("static volatile", "static volatile int32_t table[3] = {10, 20, 30};\nstatic volatile", 1)
    (package / "src" / "fake.c").write_text(text, encoding="utf-8")
    firmware = build(package, boards.load(emulator))
    assert not {name for name in firmware.code_bytes if name.startswith("__aeabi_f")}  # the core has a unit for it
    harness = Harness(firmware)
    harness.learn(2)
    assert np.frombuffer(harness.snapshot(), "<i4").tolist() == [0, 0, 75]
    harness.close()


def test_the_emulator_ends_with_its_owner(firmware: Firmware) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from edgesnn import boards\n"
        "from edgesnn.runtime.board import Harness\n"
        "from edgesnn.runtime.firmware import build\n"
        "harness = Harness(build(sys.argv[1], boards.load(sys.argv[2])))\n"
        "print(harness.emulator._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    package = firmware.elf.parent.parent.parent / "c"
    owner = subprocess.run(
        [sys.executable, "-c", script, str(package), firmware.board.id], capture_output=True, text=True, check=False
    )
    assert owner.returncode == -signal.SIGKILL, owner.stderr
    command = Path("/proc", owner.stdout.strip(), "cmdline")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and command.is_file() and b"qemu" in command.read_bytes():
        time.sleep(0.02)
    assert not command.is_file() or b"qemu" not in command.read_bytes()


def test_nothing_is_left_behind(firmware: Firmware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fds = len(list(Path("/proc/self/fd").iterdir()))
    for trouble in (None, FAULT):
        harness = Harness(firmware)
        process = harness.emulator._process
        if trouble is None:
            harness.close()
            assert process.returncode == 0
        else:
            failure(harness, frame(trouble))
        assert process.poll() is not None
    assert len(list(Path("/proc/self/fd").iterdir())) == fds
    assert list(tmp_path.iterdir()) == []


def test_missing_emulator(firmware: Firmware, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BackendError, match="apt-get install qemu-system-arm"):
        Harness(firmware)


def test_emulator_that_does_not_start(firmware: Firmware) -> None:
    with pytest.raises(BackendError, match="no-such-option"):
        Harness(firmware, args=["-no-such-option"])


def test_board_without_emulator(firmware: Firmware) -> None:
    board = firmware.board.model_copy(update={"emulator": None, "emulated_by": "mps2-an386", "id": "real"})
    with pytest.raises(BoardError, match="use mps2-an386"):
        Harness(replace(firmware, board=board))


@pytest.fixture
def model(fake_package: Path) -> Model:
    """The exported folder around the fake package, with the metadata a step graph would carry."""
    meta = {
        "format": "1", "name": "fake", "rule": "sltt", "time_steps": "4", "rate_hz": "50.0",
        "source_hash": "0123456789abcdef" + 48 * "0",
        "classes": json.dumps(["a", "b", "c"]), "frame": "null",
        "input": json.dumps({"shape": [5], "dtype": "uint8", "scale": 1.0, "zero_point": 0, "mean": [0], "std": [1]}),
        "learn": json.dumps({"scope": "readout", "weight_shift": 8, "bias_shift": 8, "seed": 0}),
        "tensors": json.dumps([
            {"name": "seen", "kind": "state", "dtype": "int32", "shape": [2]},
            {"name": "learn.label", "kind": "learner", "dtype": "int32", "shape": [1]},
        ]),
    }  # fmt: skip
    graph = onnx.helper.make_graph([], "step", [], [])
    proto = onnx.helper.make_model(graph)
    onnx.helper.set_model_props(proto, {f"edgesnn.{key}": value for key, value in meta.items()})
    return Model(fake_package.parent, proto)


def test_session(model: Model, emulator: str, tmp_path: Path) -> None:
    with BoardSession(model, emulator) as session:
        y = session.step(np.arange(5, dtype=np.uint8))
        assert (y.dtype, y.tolist()) == (np.int32, [1, 10, 0])
        session.learn(2)
        assert {name: value.tolist() for name, value in session.tensors().items()} == {
            "seen": [1, 10],
            "learn.label": [2],
        }
        session.save(tmp_path / "user.state")
        session.reset()
        assert session.step(np.ones(5, np.uint8)).tolist() == [1, 5, 2]
        assert session.info().stack_used_bytes > 0
    with BoardSession(model, emulator) as session:
        session.load(tmp_path / "user.state")
        assert session.step(np.zeros(5, np.uint8)).tolist() == [2, 10, 2]


def test_session_of_another_model(model: Model, emulator: str) -> None:
    model.source_hash = "1" + model.source_hash[1:]
    with pytest.raises(ModelError, match="got 0123456789abcdef"):
        BoardSession(model, emulator)


def test_session_on_a_board_nothing_emulates(model: Model, emulator: str) -> None:
    with pytest.raises(BoardError, match="native"):
        BoardSession(model, "host")
    with pytest.raises(BoardError, match="expected one of"):
        BoardSession(model, "unknown")
