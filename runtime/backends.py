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
