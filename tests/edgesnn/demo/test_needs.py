"""The demo refuses at once what it could not finish."""

from __future__ import annotations

import pytest

from edgesnn import demo
from edgesnn.demo import needs, story
from edgesnn.errors import BackendError, BoardError, ConfigError, DataError


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    monkeypatch.setattr(story, "_make", lambda *_: pytest.fail("training began"))


@pytest.fixture
def complete(monkeypatch):
    """A machine that lacks nothing."""
    monkeypatch.setattr(needs, "check_machine", lambda backend, board: None)
    monkeypatch.setattr(needs, "find_spec", lambda package: object())


@pytest.mark.parametrize(("board", "words"), [("host", "expected a board with an emulator"), ("z80", "got 'z80'")])
def test_a_board_that_cannot_be_emulated_is_refused_before_training(tmp_path, board, words):
    with pytest.raises(BoardError, match=words):
        demo.run(board=board, out=tmp_path)


def test_a_missing_emulator_is_told_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda program: None if program.startswith("qemu") else "/usr/bin/cc")
    with pytest.raises(BackendError, match="apt-get install qemu-system-arm"):
        demo.run(out=tmp_path)


@pytest.mark.parametrize(("package", "extra"), [("seglearn", "data"), ("brevitas", "train"), ("torch", "train")])
def test_a_missing_package_is_told_before_training(tmp_path, monkeypatch, complete, package, extra):
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(DataError, match=rf"{package}.*edgesnn\[{extra}\]"):
        demo.run(out=tmp_path)


def test_every_backend_is_looked_at(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(needs, "check_machine", lambda backend, board: seen.append((backend, board)))
    needs.check("mps2-an386", tmp_path)
    assert seen == [(name, "mps2-an386") for name in ("reference", "ort", "tvm", "native", "board")]


def test_an_out_that_is_a_file_is_told_before_training(tmp_path, complete):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file: expected a folder"):
        demo.run(out=tmp_path / "file")
