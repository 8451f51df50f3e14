"""Compile the graphs of an exported folder with TVM, for the host or a Linux board.

Synapses, neurons and pooling are kernels with schedules of our own; the bodies of all other functions go through TVM's
importer. Shapes are those of a single stream.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx

from edgesnn.export.tvm_targets import TvmTarget, resolve
from edgesnn.export.window import window
from edgesnn.runtime import tvm_manifest
from edgesnn.runtime.model import Model
from edgesnn.runtime.tvm import import_tvm


def tvm(directory: str | Path, target: str = "llvm") -> Path:
    """Compile `step.onnx` and, where present, `window.onnx` and `learn.onnx` into `directory/tvm/*.so`.

    A window of any number of steps is compiled for those of the model.

    Args:
        directory: folder written by `edgesnn.export.onnx`.
        target: `llvm`, which is this machine, with the instructions it has; a Linux board like `raspberry-pi-4`; or a
            triple like `riscv64-linux-gnu`.

    Returns:
        The folder of compiled libraries, with a manifest of their inputs and outputs.

    Raises:
        BackendError: TVM or the linker of another machine is not installed, or the target is unknown.
        ModelError: the folder is not a valid export.
    """
    model = Model.load(directory)
    graphs = {
        name: model.graph(name) for name in ("step", "window", "learn") if (model.path / f"{name}.onnx").is_file()
    }
    if "window" in graphs and model.window.steps is None:  # TVM has no Scan
        graphs["window"] = window(model.step, model.time_steps, held=model.window.held)
    compiler = import_tvm()
    machine = resolve(target, compiler)
    out = model.path / "tvm"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    libraries = {name: _compile(compiler, graph, machine, out / f"{name}.so") for name, graph in graphs.items()}
    held = "window" in graphs and model.window.held
    tvm_manifest.write(out, tvm_manifest.Manifest(model.source_hash, target, held, libraries))
    return out


def _compile(compiler: Any, proto: onnx.ModelProto, machine: TvmTarget, path: Path) -> tvm_manifest.Library:
    from edgesnn.export.tvm_lower import lower

    with _captured_stderr():
        module = lower(proto, vnni=machine.vnni)
        options = {"fcompile": machine.link} if machine.link else {}
        target = compiler.target.Target(machine.options)
        compiler.compile(module, target=target).export_library(str(path), **options)
    return tvm_manifest.Library(
        [entry.name for entry in proto.graph.input],
        [entry.name for entry in proto.graph.output],
        tvm_manifest.sha256(path),
    )


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
