"""The folder that a command writes, made before the work whose results go there, and text that is put there whole."""

import os
from pathlib import Path

from edgesnn.errors import ConfigError


def make(path: str | Path) -> Path:
    """The folder at `path`, created where there is none; ConfigError if there can be none or it cannot be written."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigError(f"{folder}: expected a folder to write, got a file; choose another one") from None
    except OSError as error:
        reason = error.strerror
        raise ConfigError(
            f"{folder}: expected a folder that can be created, got '{reason}'; choose another one"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder}: expected a folder that can be written, got one that cannot; choose another one")
    return folder


def write_text(path: Path, text: str) -> None:
    """Writes beside the target and renames, so that an interruption leaves the older file."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
