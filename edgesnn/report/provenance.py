"""Where the figures of a report come from: what was run, on which model, machine and versions."""

from __future__ import annotations

from datetime import UTC, datetime

from edgesnn.bench.result import this_machine, versions_of
from edgesnn.report.schema import Provenance
from edgesnn.runtime import Model

#: Distributions whose version can change a figure.
PACKAGES = ("numpy", "onnx", "onnxruntime", "torch", "brevitas", "apache-tvm", "ziglang", "seglearn")


def provenance(
    command: str, model: Model, board: str | None = None, seed: int | None = None, quick: bool = False
) -> Provenance:
    """The section `provenance` of a report that is made now.

    Args:
        command: what a reader types to get the same figures.
        model: the exported model the figures are of.
        board: the board that was measured.
        seed: of the training, where there was one.
        quick: whether fewer epochs were trained than the published figures need.
    """
    packages = versions_of(PACKAGES)
    return Provenance(
        command=command,
        version=packages.pop("edgesnn"),
        packages=packages,
        machine=this_machine(),
        seed=seed,
        source_hash=model.source_hash,
        quick=quick,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        board=board,
    )
