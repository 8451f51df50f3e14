"""Values of a graph that is being rewritten, each in as many forms as are asked for, and the conversions between them.

Shapes: N batch (or T*N), C channels, P = H*W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from edgesnn.runtime.model import Array

#: Added to float64, it rounds to integers (to even) and keeps the sum's low bits: floats in [2^52, 2^53) are integers.
ROUNDING = 1.5 * 2.0**52
#: Contrib operators of ONNX Runtime.
CONTRIB = "com.microsoft"


class Form(Enum):
    """How a value is held."""

    PLAIN = "as the graph has it"
    WIDE = "float64 of the same layout"
    REAL = "float32 of the same layout"
    BELOW = "float32 of the same layout, minus the threshold `thresholds` has for it"
    SUMS = "int32 [N, P, C], what a matrix product leaves of a convolution"
    ROWS = "uint8 [N, H, W, C]"
    OFFSET = "float64 of the same layout, plus ROUNDING"


@dataclass(frozen=True)
class Scaled:
    """A rescale that has not been computed yet: I = ((a*m + 2^(shift-1)) >> shift) + b.

    `source` is the value a, `bound` its largest |a| for each output [O]; m and b are arrays [O, ...], or b the name of
    a graph input where it is trainable.
    """

    source: str
    bound: Array
    m: Array
    b: Array | str
    shift: int


class Rewriter:
    """Nodes and constants of the new graph, and the forms of each value of the old one."""

    def __init__(self, proto: onnx.ModelProto, prefix: str = "fast") -> None:
        """`prefix` begins the names of new values."""
        inputs = {entry.name for entry in proto.graph.input}
        self.proto, self.prefix = proto, prefix
        self.constants = {
            init.name: numpy_helper.to_array(init) for init in proto.graph.initializer if init.name not in inputs
        }
        self.types, self.shapes = _inferred(proto)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        #: Largest value of uint8 spikes, where it is known.
        self.high: dict[str, int] = {}
        #: Bounds on |a| of accumulators, int64 [O].
        self.bounds: dict[str, Array] = {}
        #: Thresholds of membranes in the form BELOW.
        self.thresholds: dict[str, float] = {}
        self.scaled: dict[str, Scaled] = {}
        self._forms: dict[str, dict[Form, str]] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, op: str, inputs: list[str], domain: str = "", outputs: int = 1, **attributes: Any) -> list[str]:
        """Append a node; returns the names of its outputs."""
        names = [f"{self.prefix}.{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names

    def one(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append a node of one output; returns its name."""
        return self.add(op, list(inputs), domain, **attributes)[0]

    def constant(self, value: Any) -> str:
        """The name of an initializer of this value; equal ones are stored once."""
        array = np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            name = self._known[key] = f"{self.prefix}.constant.{len(self._known)}"
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        return self._known[key]

    def put(self, name: str, form: Form, tensor: str) -> None:
        """Say that `tensor` of the new graph holds value `name` of the old one."""
        self._forms.setdefault(name, {})[form] = tensor

    def alias(self, name: str, other: str) -> None:
        """Let `name` be the same value as `other`."""
        self._forms[name] = self._forms.setdefault(other, {Form.PLAIN: other})
        self.share(name, other)

    def share(self, name: str, other: str, of: Rewriter | None = None) -> None:
        """What is known of the range of `other`, a value of this graph or `of` another, holds for `name`."""
        for mine, table in zip(self._ranges(), (of or self)._ranges(), strict=True):
            if other in table:
                mine[name] = table[other]

    def _ranges(self) -> tuple[dict[str, Any], ...]:
        return self.high, self.bounds, self.scaled, self.thresholds

    def forms(self, name: str) -> dict[Form, str]:
        """The forms that exist; graph inputs and initializers are plain."""
        if name not in self._forms and name not in self.scaled:
            self.put(name, Form.PLAIN, name)
        return self._forms.setdefault(name, {})

    def get(self, name: str, form: Form) -> str:
        """The tensor that holds `name` in a form, converted where it is not there yet."""
        known = self.forms(name)
        if form not in known:
            known[form] = self._convert(name, form, known)
        return known[form]

    def cast(self, tensor: str, to: int) -> str:
        return self.one("Cast", tensor, to=to)

    def largest(self, name: str) -> int | None:
        """A bound on the magnitude of a signal of 8 bits; None where it is none."""
        match self.types.get(name):
            case TensorProto.UINT8:
                return self.high.get(name, 255)
            case TensorProto.INT8:
                return 128
        return None

    def image(self, name: str) -> tuple[int, int, int]:
        """C, H, W of an image."""
        _, channels, height, width = self.shapes[name]
        return channels, height, width  # type: ignore[return-value]

    def _convert(self, name: str, form: Form, known: dict[Form, str]) -> str:
        match form:
            case Form.PLAIN:
                return self._plain(name, known)
            case Form.WIDE if Form.OFFSET in known or name in self.scaled:
                return self.one("Sub", self.get(name, Form.OFFSET), self.constant(ROUNDING))
            case Form.WIDE:
                narrow = Form.REAL if Form.REAL in known or Form.BELOW in known else Form.PLAIN
                return self.cast(self.get(name, narrow), TensorProto.DOUBLE)
            case Form.REAL if Form.BELOW in known:
                return self.one("Add", known[Form.BELOW], self.constant(np.float32(self.thresholds[name])))
            case Form.REAL:
                wide = known.get(Form.WIDE)
                return self.cast(wide if wide is not None else self.get(name, Form.PLAIN), TensorProto.FLOAT)
            case Form.ROWS:
                return self.one("Transpose", known[Form.PLAIN], perm=[0, 2, 3, 1])
            case Form.OFFSET if name in self.scaled:
                return self.rescaled(self.scaled[name])
            case Form.OFFSET:
                return self.one("Add", self.get(name, Form.WIDE), self.constant(ROUNDING))
        raise LookupError(f"{name}: {form} is made, not converted to")

    def _plain(self, name: str, known: dict[Form, str]) -> str:
        if Form.REAL in known or Form.BELOW in known:
            return self.cast(self.get(name, Form.REAL), TensorProto.INT32)
        if Form.ROWS in known:
            return self.one("Transpose", known[Form.ROWS], perm=[0, 3, 1, 2])
        if Form.SUMS in known:
            pixels_last = self.one("Transpose", known[Form.SUMS], perm=[0, 2, 1])
            return self.one("Reshape", pixels_last, self.constant(np.array([0, *self.image(name)], np.int64)))
        return self.cast(self.get(name, Form.WIDE), TensorProto.INT32)

    def rescaled(self, scaled: Scaled) -> str:
        """round(a*M*2^-n) + b + ROUNDING; a*M is exact, so adding ROUNDING is what rounds: once, and halves to even.

        Halves go up in the definition; where a*M can be one, it is rounded before.
        """
        factor = scaled.m.astype(np.float64) * 2.0**-scaled.shift
        a = self.get(scaled.source, Form.WIDE)
        trained = isinstance(scaled.b, str)
        offset = ROUNDING + (np.zeros_like(factor) if trained else np.asarray(scaled.b, np.float64))
        if _has_halves(scaled):
            product = self.affine(a, factor, np.full_like(factor, 0.5))
            current = self.one("Add", self.one("Floor", product), self.constant(offset))
        else:
            current = self.affine(a, factor, offset)
        return self.one("Add", current, self.get(scaled.b, Form.WIDE)) if isinstance(scaled.b, str) else current

    def affine(self, wide: str, factor: Array, offset: Array) -> str:
        """x*factor + offset in float64; both [C] or [C, 1, 1] for x [N, C, ...]. Exact where the exact result is."""
        if factor.ndim == 1:
            return self.one("Add", self.one("Mul", wide, self.constant(factor)), self.constant(offset))
        # One pass with a constant a channel: y = (x - 0) * factor / sqrt(1 + 0) + offset.
        flat = factor.reshape(-1)
        zero, one = self.constant(np.zeros_like(flat)), self.constant(np.ones_like(flat))
        operands = [wide, self.constant(flat), self.constant(offset.reshape(-1)), zero, one]
        return self.one("BatchNormalization", *operands, epsilon=0.0)


def _has_halves(scaled: Scaled) -> bool:
    """Whether a*M = 2^(n-1) modulo 2^n for some |a| <= bound: M must bring the factors of two that a cannot."""
    m = scaled.m.astype(np.int64).reshape(-1)
    twos_of_a = 2 ** np.floor(np.log2(np.maximum(scaled.bound, 1))).astype(np.int64)
    return bool(((m & -m) * twos_of_a >= 1 << (scaled.shift - 1)).any())


def _inferred(proto: onnx.ModelProto) -> tuple[dict[str, int], dict[str, tuple[int | None, ...]]]:
    """Element types and shapes of values by name; None where a dimension has no number."""
    graph = shape_inference.infer_shapes(proto, data_prop=True).graph
    types, shapes = {}, {}
    for entry in (*graph.input, *graph.value_info, *graph.output):
        tensor = entry.type.tensor_type
        types[entry.name] = tensor.elem_type
        if tensor.HasField("shape"):
            shapes[entry.name] = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    return types, shapes
