"""The folder that a command writes, made before the work whose results go there, and text that is put there whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Writes a file as `whole` does."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file beside the target, to write within it, which then takes the target's place, so that an interruption leaves
    the older file. ConfigError where it cannot be written, such as on a full disk, and nothing of it stays.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"{path}: expected a file that can be written, got '{reason}'; make room, or choose another folder"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
