"""A session whose arithmetic can be done by hand, for what only needs some session."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx

from edgesnn.runtime.model import Array, Model
from edgesnn.runtime.session import Session

CLASSES = ["rest", "walk", "run"]


class ToyModel(Model):
    """A model whose learning step reads `sum`, and writes `bias`."""

    def graph(self, name: str) -> onnx.ModelProto:
        assert name == "learn"
        inputs, outputs = (
            [onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.INT32, [1]) for tensor in names]
            for names in (("sum", "bias", "label"), ("bias.new",))
        )
        return onnx.helper.make_model(onnx.helper.make_graph([], "learn", inputs, outputs))


def make_model(
    frame: dict[str, int] | None, shape: tuple[int, ...], time_steps: int = 1, rate_hz: float = 50.0
) -> Model:
    channels = frame["channels"] if frame else 1
    proto = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    learn = {"scope": "readout", "weight_shift": 20, "bias_shift": 20, "seed": 1}
    metadata = {
        "format": "1", "name": "toy", "rule": "SLTT", "time_steps": str(time_steps), "rate_hz": str(rate_hz),
        "source_hash": "ab" * 32, "classes": json.dumps(CLASSES), "frame": json.dumps(frame),
        "learn": json.dumps(learn),
        "input": json.dumps({"shape": shape, "dtype": "int8", "scale": 1.0, "zero_point": 0,
                             "mean": [0.0] * channels, "std": [1.0] * channels}),
        "tensors": json.dumps([{"name": "sum", "kind": "state", "dtype": "int32", "shape": [1]},
                               {"name": "bias", "kind": "param", "dtype": "int32", "shape": [3]}]),
    }  # fmt: skip
    onnx.helper.set_model_props(proto, {f"edgesnn.{key}": value for key, value in metadata.items()})
    return ToyModel(Path("toy"), proto)


class ToySession(Session):
    """Logits are `bias` plus the sum of all frames at class 0; learning adds 1000 to the bias of the label."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.sum, self.bias = 0, np.zeros(3, np.int32)
        self.frames: list[list[int]] = []

    def _step(self, x: Array) -> Array:
        self.frames.append(x.ravel().tolist())
        self.sum += int(x.sum(dtype=np.int64))
        return self.bias + np.array([self.sum, 0, 0], np.int32)

    def _learn(self, label: int) -> None:
        self.bias[label] += 1000

    def _reset(self) -> None:
        self.sum = 0

    def _snapshot(self) -> bytes:
        return self.model.pack({"sum": np.array([self.sum], np.int32), "bias": self.bias})

    def _restore(self, snapshot: bytes) -> None:
        tensors = self.model.unpack(snapshot)
        self.sum, self.bias = int(tensors["sum"][0]), tensors["bias"].copy()
