"""The programs of docs/streaming.md run as they stand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from random_models import RandomModel, Shape

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")

PAGE = Path(__file__).parents[2] / "docs" / "streaming.md"
CHANNELS = 6


class Sensor(RandomModel):
    """A random network that reads a stream of 50 rows a second."""

    def _metadata(self) -> dict[str, str]:
        frame = json.dumps({"length": 1, "hop": 1, "channels": CHANNELS})
        return super()._metadata() | {"edgesnn.rate_hz": "50", "edgesnn.frame": frame}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out" / "model").mkdir(parents=True)
    shape = Shape((CHANNELS,), hidden=(("BinaryLinear", 4),), classes=3)
    Sensor(shape, seed=2).write(tmp_path / "out" / "model", vectors=False)
    play, program = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (tmp_path / "play.py").write_text(play)
    (tmp_path / "program.py").write_text(program)
    return tmp_path


def test_the_program_learns_from_late_labels(folder: Path) -> None:
    done = subprocess.run([sys.executable, "program.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'event': 'label'") == 4
    assert "learned=600" in done.stdout
    assert (folder / "user.state").stat().st_size > 0


def test_a_file_played_on_a_pseudo_terminal_is_decided_row_by_row(folder: Path) -> None:
    rows = 40
    header = ",".join(f"c{at}" for at in range(CHANNELS))
    (folder / "s.csv").write_text(header + "\n" + rows * (",".join("123456") + "\n"))
    play = [sys.executable, "play.py", "s.csv", "500"]
    with subprocess.Popen(play, cwd=folder, stdout=subprocess.PIPE, text=True) as player:
        assert player.stdout is not None
        port = player.stdout.readline().strip()
        ended = subprocess.run(
            [sys.executable, "-c", "from edgesnn.cli import main; main()", "run", "out/model", "--source", port],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
    assert [json.loads(line)["step"] for line in ended.stdout.splitlines()] == list(range(rows))
    assert ended.returncode == 2  # the file is at its end, and the device gone
    assert "expected a port that stays" in ended.stderr
