"""`edgesnn export --learning-rate`: halved, it takes one more shift; one that integers cannot follow is refused."""

from __future__ import annotations

from pathlib import Path

from command_line import Command
from tiny_run import run_folder

from edgesnn.runtime.model import Model


def test_half_the_rate_is_one_more_shift(edgesnn: Command, tmp_path: Path) -> None:
    shifts = []
    for rate in ("0.5", "0.25"):
        done = edgesnn("export", run_folder(0), "-o", tmp_path, "--learn", "readout", "--learning-rate", rate)
        assert not done.status
        shifts.append(Model.load(tmp_path).learn.numbers["weight_shift"])
    assert shifts[1] == shifts[0] + 1


def test_a_rate_out_of_reach_is_one_line(edgesnn: Command, tmp_path: Path) -> None:
    done = edgesnn("export", run_folder(0), "-o", tmp_path, "--learn", "readout", "--learning-rate", "1e12")
    assert done.status == 2
    assert "expected a learning rate from" in done.err
    assert done.err.count("\n") == 1
