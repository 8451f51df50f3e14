"""The runtime's kernels as one shared library, called through ctypes."""

from __future__ import annotations

import ctypes
from importlib.resources import as_file, files

import pytest

from edgesnn.runtime.build import shared_library


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernels")
    with as_file(files("edgesnn.runtime") / "c") as c:
        sources = sorted((c / "src").glob("*.c"))
        library = shared_library("kernels", sources, [c / "include", c / "src"], folder)
    lib = ctypes.CDLL(str(library))
    for name in ("esnn_mix", "esnn_crc32", "esnn_random_key", "esnn_random"):
        getattr(lib, name).restype = ctypes.c_uint32
    lib.esnn_strerror.restype = ctypes.c_char_p
    return lib


@pytest.fixture(scope="session")
def nor_folder(tmp_path_factory):
    """Where the emulated flash is compiled, once."""
    return tmp_path_factory.mktemp("nor")
