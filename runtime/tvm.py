"""The `tvm` backend: runs the libraries that `edgesnn.export.tvm` compiled, with TVM's runtime alone."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from edgesnn.errors import BackendError, ModelError
from edgesnn.runtime import tvm_manifest
from edgesnn.runtime.graph import GraphSession
from edgesnn.runtime.model import Array, Model, WindowSpec


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
        self._manifest = tvm_manifest.read(model.path / "tvm", model)
        self._tvm = import_tvm()
        self._machine = cache(self._load)

    @property
    def window_spec(self) -> WindowSpec:
        """The steps of the model, whatever number `window.onnx` takes."""
        return WindowSpec(self.model.time_steps, self._manifest.constant_input)

    def _load(self, graph: str) -> Any:
        path = self.model.path / "tvm" / f"{graph}.so"
        library = self._manifest.graphs.get(graph)
        if library is None or not path.is_file():
            raise ModelError(f"{path}: expected a compiled graph, found none; compile again")
        if tvm_manifest.sha256(path) != library.sha256:
            raise ModelError(f"{path}: expected the library that was compiled, got another or a part; compile again")
        try:
            module = self._tvm.runtime.load_module(str(path))
        except Exception as error:  # TVM's errors are no class of their own
            reason = str(error).splitlines()[-1]
            raise BackendError(
                f"{path}: expected a library that this machine loads, got one for {self._manifest.target}: {reason}; "
                "compile for this machine, or run it on that one"
            ) from None
        return self._tvm.runtime.vm.VirtualMachine(module, self._tvm.cpu())

    def _run(self, graph: str, feeds: dict[str, Array]) -> dict[str, Array]:
        machine, library = self._machine(graph), self._manifest.graphs[graph]
        arguments = [self._tvm.runtime.tensor(np.ascontiguousarray(feeds[name])) for name in library.inputs]
        result = machine["main"](*arguments)
        values = [result] if len(library.outputs) == 1 else list(result)
        return {name: value.numpy() for name, value in zip(library.outputs, values, strict=True)}
