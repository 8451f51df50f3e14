"""The manifest of a C package: which board it was exported for."""

from __future__ import annotations

import json
from pathlib import Path

from edgesnn.errors import ModelError

MANIFEST = "package.json"


def cache(package: Path) -> Path:
    """Where what is compiled from a package is kept: beside it, for `build` in it is CMake's."""
    return package.resolve().parent / ".build"


def manifest(board: str, source_hash: str, arena_bytes: int) -> str:
    """The text of a package's manifest."""
    return json.dumps({"board": board, "source_hash": source_hash, "arena_bytes": arena_bytes}, indent=2) + "\n"


def exported_board(package: Path) -> str:
    """The board that the package in this folder was exported for.

    Raises:
        ModelError: there is no package, or its manifest is damaged.
    """
    path = package / MANIFEST
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["board"])
    except OSError:
        raise ModelError(f"{package}: expected a C package, found none; run `edgesnn export ... --format c`") from None
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{path}: expected a manifest with a board, got something else; export the C again") from None
