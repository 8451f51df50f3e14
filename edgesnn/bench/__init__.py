"""One harness for every published figure.

A benchmark is a function in a module of `edgesnn.bench.cases`:

    @benchmark("mlp-host", "dense network, one thread", packages=("onnxruntime",))
    def mlp_host() -> Measured:
        ...
        return Measured({"steps_per_s": 12345.0}, rows=[{"backend": "ort", "steps_per_s": 12345.0}])

`edgesnn bench mlp-host --json FILE` then runs it and writes its figures, with the machine and versions they hold for.
"""

from edgesnn.bench.harness import ALL, available, run, select, write
from edgesnn.bench.registry import Benchmark, Measured, benchmark
from edgesnn.bench.result import Machine, Result

__all__ = ["ALL", "Benchmark", "Machine", "Measured", "Result", "available", "benchmark", "run", "select", "write"]
