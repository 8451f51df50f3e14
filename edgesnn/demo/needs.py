"""What the demo needs of this machine, looked at before anything that takes time."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from edgesnn import folders
from edgesnn.errors import DataError
from edgesnn.runtime.backends import BACKENDS, check_machine

#: Packages the stages import when they begin, by the extra that installs them.
_PACKAGES = {"train": ("brevitas", "onnxscript", "safetensors", "tomli_w", "torch"), "data": ("seglearn",)}


def check(board: str, out: Path) -> None:
    """Refuse what could only fail after minutes of training.

    Raises:
        BoardError: the board is unknown, or nothing emulates it.
        BackendError: the emulator, a compiler or TVM is missing.
        DataError: a package of the training or of the data is missing.
        ConfigError: `out` is not a folder that can be written.
    """
    for backend in BACKENDS:
        check_machine(backend, board)
    for extra, packages in _PACKAGES.items():
        for package in packages:
            if find_spec(package) is None:
                raise DataError(f"demo: expected the package {package}, found none; pip install 'edgesnn[{extra}]'")
    folders.make(out)
