"""The flash layer under the address and undefined-behaviour sanitizers, where the compiler has them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import edgesnn.runtime
from edgesnn.runtime.build import find_compiler
from edgesnn.runtime.nor import SOURCES

FLAGS = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsanitize=address,undefined",
         "-fno-sanitize-recover=all"]  # fmt: skip


def test_every_cut_is_clean_under_the_sanitizers(tmp_path):
    c = Path(edgesnn.runtime.__file__).parent / "c"
    compiler = [*find_compiler(), *FLAGS, *(f"-I{c / folder}" for folder in ("include", "src", "host"))]
    empty = tmp_path / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    probe = subprocess.run([*compiler, "-o", tmp_path / "empty", empty], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("the compiler has no sanitizers")
    program = tmp_path / "sanitized"
    sources = [*(c / source for source in SOURCES), Path(__file__).parent / "flash_sanitized" / "main.c"]
    subprocess.run([*compiler, "-o", program, *sources], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
