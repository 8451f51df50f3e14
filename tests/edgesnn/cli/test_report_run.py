"""`edgesnn report --quantization`: the run that a model was exported from, with its own time steps."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import Command
from tiny_data import recordings
from tiny_run import write_stream

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
