"""One random network: layers in a row, a readout, and, of most, learning of the readout or of the last layers.

It is drawn from one `random.Random`, so that a seed names it, and so that hypothesis can draw and shrink it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import onnx

from edgesnn.bench.random_network import layers, synapses
from edgesnn.bench.random_network.drawer import Drawer, Signal
from edgesnn.bench.random_network.learning import DeepLearning, Part, draw_depth, logit_unit, part
from edgesnn.export import lower as export
from edgesnn.export.bounds import prove
from edgesnn.export.builder import BATCH, GraphBuilder
from edgesnn.export.fixed_point import Q15
from edgesnn.export.layer_learning import trace_limit as layers_trace_limit
from edgesnn.export.learn import trace_limit
from edgesnn.export.trace import TraceScale, add_trace
from edgesnn.export.window import window
from edgesnn.runtime.graph import NEW
from edgesnn.runtime.model import Model

#: Largest image, and most inputs of a dense layer.
_PIXELS, _INPUTS = 9, 40


class RandomNetwork(Drawer):
    """One drawn network; `write` makes a folder of it. `functions` are the operators that it then uses."""

    def __init__(self, random: Random, name: str = "net") -> None:
        super().__init__(random)
        self.name = name
        self.classes = random.randint(2, 5)
        self.layers = random.randint(1, 3)
        self.learns = self.chance(0.7)
        self.depth = draw_depth(random, self.layers) if self.learns and self.chance(0.6) else None
        self.deep: DeepLearning | None = None
        self.functions: set[str] = set()

    def write(self, folder: Path) -> Model:
        """`step.onnx`, `window.onnx` (some of any number of steps, or of one frame for all) and, of most, `learn.onnx`.

        Raises:
            ExportError: what was drawn could overflow.
        """
        step = self._step()
        prove(step)
        sealed = {entry.key: entry.value for entry in step.metadata_props}
        graphs = {"step": step}
        if self.learns:
            graphs["learn"] = self.deep.graph(sealed) if self.deep else self._learn(sealed)
        steps = None if self.chance(0.4) else self.steps
        graphs["window"] = window(step, steps, held=self.chance(0.2))
        for graph, proto in graphs.items():
            onnx.save_model(proto, folder / f"{graph}.onnx")
        self.functions = {node.op_type for proto in graphs.values() for node in proto.graph.node}
        return Model.load(folder)

    def _step(self) -> onnx.ModelProto:
        b, draw = self.builder, self.random
        if self.by_step:
            b.state("t", (1,), batched=False)
            b.call("NextStep", "t.next", ["t"], ["t.new"], steps=self.steps)
        image = (draw.randint(1, 4), draw.randint(3, _PIXELS), draw.randint(3, _PIXELS))
        shape = image if self.chance(0.5) else (self.width(_INPUTS),)
        self.input = Signal("x", shape, *draw.choice(((-128, 127), (0, 255))))
        b.input("x", self._input_dtype(), [BATCH, *shape])
        signal = self.input
        for i in range(self.layers):
            self.part = part(self.depth, i, self.layers)
            self.level = self.random.randint(8, 16) if self.depth else None
            signal = self._layer(f"layer{i}", signal, last=i == self.layers - 1)
        self.part, self.level = Part(), None
        self._readout(layers.flat(self, "flatten", signal))
        return b.build("step", self._metadata(), "a random network")

    def _input_dtype(self) -> str:
        return "int8" if self.input.low else "uint8"

    def _layer(self, name: str, x: Signal, last: bool) -> Signal:
        """Synapse, rescale, what is added to the current, neuron; before and behind it changes of shape."""
        x = self._prepared(name, x)
        current = self._current(name, x)
        if self.chance(0.2):
            current = layers.attention(self, f"{name}.attention", current, current)
        recurrent = self.chance(0.2)
        if recurrent:
            current = self._recurrent(name, current)
        if self.chance(0.15) and not recurrent and not last:
            return layers.requantize(self, name + ".again", current)
        signal = layers.fire(self, f"{name}.neuron", current)
        if recurrent:
            self.builder.call("Retain", f"{name}.keep", [f"{name}.last", signal.name], [f"{name}.last{NEW}"])
        return layers.pool(self, f"{name}.pool", signal) if signal.is_image and self.chance(0.4) else signal

    def _prepared(self, name: str, x: Signal) -> Signal:
        if x.is_image and self.chance(0.15):
            x = layers.upsample(self, f"{name}.upsample", x)
        if x.is_image and self.chance(0.2):
            x = layers.flat(self, f"{name}.flatten", x)
        if not x.is_image and self.chance(0.25):
            x = layers.delay(self, f"{name}.delay", x)
        return x

    def _current(self, name: str, x: Signal) -> Signal:
        """The current of a layer: of one synapse or pool, or of two terms that are added."""
        if x.is_image and self.chance(0.1):
            a = layers.sum_pool(self, name, x)
            return self.rescale(name, a, self.spread(a))
        geometry = synapses.geometry_of(self, x) if x.is_image else None
        first = self._term(name, x, geometry, None)
        if not self.chance(0.3):
            return first
        if first.shape == x.shape and self.chance(0.7):
            shortcut = layers.widen(self, f"{name}.shortcut", x)
            second = self.rescale(f"{name}.shortcut", shortcut, self.spread(shortcut))
        else:
            second = self._term(f"{name}.shortcut", x, geometry, first.shape[0])
        return layers.add(self, name, first, second)

    def _term(self, name: str, x: Signal, geometry: synapses.Geometry | None, outputs: int | None) -> Signal:
        a = (
            synapses.convolution(self, name, x, geometry, outputs)
            if x.is_image
            else synapses.linear(self, name, x, outputs)
        )
        return self.rescale(name, a, self.spread(a))

    def _recurrent(self, name: str, current: Signal) -> Signal:
        """The current and what the layer's own last spikes, 0 to 255, add to it."""
        shape = current.shape
        last = Signal(self.builder.state(f"{name}.last", shape, dtype="uint8"), shape, 0, 255)
        geometry = synapses.PIXEL if last.is_image else None
        return layers.add(self, f"{name}.loop", current, self._term(f"{name}.loop", last, geometry, shape[0]))

    def _readout(self, x: Signal) -> None:
        b, classes, (inputs,) = self.builder, self.classes, x.shape
        keep = b.param if self.learns else b.constant
        keep("readout.weight", self.integers(-127, 127, (classes, inputs)).astype(np.int8))
        keep("readout.bias", self.integers(-900, 900, (classes,)).astype(np.int32))
        b.call("Linear", "readout.synapse", [x.name, "readout.weight"], ["readout.a"])
        bound = 127 * inputs * x.largest
        self.rescale("readout", Signal("readout.a", (classes,), -bound, bound), 2.0, bias="readout.bias")
        leak = self.random.choice((0, 31000, Q15))
        b.constant("readout.leak", np.array([leak], np.int32))
        b.state("readout.acc", (classes,))
        b.call("LeakyIntegrate", "readout.integrate", ["readout.acc", "readout.I", "readout.leak"], ["y"])
        b.standard("Identity", "readout.keep", ["y"], ["readout.acc.new"])
        b.output("y", "int32", [BATCH, classes])
        self.fan_in = inputs
        if self.learns:
            limit = (layers_trace_limit if self.depth else trace_limit)(inputs)
            scale = TraceScale(self.random.randint(0, 10), self.random.randint(1, 1 + limit // 256), limit)
            spikes = export.Signal(x.name, 1.0, x.low, x.high, x.shape)
            readout = export.ReadoutLayer(spikes, classes, leak, logit_unit(inputs, limit))
            add_trace(b, readout, scale)
            b.persistent("learn.count", "learner", "int32", (1,))
            if self.depth:
                self.deep = DeepLearning(b, self.hidden, self.depth, readout, scale, self.random)

    def _learn(self, metadata: dict[str, str]) -> onnx.ModelProto:
        b, classes = GraphBuilder(), self.classes
        kept: Sequence[tuple[str, str, list[int | str]]] = (
            ("readout.weight", "int8", [classes, self.fan_in]), ("readout.bias", "int32", [classes]),
            ("learn.count", "int32", [1]),
        )  # fmt: skip
        for name, dtype, shape in kept:
            b.input(name, dtype, shape)
            b.output(name + NEW, dtype, shape)
        b.input("readout.trace", "int32", [1, self.fan_in])
        b.input("label", "int32", [1])
        b.constant("readout.learn_M", self.integers(2**15, 2**17, (classes,)).astype(np.int32))
        numbers = json.loads(metadata["edgesnn.learn"])
        b.call("LearnReadout", "readout.learn",
               ["readout.weight", "readout.bias", "readout.trace", "readout.learn_M", "label", "learn.count"],
               [name + NEW for name, _, _ in kept], shift=20,
               **{key: numbers[key] for key in ("weight_shift", "bias_shift", "seed")})  # fmt: skip
        return b.build("learn", metadata, "a random network")

    def _metadata(self) -> dict[str, str]:
        draw, size = self.random, self.input.shape[0]
        entry = {"shape": list(self.input.shape), "dtype": self._input_dtype(), "scale": 0.05, "zero_point": 0,
                 "mean": [0.0] * size, "std": [1.0] * size}  # fmt: skip
        learn = {"scope": "readout", "weight_shift": draw.randint(10, 32), "bias_shift": draw.randint(10, 32),
                 "seed": draw.getrandbits(31)} if self.deep is None else self.deep.spec.to_json()  # fmt: skip
        values = {"format": "1", "name": self.name, "rule": "none", "time_steps": str(self.steps),
                  "input": json.dumps(entry), "frame": "null", "rate_hz": "0",
                  "classes": json.dumps([f"c{i}" for i in range(self.classes)]),
                  "tensors": json.dumps(self.builder.tensors),
                  "learn": json.dumps(learn if self.learns else None)}  # fmt: skip
        return {f"edgesnn.{key}": value for key, value in values.items()}
