"""`manifest.json` of compiled libraries: the model and the machine that they are of, and what each takes and gives."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgesnn.errors import ModelError
from edgesnn.runtime.graph import STEPS
from edgesnn.runtime.model import Model

FILE = "manifest.json"
_AGAIN = "compile again"


@dataclass(frozen=True)
class Library:
    """Names of the inputs and outputs in order, and the SHA-256 (hex) of the file."""

    inputs: list[str]
    outputs: list[str]
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """`target` as `export.tvm` takes it; `constant_input`: the window holds x; a library for each graph."""

    source_hash: str
    target: str
    constant_input: bool
    graphs: dict[str, Library]


def sha256(path: Path) -> str:
    """Of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(folder: Path, manifest: Manifest) -> None:
    (folder / FILE).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")


def read(folder: Path, model: Model) -> Manifest:
    """The manifest of libraries that were compiled from this model.

    Raises:
        ModelError: there is none, it is damaged, or of another model.
    """
    path = folder / FILE
    if not path.is_file():
        raise ModelError(f"{folder}: expected compiled graphs, found none; run `edgesnn export` with --format tvm")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        graphs = {name: Library(**entry) for name, entry in content.pop("graphs").items()}
        manifest = Manifest(**content, graphs=graphs)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: expected the manifest of compiled graphs, got {error!r}; {_AGAIN}") from None
    if manifest.source_hash != model.source_hash:
        raise ModelError(
            f"{folder}: expected libraries of model {model.source_hash[:16]}, got {str(manifest.source_hash)[:16]}; "
            f"{_AGAIN}"
        )
    for name, library in graphs.items():
        _check_names(path, model, name, library)
    return manifest


def _check_names(path: Path, model: Model, name: str, library: Library) -> None:
    if name not in ("step", "learn", "window"):
        raise ModelError(f"{path}: expected the graphs step, learn and window, got {name!r}; {_AGAIN}")
    graph = model.graph(name).graph
    for what, entries, named in (("inputs", graph.input, library.inputs), ("outputs", graph.output, library.outputs)):
        expected = {entry.name for entry in entries} - {STEPS}  # which a library of a fixed number has not
        if not _are(named, expected):
            raise ModelError(f"{path}: {name}: {what}: expected {sorted(expected)}, got {named}; {_AGAIN}")


def _are(named: Any, expected: set[str]) -> bool:
    return isinstance(named, list) and len(named) == len(expected) and all(name in expected for name in named)
