"""Random networks through every backend: how many integers were not those of the reference evaluator."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from edgesnn.bench.registry import Measured, benchmark

if TYPE_CHECKING:
    from edgesnn.runtime.verify import Check

#: Compared for every network, and one network of how many for the backends that take seconds to compile.
_EVERY = ("reference", "ort", "native")
_SAMPLED = {"tvm": 50, "board": 100}
_BOARD = "mps2-an386"
#: Steps of each of a network's two streams; about half of them are learned from.
_STEPS = 12


@benchmark(
    "exactness",
    "integers that differ, of random networks through every backend, learning included (25 minutes)",
    packages=("onnx", "onnxruntime", "apache-tvm", "ziglang"),
)
def exactness(networks: int = 1000, seed: int = 0) -> Measured:
    return measure(networks, seed, _SAMPLED)


def measure(networks: int, seed: int, sampled: Mapping[str, int]) -> Measured:
    """`differences` are comparisons of one backend and graph of one network that found one, and networks that a backend
    refused; `steps` were compared.

    Rows: one a backend and graph, with its first difference. `Random(f"{seed}-{number}")` draws a network again.
    """
    compared: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    first: dict[tuple[str, str], str] = {}
    functions: set[str] = set()
    for number in range(networks):
        backends = [*_EVERY, *(name for name, every in sampled.items() if number % every == 0)]
        used, checks = compare(f"{seed}-{number}", backends)
        functions |= used
        for check in checks:
            key = check.backend, check.graph
            compared[key].update(networks=1, steps=check.compared, differences=int(check.difference is not None))
            if check.difference is not None:
                first.setdefault(key, f"network {seed}-{number}: {check.difference}")
    rows = [
        {"backend": backend, "graph": graph, **counts, "first": first.get((backend, graph))}
        for (backend, graph), counts in compared.items()
    ]
    return Measured({
        "networks": networks, "differences": sum(counts["differences"] for counts in compared.values()),
        "steps": sum(counts["steps"] for counts in compared.values()), "functions": len(functions),
        **{f"networks_{name}": compared[name, "step"]["networks"] for name in sampled},
    }, rows)  # fmt: skip


def compare(drawn: str, backends: Iterable[str]) -> tuple[set[str], list[Check]]:
    """The network that this text draws, on these backends: the operators it uses, and what was compared."""
    from edgesnn import export
    from edgesnn.bench.random_network import RandomNetwork
    from edgesnn.export.vectors import write_vectors
    from edgesnn.runtime.verify import Check, verify

    names = list(backends)
    network = RandomNetwork(Random(drawn))
    with TemporaryDirectory(prefix="edgesnn-") as folder:
        try:
            write_vectors(network.write(Path(folder)))
            export.c(folder)
            if "tvm" in names:
                export.tvm(folder)
            return network.functions, verify(folder, names, _BOARD if "board" in names else None, steps=_STEPS)
        except Exception as error:  # a backend that cannot take a network is a finding, and not the end of the run
            return network.functions, [Check("one of all", "all", 0, f"{type(error).__name__}: {error}")]
