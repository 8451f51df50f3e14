"""Reading a NIR file, which anyone may have damaged, without the risk of ending the program.

NIR is HDF5, whose C library crashes on some damaged files, hangs on others or takes all memory. So a process of its own
reads the file and writes what it understood as a new one; only that is read here.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nir

from edgesnn.errors import InteropError

#: Reads its first argument and writes its second; a file, since importing this package would take torch along.
PROGRAM = Path(__file__).with_name("nir_copy.py")
#: A damaged file may not keep the user waiting for longer.
_SECONDS = 60


def read(path: Path) -> nir.NIRNode:
    """What the file holds.

    Raises:
        InteropError: it cannot be read.
    """
    with TemporaryDirectory(prefix="edgesnn-") as folder:
        copy = Path(folder) / "copy.nir"
        command = [sys.executable, "-P", str(PROGRAM), str(path), str(copy)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise _refused(path, f"no end within {_SECONDS} s") from None
        if done.returncode < 0:
            raise _refused(path, f"a crash of the HDF5 library ({signal.Signals(-done.returncode).name})")
        if done.returncode:
            raise _refused(path, done.stderr)
        return nir.read(copy)


def _refused(path: Path, reason: str) -> InteropError:
    got = " ".join(reason.split())
    return InteropError(f"{path}: expected a NIR file, got what cannot be read: {got}; write it again")
