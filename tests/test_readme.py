"""The README's program runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def program() -> str:
    [block] = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return block


@pytest.mark.long
def test_the_program_of_the_readme_runs_and_decides(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(program(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = re.search(r"^said (\w+), was (\w+)$", done.stdout, re.MULTILINE)
    assert said is not None, done.stdout
    assert said[1] == said[2]  # the last of many frames of one exercise, each learned with its class
    assert (tmp_path / "out" / "user.state").stat().st_size > 0
