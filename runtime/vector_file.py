"""The file `vectors.json`: a stream and the integers it must give, in a form that any language reads.

A tensor is `{"dtype", "shape", "encoding", "data"}`. With encoding `integers`, `data` lists the values in row-major
order, a line of text for each row of the last axis; with `base64`, of large tensors, it is their little-endian bytes.
S time steps, K classes.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgesnn.errors import ModelError
from edgesnn.runtime.model import Array, Model

FILE = "vectors.json"
VERSION = 1
#: Tensors of more values are written as base64.
READABLE = 8192
_STREAM = ("x", "labels", "y")
_COMMENT = (
    "From the factory state, step i reads x[i] and gives y[i]; then labels[i] is learned unless it is -1. "
    "tensors holds every persistent tensor after the last step."
)


@dataclass(frozen=True, eq=False)
class Vectors:
    """x [S, *input shape]; labels int32 [S], -1 where nothing is learned; y int32 [S, K]; persistent tensors by name
    after the last step.
    """

    x: Array
    labels: Array
    y: Array
    tensors: dict[str, Array]


def write(model: Model, vectors: Vectors) -> None:
    """Write `vectors.json` of an exported folder; the same vectors give the same bytes."""
    head = {"_comment": _COMMENT, "format": "edgesnn-vectors", "version": VERSION, "model": model.name,
            "source_hash": model.source_hash}  # fmt: skip
    fields = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    fields += [f' "{name}": {_encoded(getattr(vectors, name))}' for name in _STREAM]
    tensors = [f"  {json.dumps(name)}: {_encoded(value)}" for name, value in vectors.tensors.items()]
    fields.append(' "tensors": {\n' + ",\n".join(tensors) + "\n }")
    (model.path / FILE).write_text("{\n" + ",\n".join(fields) + "\n}\n", encoding="utf-8")


def read(model: Model) -> Vectors:
    """The test vectors of an exported folder.

    Raises:
        ModelError: no such file, one that is malformed, or of another model.
    """
    path = model.path / FILE
    content = _document(path)
    if content.get("version") != VERSION:
        raise ModelError(f"{path}: version: expected {VERSION}, got {content.get('version')!r}; export again")
    if content.get("source_hash") != model.source_hash:
        raise ModelError(
            f"{path}: source_hash: expected vectors of model {model.source_hash[:16]}, "
            f"got {str(content.get('source_hash'))[:16]}; export again"
        )
    if missing := [name for name in (*_STREAM, "tensors") if name not in content]:
        raise ModelError(f"{path}: expected {[*_STREAM, 'tensors']}, got none called {missing}; export again")
    steps = _steps(path, content["labels"])
    stored = content["tensors"]
    known = [tensor.name for tensor in model.tensors]
    if not isinstance(stored, dict) or sorted(stored) != sorted(known):
        got = sorted(stored) if isinstance(stored, dict) else type(stored).__name__
        raise ModelError(f"{path}: tensors: expected {sorted(known)}, got {got}; export again")
    return Vectors(
        _decoded(path, "x", content["x"], model.input.dtype, (steps, *model.input.shape)),
        _decoded(path, "labels", content["labels"], "int32", (steps,)),
        _decoded(path, "y", content["y"], "int32", (steps, len(model.classes))),
        {
            tensor.name: _decoded(path, f"tensors.{tensor.name}", stored[tensor.name], tensor.dtype, tensor.shape)
            for tensor in model.tensors
        },
    )


def _encoded(value: Array) -> str:
    head = {"dtype": value.dtype.name, "shape": list(value.shape)}
    if value.size > READABLE:
        raw = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
        return json.dumps({**head, "encoding": "base64", "data": base64.b64encode(raw).decode()})
    rows = value.reshape(-1, value.shape[-1]).tolist()
    lines = ",\n   ".join(json.dumps(row, separators=(",", ":"))[1:-1] for row in rows)
    return json.dumps({**head, "encoding": "integers"})[:-1] + f', "data": [\n   {lines}]}}'


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"{path}: expected test vectors, found no file; export again")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: expected JSON, got a file that does not parse ({error}); export again") from None
    if not isinstance(content, dict) or content.get("format") != "edgesnn-vectors":
        raise ModelError(f'{path}: expected an object with "format": "edgesnn-vectors", got another; export again')
    return content


def _steps(path: Path, labels: object) -> int:
    shape = labels.get("shape") if isinstance(labels, dict) else None
    if isinstance(shape, list) and len(shape) == 1 and type(shape[0]) is int and shape[0] > 0:
        return shape[0]
    raise ModelError(f"{path}: labels: expected the shape [steps] of one or more steps, got {shape!r}; export again")


def _decoded(path: Path, name: str, entry: object, dtype: str, shape: tuple[int, ...]) -> Array:
    """One tensor; what it says of itself is compared with the model before any of its values is looked at."""
    head = {key: entry.get(key) for key in ("dtype", "shape")} if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or head != {"dtype": dtype, "shape": list(shape)}:
        got = f"{head['dtype']} {head['shape']}" if head else type(entry).__name__
        raise ModelError(f"{path}: {name}: expected {dtype} {list(shape)}, got {got}; export again")
    encoding, data = entry.get("encoding"), entry.get("data")
    count = int(np.prod(shape, dtype=np.int64))
    if encoding == "integers" and isinstance(data, list):
        return _integers(path, name, data, dtype, count).reshape(shape)
    if encoding == "base64" and isinstance(data, str):
        return _bytes(path, name, data, dtype, count).reshape(shape)
    raise ModelError(
        f"{path}: {name}: expected encoding integers with a list, or base64 with a text, got {encoding!r} with "
        f"{type(data).__name__}; export again"
    )


def _integers(path: Path, name: str, data: list[Any], dtype: str, count: int) -> Array:
    limits = np.iinfo(dtype)
    wrong = next((i for i, v in enumerate(data) if type(v) is not int or not limits.min <= v <= limits.max), None)
    if wrong is not None:
        raise ModelError(f"{path}: {name}[{wrong}]: expected an integer of {dtype}, got {data[wrong]!r}; export again")
    if len(data) != count:
        raise ModelError(f"{path}: {name}: expected {count} integers, got {len(data)}; export again")
    return np.array(data, dtype)


def _bytes(path: Path, name: str, data: str, dtype: str, count: int) -> Array:
    kind = np.dtype(dtype).newbyteorder("<")
    try:
        raw = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise ModelError(f"{path}: {name}: expected base64, got {error}; export again") from None
    if len(raw) != count * kind.itemsize:
        raise ModelError(f"{path}: {name}: expected {count * kind.itemsize} bytes, got {len(raw)}; export again")
    return np.frombuffer(raw, kind).astype(dtype)
