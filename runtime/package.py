"""The manifest of a C package: which board it was exported for, and which files are ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from edgesnn.errors import ModelError

MANIFEST = "package.json"


def cache(package: Path) -> Path:
    """Where what is compiled from a package is kept: beside it, for `build` in it is CMake's."""
    return package.resolve().parent / ".build"


def manifest(board: str, source_hash: str, arena_bytes: int, files: Sequence[str]) -> str:
    """The text of a package's manifest. `board` is an id, or the name of a board file in the package."""
    content = {"board": board, "source_hash": source_hash, "arena_bytes": arena_bytes, "files": sorted(files)}
    return json.dumps(content, indent=2) + "\n"


def written_files(package: Path) -> list[str] | None:
    """The files that the last export wrote into this folder, or None if it holds no package of ours."""
    try:
        files = json.loads((package / MANIFEST).read_text(encoding="utf-8"))["files"]
        paths = [PurePosixPath(str(name)) for name in files]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if any(path.is_absolute() or ".." in path.parts for path in paths) else [str(path) for path in paths]


def exported_board(package: Path) -> str:
    """The board that the package in this folder was exported for, as `edgesnn.boards.load` takes it.

    Raises:
        ModelError: there is no package, or its manifest is damaged.
    """
    path = package / MANIFEST
    try:
        board = str(json.loads(path.read_text(encoding="utf-8"))["board"])
    except OSError:
        raise ModelError(f"{package}: expected a C package, found none; run `edgesnn export ... --format c`") from None
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{path}: expected a manifest with a board, got something else; export the C again") from None
    return str(package / board) if board.endswith(".toml") else board
