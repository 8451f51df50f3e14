"""Where files are kept that can be had again: fetched data, simulated events, environments of other libraries."""

import os
from pathlib import Path

from edgesnn import folders


def folder(name: str) -> Path:
    """`edgesnn/NAME` in the user's cache ($XDG_CACHE_HOME, else ~/.cache), created where there is none.

    Raises:
        ConfigError: it cannot be created or written.
    """
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return folders.make(Path(root) / "edgesnn" / name)
