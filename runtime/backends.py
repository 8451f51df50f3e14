"""The table of backends, and `open`, which picks one."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from pathlib import Path

from edgesnn.errors import BackendError
from edgesnn.runtime.model import Model
from edgesnn.runtime.session import Session

#: Backend name -> (module, class). Imported only when asked for, so that a missing package concerns its users alone.
BACKENDS: dict[str, tuple[str, str]] = {
    "reference": ("edgesnn.runtime.reference", "ReferenceSession"),
    "ort": ("edgesnn.runtime.ort", "OrtSession"),
    "tvm": ("edgesnn.runtime.tvm", "TvmSession"),
    "native": ("edgesnn.runtime.native", "NativeSession"),
    "board": ("edgesnn.runtime.board", "BoardSession"),
}


def check_machine(backend: str, board: str) -> None:
    """Look, in no time, for the package, compiler or emulator that a backend needs of this machine.

    Args:
        backend: one of `BACKENDS`.
        board: of the backend `board`; the others do not look at it.

    Raises:
        BackendError: something is not installed.
        BoardError: the board is unknown, or nothing emulates it.
    """
    if backend == "tvm":
        from edgesnn.runtime.tvm import import_tvm

        import_tvm()
    elif backend == "native":
        from edgesnn.runtime.build import find_compiler

        find_compiler()
    elif backend == "board":
        from edgesnn.runtime.board import emulated
        from edgesnn.runtime.emulator import find_emulator
        from edgesnn.runtime.firmware import check_packages

        find_emulator(emulated(board))
        check_packages()


def open_session(directory: str | Path, backend: str = "ort", **options: object) -> Session:
    """Open an exported folder on one backend.

    Args:
        directory: folder written by `edgesnn.export.onnx` (and `export.c` or `export.tvm` for backends that need it).
        backend: one of `reference`, `ort`, `tvm`, `native`, `board`.
        **options: passed to the backend's session, e.g. `board="mps2-an386"` for `board`.

    Raises:
        BackendError: the backend is unknown, does not take an option, or cannot run here.
        ModelError: the folder is not a valid export.
    """
    if backend not in BACKENDS:
        raise BackendError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}; choose one of them")
    module, name = BACKENDS[backend]
    create: type[Session] = getattr(import_module(module), name)
    taken = signature(create).parameters
    for option in options:
        if option not in taken:
            raise BackendError(f"backend {backend}: expected no option '{option}', got one; leave it out")
    return create(Model.load(directory), **options)
