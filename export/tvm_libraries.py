"""Compile the graphs of an exported folder with TVM, for the host or a Linux board.

The function bodies are inlined, constants folded, and the result is imported into Relax with single-stream shapes.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner

from edgesnn.errors import BackendError
from edgesnn.runtime.model import Model
from edgesnn.runtime.tvm import MANIFEST


def tvm(directory: str | Path, target: str = "llvm") -> Path:
    """Compile `step.onnx` and, where present, `window.onnx` and `learn.onnx` into `directory/tvm/*.so`.

    Args:
        directory: folder written by `edgesnn.export.onnx`.
        target: a TVM target; `llvm` is the host.

    Returns:
        The folder of compiled libraries, with a manifest of their inputs and outputs.

    Raises:
        BackendError: TVM is not installed, or does not know the target.
        ModelError: the folder is not a valid export.
    """
    model = Model.load(directory)
    graphs = {
        name: model.graph(name) for name in ("step", "window", "learn") if (model.path / f"{name}.onnx").is_file()
    }
    compiler = _compiler(target)
    out = model.path / "tvm"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    signatures = {name: _compile(compiler, graph, target, out / f"{name}.so") for name, graph in graphs.items()}
    manifest = {"source_hash": model.source_hash, "target": target, "graphs": signatures}
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return out


def _compiler(target: str) -> Any:
    """The TVM package, if it is there and knows the target."""
    try:
        import tvm as compiler
    except ImportError as error:
        raise BackendError(f"tvm: expected the package apache-tvm, got {error}; pip install edgesnn[tvm]") from None
    try:
        compiler.target.Target(target)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise BackendError(
            f"tvm: expected a target that TVM knows, got {target!r} ({reason}); use llvm for the host"
        ) from None
    return compiler


def _compile(compiler: Any, proto: onnx.ModelProto, target: str, path: Path) -> dict[str, list[str]]:
    from tvm.relax.frontend.onnx import from_onnx

    flat = _inline(proto)
    shapes = {entry.name: _single_stream_shape(entry) for entry in flat.graph.input}
    with warnings.catch_warnings(), _captured_stderr():
        warnings.simplefilter("ignore", UserWarning)  # the importer renames inputs, which the manifest makes irrelevant
        module = from_onnx(flat, shape_dict=shapes)
        compiler.compile(module, target=target).export_library(str(path))
    return {"inputs": list(shapes), "outputs": [entry.name for entry in flat.graph.output]}


@contextmanager
def _captured_stderr() -> Iterator[None]:
    """Hold back what TVM's C++ prints, which goes past Python's streams, and show it only if compiling fails.

    It warns of table look-ups out of bounds; the only one here is clipped to its table.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            log.seek(0)
            os.write(kept, log.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _inline(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without functions, with constants folded, and trainable parameters as plain inputs."""
    from onnxscript import optimizer

    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    inputs = {entry.name for entry in bare.graph.input}
    constants = [init for init in bare.graph.initializer if init.name not in inputs]
    del bare.graph.initializer[:]
    bare.graph.initializer.extend(constants)
    folded: onnx.ModelProto = optimizer.optimize(onnx.inliner.inline_local_functions(bare))
    return folded


def _single_stream_shape(entry: Any) -> list[int]:
    return [dim.dim_value if dim.HasField("dim_value") else 1 for dim in entry.type.tensor_type.shape.dim]
