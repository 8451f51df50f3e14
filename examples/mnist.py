"""Train a convolutional EM-PF network with binary weights on 5,000 MNIST digits, with one gradient per sample (SLTT-1).

    python examples/mnist.py runs/mnist

Three convolutions 16-32-32, four time steps; about a minute on two cores. A spike is a non-negative number, a weight of
a hidden layer one bit.
"""

import sys
import time
from pathlib import Path

from rich.console import Console

import edgesnn as es


def main(out: Path) -> None:
    config = es.runs.preset("mnist-empf")
    start = time.perf_counter()
    run = es.runs.train(config, out)
    seconds = time.perf_counter() - start
    result = es.evaluate(run.net, run.data, "test", steps=config.steps)
    accuracy = f"{result.accuracy:.3f} on {result.samples} test digits"
    Console().print(f"float: accuracy {accuracy}, trained in {seconds:.0f} s, kept in {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/mnist"))
