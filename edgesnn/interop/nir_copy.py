"""A program: reads the NIR file of its first argument and writes what that holds to its second (`nir_file`)."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import nir

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

#: Memory that the libraries take, and what a byte of the file may become: a damaged size may not take all there is.
_LIBRARIES_BYTES, _MOST_A_BYTE = 2 << 30, 16


def main(source: str, target: str) -> str | None:
    """Why it cannot be copied, or None."""
    try:
        _limit(_LIBRARIES_BYTES + _MOST_A_BYTE * Path(source).stat().st_size)
        nir.write(target, nir.read(source), compression=None)
    except Exception as error:  # whatever h5py and nir say of files that are none
        return _unreadable_name(source) or str(error) or type(error).__name__
    return None


def _unreadable_name(source: str) -> str | None:
    """What is wrong with the name of a node that HDF5 took for a path, if there is one."""
    try:
        with h5py.File(source) as file:
            for name, node in file["node/nodes"].items():
                inner = None if "type" in node else node.visit(_node_of)
                if inner is not None:
                    return f"a node named {f'{name}/{inner}'!r}, where a name may hold all but '/'"
    except Exception:  # no such graph: what nir said of it holds
        pass
    return None


def _node_of(path: str) -> str | None:
    """The node whose type lies at this path."""
    return path.removesuffix("/type") if path.endswith("/type") else None


def _limit(most_bytes: int) -> None:
    """Let this process take no more memory, from here on."""
    if resource is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = most_bytes if hard == resource.RLIM_INFINITY else min(most_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
