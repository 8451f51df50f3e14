"""Which run an exported folder was made from: `DIR/origin.json`, with a path relative to DIR, so that both can move."""

from __future__ import annotations

import json
import os
from pathlib import Path

from edgesnn.errors import ConfigError

FILE = "origin.json"


def write(folder: Path, run: Path) -> None:
    """Record that `folder` was exported from `run`."""
    path = os.path.relpath(run.resolve(), folder.resolve())
    (folder / FILE).write_text(json.dumps({"run": Path(path).as_posix()}) + "\n", encoding="utf-8")


def read(folder: Path) -> Path:
    """The run that `folder` was exported from.

    Raises:
        ConfigError: that is not recorded, or the run is no longer there.
    """
    try:
        run = folder / str(json.loads((folder / FILE).read_text(encoding="utf-8"))["run"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{folder}: expected a record of the run it was exported from, found none in {FILE}; name it with --run"
        ) from None
    if not run.is_dir():
        raise ConfigError(f"{folder}: expected its run at {run}, found none; name it with --run")
    return run
