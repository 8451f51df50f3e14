"""`edgesnn report --quantization`: the run that a model was exported from, with its own time steps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import Command
from tiny_data import recordings
from tiny_run import run_folder, write_stream

from edgesnn.runtime.model import Model, WindowSpec

CONFIG = """
data = "{}"
steps = 3
epochs = 1
stream = {{ frame = 4, hop = 2 }}
model = {{ kind = "mlp", sizes = [5] }}
quantization = {{ epochs = 1 }}
"""


def test_the_steps_of_a_run_are_those_of_all_that_follows(edgesnn: Command, tmp_path: Path) -> None:
    """Its recordings are too short for the 16 steps of other CSV files."""
    config = tmp_path / "short.toml"
    config.write_text(CONFIG.format(write_stream(tmp_path / "short.csv", recordings(range(8), rows=20))))
    run, quantized, out = tmp_path / "run", tmp_path / "run-quantized", tmp_path / "out"
    for command in (("train", config, "-o", run), ("quantize", run), ("export", quantized, "-o", out)):
        done = edgesnn(*command)
        assert not done.status, done.err
    model = Model.load(out)
    assert (model.time_steps, model.window) == (3, WindowSpec(3, held=False))
    done = edgesnn("report", out, "--quantization")
    assert not done.status, done.err
    assert json.loads((out / "report.json").read_text())["quantization"]["frames"] % 3 == 0


@pytest.fixture
def model(edgesnn: Command, tmp_path: Path) -> Path:
    """Exported from the first run, and moved away from it."""
    assert not edgesnn("export", run_folder(0), "-o", tmp_path / "made").status
    return shutil.move(tmp_path / "made", tmp_path / "a" / "b" / "model")


@pytest.mark.parametrize("record", ["lost", "stale"])
def test_the_run_is_named_where_the_model_does_not_know_it(edgesnn: Command, model: Path, record: str) -> None:
    if record == "lost":
        (model / "origin.json").unlink()
    done = edgesnn("report", model, "--quantization")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "name it with --run" in done.err
    assert not edgesnn("report", model, "--quantization", "--run", run_folder(0)).status
    assert json.loads((model / "report.json").read_text())["quantization"]["frames"]


def test_another_run_is_refused(edgesnn: Command, model: Path) -> None:
    done = edgesnn("report", model, "--quantization", "--run", run_folder(1))
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "expected a model exported from this network" in done.err


def test_a_run_alone_is_refused(edgesnn: Command, model: Path) -> None:
    done = edgesnn("report", model, "--run", run_folder(0))
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "--run: expected it with --quantization" in done.err
