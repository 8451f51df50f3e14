"""`edgesnn export --window`: a number of time steps, or any; one frame for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Command
from tiny_run import run_folder

from edgesnn.runtime.model import Model, WindowSpec


def test_any_number_of_steps_is_compared_by_verify(edgesnn: Command, tmp_path: Path) -> None:
    assert not edgesnn("export", run_folder(0), "-o", tmp_path, "--window", "dynamic").status
    assert Model.load(tmp_path).window == WindowSpec(None, held=False)
    done = edgesnn("verify", tmp_path, "--backends", "ort")
    assert not done.status
    assert "window" in done.out


def test_a_number_of_steps(edgesnn: Command, tmp_path: Path) -> None:
    assert not edgesnn("export", run_folder(0), "-o", tmp_path, "--window", 3).status
    assert Model.load(tmp_path).window == WindowSpec(3, held=False)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ("--window", "0"),
            "--window: expected 1 or more time steps, or dynamic, got '0'; leave it out for the run's",
        ),
        (("--window", "all"), "--window: expected 1 or more time steps, or dynamic, got 'all'"),
        (
            ("--constant-input",),
            "constant_input: expected images, which may stand still, got frames of a stream; leave",
        ),
    ],
)
def test_one_line_for_what_cannot_be(edgesnn: Command, tmp_path: Path, options: tuple[str, ...], line: str) -> None:
    done = edgesnn("export", run_folder(0), "-o", tmp_path / "out", *options)
    assert done.status == 2
    assert line in done.err
    assert done.err.count("\n") == 1
