"""Memory of training by the number of time steps: flat for online rules, growing for BPTT."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from edgesnn.bench.registry import Measured, benchmark
from edgesnn.bench.small_vgg import METHODS, batch, network

STEPS = (1, 4, 20, 50)


@benchmark(
    "train-memory",
    "bytes kept for backward, and peak memory of a fresh process, by rule and T (conv 32-32-64-64, batch 32)",
    packages=("torch",),
)
def train_memory() -> Measured:
    """Ratios of `saved_bytes`; rows have the peak of a process that trains one batch, on Linux."""
    rows: list[dict[str, Any]] = [
        {"method": method, "steps": steps, "saved_bytes": saved_bytes(method, steps), **peak(method, steps)}
        for method in METHODS
        for steps in STEPS
    ]
    saved = {(row["method"], row["steps"]): row["saved_bytes"] for row in rows}
    figures = {
        "sltt_t50_over_t1": saved["sltt", 50] / saved["sltt", 1],
        "sltt_over_bptt_t20": saved["sltt", 20] / saved["bptt", 20],
        "empf_over_bptt_t20": saved["empf", 20] / saved["bptt", 20],
    }
    return Measured(figures, rows)


def saved_bytes(method: str, steps: int) -> int:
    """Most bytes that autograd keeps at once for backward, counted by storage; parameters are not counted."""
    import torch

    from edgesnn import rules

    rule, neuron, weights = METHODS[method]
    net = network(neuron, weights)
    own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    meter = _Meter(own)
    with torch.autograd.graph.saved_tensors_hooks(meter.pack, lambda kept: kept.tensor):
        rules.build(rules.parse(rule)).backward(net, *batch(steps), torch.Generator().manual_seed(0))
    return meter.most


class _Kept:
    """A saved tensor; tells the meter when autograd lets it go."""

    def __init__(self, meter: _Meter, tensor: Any) -> None:
        self.meter, self.tensor = meter, tensor
        self.storage = tensor.untyped_storage().data_ptr()

    def __del__(self) -> None:
        self.meter.release(self.storage)


class _Meter:
    def __init__(self, ignored: set[int]) -> None:
        self.ignored = ignored
        self.uses: dict[int, tuple[int, int]] = {}  # storage -> times it is kept, its bytes
        self.now = self.most = 0

    def pack(self, tensor: Any) -> _Kept:
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key not in self.ignored:
            uses, size = self.uses.get(key, (0, storage.nbytes()))
            self.now += 0 if uses else size
            self.most = max(self.most, self.now)
            self.uses[key] = (uses + 1, size)
        return _Kept(self, tensor)

    def release(self, key: int) -> None:
        if key in self.uses:
            uses, size = self.uses.pop(key)
            if uses > 1:
                self.uses[key] = (uses - 1, size)
            else:
                self.now -= size


#: A process that trains one batch and prints its peak, and how much of it came after the network was there.
_PEAK = """
import json, sys
from pathlib import Path
import torch
from edgesnn import rules
from edgesnn.bench.small_vgg import METHODS, batch, network

def peak_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

torch.set_num_threads(1)
method, steps = sys.argv[1], int(sys.argv[2])
rule, neuron, weights = METHODS[method]
net, (x, y) = network(neuron, weights), batch(steps)
rule = rules.build(rules.parse(rule))
before = peak_bytes()
rule.backward(net, x, y, torch.Generator().manual_seed(0))
print(json.dumps({"peak_bytes": peak_bytes(), "peak_growth_bytes": peak_bytes() - before}))
"""


def peak(method: str, steps: int) -> dict[str, int]:
    """Peak resident memory of a fresh process, and its growth over what imports and the network take."""
    command = [sys.executable, "-P", "-c", _PEAK, method, str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return result
