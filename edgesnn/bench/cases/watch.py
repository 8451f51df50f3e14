"""The demo's figures: accuracy from the float network to the device that has learned, and what the device needs."""

from __future__ import annotations

from tempfile import TemporaryDirectory

from edgesnn.bench.registry import Measured, benchmark

_PACKAGES = ("torch", "brevitas", "onnxruntime", "apache-tvm", "ziglang", "seglearn")


@benchmark("watch-empf", "the demo: EM-PF, binary weights, 4-bit spikes, emulated Cortex-M4", packages=_PACKAGES)
def watch_empf() -> Measured:
    return _demo("empf")


@benchmark("watch-sltt", "the demo with LIF neurons, int8 weights and 1-bit spikes", packages=_PACKAGES)
def watch_sltt() -> Measured:
    return _demo("sltt")


def _demo(model: str) -> Measured:
    from edgesnn import demo

    with TemporaryDirectory(prefix="edgesnn-") as folder:
        report = demo.run(out=folder, model=model).model_dump(by_alias=True)
    figures = {f"accuracy_{key}": value for key, value in report["accuracy"].items()}
    figures |= {key: value for key, value in report["board"].items() if key != "id"}
    figures |= report["size"] | {"training_seconds": report["training"]["seconds"]}
    figures["backends_equal"] = int(report["bit_exact"]["equal"])
    return Measured(figures, rows=report["people"])
