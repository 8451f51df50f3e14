"""Random networks through every backend: how many integers were not those of the reference evaluator."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from edgesnn.bench.registry import Measured, benchmark

if TYPE_CHECKING:
    from edgesnn.runtime.model import Model
    from edgesnn.runtime.verify import Check

    Compared = tuple[set[str], bool | None, list[Check]]

#: Compared for every network, and one network of how many for the backends that take seconds to compile.
_EVERY = ("reference", "ort", "native")
_SAMPLED = {"tvm": 50, "board": 100}
_BOARD = "mps2-an386"
#: Steps of each of a network's two streams; about half of them are learned from.
_STEPS = 12


@benchmark(
    "exactness",
    "integers that differ, of random networks through every backend, learning included (20 minutes on two cores)",
    packages=("onnx", "onnxruntime", "apache-tvm", "ziglang"),
)
def exactness(networks: int = 1000, seed: int = 0) -> Measured:
    return measure(networks, seed, _SAMPLED, workers=os.cpu_count() or 1)


def measure(networks: int, seed: int, sampled: Mapping[str, int], workers: int = 1) -> Measured:
    """`differences` are comparisons of one backend and graph of one network that found one, and networks that a backend
    refused; `steps` were compared. Of `hidden_learn` networks weights of hidden layers learn, and of `hidden_moved` of
    them some did.

    Rows: one a backend and graph, with its first difference. `Random(f"{seed}-{number}")` draws a network again.
    """
    compared: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    first: dict[tuple[str, str], str] = {}
    functions: set[str] = set()
    hidden: Counter[bool | None] = Counter()
    backends = [
        [*_EVERY, *(name for name, every in sampled.items() if number % every == 0)] for number in range(networks)
    ]
    drawn = [f"{seed}-{number}" for number in range(networks)]
    for name, (used, moved, checks) in zip(drawn, _compared(drawn, backends, workers), strict=True):
        functions |= used
        hidden[moved] += 1
        for check in checks:
            key = check.backend, check.graph
            compared[key].update(networks=1, steps=check.compared, differences=int(check.difference is not None))
            if check.difference is not None:
                first.setdefault(key, f"network {name}: {check.difference}")
    rows = [
        {"backend": backend, "graph": graph, **counts, "first": first.get((backend, graph))}
        for (backend, graph), counts in compared.items()
    ]
    return Measured({
        "networks": networks, "differences": sum(counts["differences"] for counts in compared.values()),
        "steps": sum(counts["steps"] for counts in compared.values()), "functions": len(functions),
        "hidden_learn": hidden[True] + hidden[False], "hidden_moved": hidden[True],
        **{f"networks_{name}": compared[name, "step"]["networks"] for name in sampled},
    }, rows)  # fmt: skip


def _compared(drawn: list[str], backends: list[list[str]], workers: int) -> Iterator[Compared]:
    """`compare` of each, in order; in so many processes, of which each starts for itself."""
    if workers == 1:
        yield from map(compare, drawn, backends)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(compare, drawn, backends, chunksize=8)


def compare(drawn: str, backends: Iterable[str]) -> Compared:
    """The network that this text draws, on these backends: the operators it uses, `hidden_weights_moved`, and what was
    compared.
    """
    from edgesnn import export
    from edgesnn.bench.random_network import RandomNetwork
    from edgesnn.export.vectors import write_vectors
    from edgesnn.runtime.verify import Check, verify

    names = list(backends)
    network, moved = RandomNetwork(Random(drawn)), None
    with TemporaryDirectory(prefix="edgesnn-") as folder:
        try:
            model = network.write(Path(folder))
            write_vectors(model)
            moved = hidden_weights_moved(model)
            export.c(folder)
            if "tvm" in names:
                export.tvm(folder)
            checks = verify(folder, names, _BOARD if "board" in names else None, steps=_STEPS)
            return network.functions, moved, checks
        except Exception as error:  # a backend that cannot take a network is a finding, and not the end of the run
            return network.functions, moved, [Check("one of all", "all", 0, f"{type(error).__name__}: {error}")]


def hidden_weights_moved(model: Model) -> bool | None:
    """Whether weights of hidden layers are others after the test vectors; None of a model that learns none."""
    from edgesnn.runtime import vector_file

    after = vector_file.read(model).tensors
    learned = {tensor.name for tensor in model.tensors if tensor.kind == "param"}
    weights = {name for name in learned if name.endswith((".weight", ".latent"))} - {"readout.weight"}
    return any(not np.array_equal(after[name], model.factory[name]) for name in weights) if weights else None
