"""The table of backends, what `open` does with it, and all five of them on one model."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from random_models import RandomModel, Shape
from toy import ToySession

from edgesnn import export, runtime
from edgesnn.errors import BackendError, BoardError, EdgesnnError, ModelError
from edgesnn.runtime import backends
from edgesnn.runtime.backends import check_machine
from edgesnn.runtime.session import Session
from edgesnn.runtime.vectors import random_stream
from edgesnn.runtime.verify import verify


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    RandomModel(Shape((5,), hidden=(("BinaryLinear", 4),), steps=2), seed=1).write(path)
    return path


@pytest.mark.parametrize("name", backends.BACKENDS)
def test_the_table_names_sessions(name):
    module, cls = backends.BACKENDS[name]
    assert issubclass(getattr(import_module(module), cls), Session)


def test_ort_is_opened_unless_told_otherwise(folder):
    with runtime.open(folder) as session:
        assert type(session).__name__ == "OrtSession"
    with runtime.open(str(folder), backend="reference") as session:
        assert type(session).__name__ == "ReferenceSession"
        assert session.model.path == folder


@pytest.mark.parametrize("name", ["fpga", "", "ORT"])
def test_an_unknown_backend_is_one_line(folder, name):
    with pytest.raises(BackendError) as error:
        runtime.open(folder, backend=name)
    assert str(error.value) == (
        f"backend: expected one of reference, ort, tvm, native, board, got {name!r}; choose one of them"
    )


def test_a_folder_that_is_none_is_one_line(tmp_path):
    for name in backends.BACKENDS:
        with pytest.raises(ModelError, match="expected a folder"):
            runtime.open(tmp_path / "none", backend=name)


def test_options_reach_the_session(folder, monkeypatch):
    class Boarded(ToySession):
        def __init__(self, model, board):
            super().__init__(model)
            self.board = board

    monkeypatch.setattr("edgesnn.runtime.ort.OrtSession", Boarded)
    assert runtime.open(folder, backend="ort", board="b1").board == "b1"


@pytest.mark.parametrize("name", ["reference", "ort", "tvm", "native"])
def test_an_option_that_a_backend_does_not_take_is_one_line(folder, name):
    with pytest.raises(BackendError) as error:
        runtime.open(folder, backend=name, board="mps2-an386")
    assert str(error.value).startswith(f"backend {name}: expected no option 'board', got one")


def test_a_backend_that_is_not_used_is_not_imported(folder):
    code = (
        "import sys; from edgesnn import runtime\n"
        f"runtime.open({str(folder)!r}, backend='reference').close()\n"
        "print([name for name in ('onnxruntime', 'tvm', 'torch', 'edgesnn.runtime.native') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-P", "-c", code], text=True) == "[]\n"


@pytest.mark.parametrize(
    ("backend", "words"),
    [("tvm", "--format tvm"), ("native", "--format c"), ("board", "--format c")],
)
def test_files_of_a_backend_that_are_missing_are_one_line(folder, backend, words):
    with pytest.raises(EdgesnnError) as error:
        runtime.open(folder, backend=backend)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_all_five_are_equal_and_hand_each_other_their_snapshots(tmp_path, emulator):
    model = RandomModel(Shape((5,), hidden=(("BinaryLinear", 4),), steps=2), seed=1).write(tmp_path)
    export.c(tmp_path, board=emulator)
    export.tvm(tmp_path)
    checks = verify(tmp_path, steps=30)
    assert list(dict.fromkeys(check.backend for check in checks)) == list(backends.BACKENDS)
    assert [check for check in checks if not check.equal or not check.compared] == []

    frames, labels = random_stream(model, 20, 5)
    with runtime.open(tmp_path, backend="reference") as alone:
        snapshot = alone.snapshot()
        for start, name in zip(range(0, 20, 4), ("board", "tvm", "native", "ort", "reference"), strict=True):
            with runtime.open(tmp_path, backend=name) as session:
                session.restore(snapshot)
                for frame, label in zip(frames[start : start + 4], labels[start : start + 4], strict=True):
                    np.testing.assert_array_equal(session.step(frame), alone.step(frame))
                    if label >= 0:
                        session.learn(int(label))
                        alone.learn(int(label))
                snapshot = session.snapshot()
                assert snapshot == alone.snapshot(), name
                session.save(tmp_path / "user.state")
                session.reset()
                session.load(tmp_path / "user.state")
                assert session.snapshot() == snapshot


@pytest.mark.parametrize(
    ("backend", "board", "kind", "words"),
    [
        ("board", "host", BoardError, "expected a board with an emulator"),
        ("board", "z80", BoardError, "got 'z80'"),
        ("board", "mps2-an386", BackendError, "apt-get install qemu-system-arm"),
        ("native", "", BackendError, "C compiler: expected"),
        ("tvm", "", BackendError, "edgesnn[tvm]"),
    ],
)
def test_what_a_machine_lacks_is_one_line(monkeypatch, backend, board, kind, words):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "tvm", None)
    with pytest.raises(EdgesnnError) as error:
        check_machine(backend, board)
    assert type(error.value) is kind
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("backend", ["reference", "ort"])
def test_the_plain_backends_need_nothing_of_a_machine(monkeypatch, backend):
    monkeypatch.setenv("PATH", "")
    check_machine(backend, "")
