"""Processor time of training by rule and T, beside our own BPTT and SpikingJelly's SLTT."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from edgesnn.bench.environment import environment
from edgesnn.bench.registry import Measured, benchmark
from edgesnn.bench.small_vgg import METHODS, batch, network

if TYPE_CHECKING:
    from torch import Tensor

    from edgesnn.models import Network
    from edgesnn.rules import Rule

#: Trains a batch of (T, channels last, the drawn step or None for all), and gives its seconds.
Peer = Callable[[int, bool, int | None], float]

STEPS = (4, 20, 50)
ROUNDS = 3
#: The peer, and what of its requirements our own environment does not have.
PEER = ("spikingjelly==2.0.0", "loguru==0.7.3")
#: Row -> method, precision, channels last in memory. `fit` trains with channels last; "bptt plain" is without.
CASES = {
    "bptt": ("bptt", "float32", True),
    "bptt plain": ("bptt", "float32", False),
    "sltt": ("sltt", "float32", True),
    "sltt1": ("sltt1", "float32", True),
    "empf": ("empf", "float32", True),
    "empf bfloat16": ("empf", "bfloat16", True),
}


@benchmark(
    "train-time",
    "processor time of a batch by rule and T, one thread, beside our BPTT and SpikingJelly 2.0 (conv 32-32-64-64)",
    packages=("torch",),
)
def train_time() -> Measured:
    """Ratios of medians over interleaved rounds; drawn steps take the mean over where the draw may fall.

    EM-PF has binary weights, a leak that is not trained, and mixed precision; its float32 row is beside it. BPTT and
    the peer have the better of two memory layouts. The peer's figure is its SLTT with a gradient at every step; without
    the package there is no such figure.
    """
    with _peer() as peer:
        return measure(STEPS, ROUNDS, peer)


def measure(steps: Sequence[int], rounds: int, peer: Peer | None) -> Measured:
    """Rows of all cases by T, and the figures, where T = 20 is among them."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cases = {name: _case(*case) for name, case in CASES.items()}
    finally:
        torch.set_num_threads(threads)
    if peer is not None:
        for last, layout in ((False, "contiguous"), (True, "channels last")):
            cases[f"spikingjelly sltt, {layout}"] = _peer_case(peer, last, every_step=True)
            cases[f"spikingjelly sltt1, {layout}"] = _peer_case(peer, last, every_step=False)
    rows: list[dict[str, Any]] = []
    for count in steps:
        seconds: dict[str, list[float]] = {name: [] for name in cases}
        for number in range(rounds + 1):
            for name, run in cases.items():
                spent = run(count)
                if number:  # the first round is for caches
                    seconds[name].append(spent)
        rows += [
            {"case": name, "steps": count, "milliseconds": 1e3 * statistics.median(values)}
            for name, values in seconds.items()
        ]
    return Measured(_figures({(row["case"], row["steps"]): row["milliseconds"] for row in rows}), rows)


def _figures(milliseconds: dict[tuple[str, int], float]) -> dict[str, float]:
    at20 = {name: value for (name, count), value in milliseconds.items() if count == 20}
    if not at20:
        return {}
    bptt = min(at20["bptt"], at20["bptt plain"])
    figures = {
        "sltt1_over_bptt_t20": at20["sltt1"] / bptt,
        "empf_over_bptt_t20": at20["empf bfloat16"] / bptt,
    }
    peers = [value for name, value in at20.items() if name.startswith("spikingjelly sltt,")]
    if peers:
        figures["sltt1_over_spikingjelly_t20"] = at20["sltt1"] / min(peers)
    return figures


def draws(steps: int) -> list[int]:
    """Four places of the drawn step, symmetric between the first and the last; their mean is that over all, as the time
    grows in a straight line.
    """
    third = (steps - 1) // 3
    return sorted({0, third, steps - 1 - third, steps - 1})


def _case(method: str, precision: str, channels_last: bool) -> Callable[[int], float]:
    """A function of T that returns the seconds of a batch."""
    import torch

    from edgesnn import rules
    from edgesnn.training.batch import laid_out
    from edgesnn.training.precision import multiplied_in

    config, neuron, weights = METHODS[method]
    net = network(neuron, weights)
    if channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(steps: int) -> float:
        x, y = batch(steps)
        x = laid_out(x) if channels_last else x
        with multiplied_in(net, precision):
            if config != "sltt:1":
                return _seconds(rules.build(rules.parse(config)), net, x, y)
            return statistics.mean(_seconds(_drawn(t), net, x, y) for t in draws(steps))

    return run


def _peer_case(peer: Peer, channels_last: bool, every_step: bool) -> Callable[[int], float]:
    def run(steps: int) -> float:
        places = [None] if every_step else draws(steps)
        return statistics.mean(peer(steps, channels_last, drawn) for drawn in places)

    return run


def _drawn(t: int) -> Rule:
    """SLTT-1 whose draw is t."""
    from edgesnn.rules import SLTT

    rule = SLTT(1)
    rule.draw = lambda steps, generator: [t]  # type: ignore[method-assign]  # noqa: ARG005
    return rule


def _seconds(rule: Rule, net: Network, x: Tensor, y: Tensor) -> float:
    import torch

    net.zero_grad()
    start = time.process_time()
    rule.backward(net, x, y, torch.Generator())
    return time.process_time() - start


@contextmanager
def _peer() -> Iterator[Peer | None]:
    """A process of SpikingJelly, in an environment of its own."""
    from edgesnn import bench

    worker = Path(bench.__file__).with_name("spikingjelly_worker.py")
    try:
        python = environment("spikingjelly-2.0.0", PEER)
        process = subprocess.Popen([str(python), str(worker)], stdin=-1, stdout=-1, stderr=subprocess.PIPE, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        _skipped(error)
        yield None
        return
    with process:
        stdin, stdout = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
        if stdout.readline() != "ready\n":
            _skipped((process.communicate()[1] or "no answer").strip().splitlines()[-1])
            yield None
            return

        def train(steps: int, channels_last: bool, drawn: int | None) -> float:
            stdin.write(json.dumps({"steps": steps, "channels_last": channels_last, "drawn": drawn}) + "\n")
            stdin.flush()
            return float(stdout.readline())

        yield train
        stdin.close()


def _skipped(reason: object) -> None:
    print(f"train-time: SpikingJelly is left out, as it cannot be installed or run here: {reason}", file=sys.stderr)  # noqa: T201
