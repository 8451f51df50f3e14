"""The `tvm` backend: runs the libraries that `edgesnn.export.tvm` compiled, with TVM's runtime alone."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np

from edgesnn.errors import BackendError, ModelError
from edgesnn.runtime.graph import GraphSession
from edgesnn.runtime.model import Array, Model, WindowSpec

#: In the folder of compiled libraries: source hash, target, whether the window holds x, and the names of inputs and
#: outputs in order.
MANIFEST = "manifest.json"


def import_tvm() -> Any:
    """TVM's package; BackendError if it is not installed, or does not load."""
    try:
        import tvm
    except ImportError as error:
        raise BackendError(f"tvm: expected the package apache-tvm, got {error}; pip install edgesnn[tvm]") from None
    return tvm


class TvmSession(GraphSession):
    """Runs the compiled graphs on TVM's virtual machine."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        folder = model.path / "tvm"
        if not (folder / MANIFEST).is_file():
            raise ModelError(f"{folder}: expected compiled graphs, found none; run `edgesnn export` with --format tvm")
        self._manifest = json.loads((folder / MANIFEST).read_text())
        if self._manifest["source_hash"] != model.source_hash:
            raise ModelError(
                f"{folder}: expected libraries of model {model.source_hash[:16]}, "
                f"got {self._manifest['source_hash'][:16]}; compile again"
            )
        self._tvm = import_tvm()
        self._machine = cache(self._load)

    @property
    def window_spec(self) -> WindowSpec:
        """The steps of the model, whatever number `window.onnx` takes."""
        return WindowSpec(self.model.time_steps, self._manifest.get("constant_input", False))

    def _load(self, graph: str) -> Any:
        path = self.model.path / "tvm" / f"{graph}.so"
        if not path.is_file():
            raise ModelError(f"{path}: expected a compiled graph, found none; compile again")
        library = self._tvm.runtime.load_module(str(path))
        return self._tvm.runtime.vm.VirtualMachine(library, self._tvm.cpu())

    def _run(self, graph: str, feeds: dict[str, Array]) -> dict[str, Array]:
        signature = self._manifest["graphs"][graph]
        arguments = [self._tvm.runtime.tensor(np.ascontiguousarray(feeds[name])) for name in signature["inputs"]]
        result = self._machine(graph)["main"](*arguments)
        values = [result] if len(signature["outputs"]) == 1 else list(result)
        return {name: value.numpy() for name, value in zip(signature["outputs"], values, strict=True)}
