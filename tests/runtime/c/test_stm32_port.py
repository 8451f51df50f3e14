"""The flash port of docs/state.md compiles without a warning, and keeps a state in a stub of the chip."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import edgesnn.runtime
from edgesnn.runtime.build import find_compiler

ROOT = Path(__file__).parents[3]
FLAGS = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror"]


def test_the_port_in_the_documentation_works(tmp_path):
    example, use = re.findall(r"```c\n(.*?)```", (ROOT / "docs" / "state.md").read_text(), re.DOTALL)
    (tmp_path / "port.c").write_text(example)
    (tmp_path / "use.c").write_text(
        '#include "esnn_port.h"\nextern const esnn_flash state_flash;\nvoid use(esnn_net net);\n'
        f"void use(esnn_net net) {{\n{use}}}\n"
    )
    c, stub = Path(edgesnn.runtime.__file__).parent / "c", Path(__file__).parent / "stm32_port"
    sources = [tmp_path / "port.c", tmp_path / "use.c", stub / "main.c"]
    sources += [c / "src" / f"esnn_{name}.c" for name in ("crc32", "flash", "net", "slots")]
    include = [f"-I{folder}" for folder in (c / "include", c / "src", stub)]
    program = tmp_path / "port"
    subprocess.run([*find_compiler(), *FLAGS, *include, "-o", program, *sources], check=True)
    assert subprocess.run([program], check=False).returncode == 0
