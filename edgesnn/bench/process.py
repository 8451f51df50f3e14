"""Memory of this process, as Linux counts it."""

from __future__ import annotations

import os
from pathlib import Path


def resident_bytes() -> int:
    """Memory that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def stack_bytes() -> int:
    """The stack of the main thread: it grows by pages, and never shrinks."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmStk"))
