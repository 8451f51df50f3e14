"""The ONNX domain of the function library, the opset of its bodies, and the type codes they use."""

from __future__ import annotations

import numpy as np
import onnx
from onnxscript import opset20 as op
from onnxscript.values import Opset

DOMAIN = "edgesnn"
VERSION = 1
OPSET = 20
IR_VERSION = 10

FLOAT, DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
UINT8, INT8, INT32, INT64 = (
    onnx.TensorProto.UINT8,
    onnx.TensorProto.INT8,
    onnx.TensorProto.INT32,
    onnx.TensorProto.INT64,
)

#: The base of every power of two computed from an attribute, in float64 so that it is exact.
TWO = onnx.numpy_helper.from_array(np.float64(2.0), "two")

edgesnn_domain = Opset(DOMAIN, VERSION)

__all__ = [
    "DOMAIN",
    "DOUBLE",
    "FLOAT",
    "INT8",
    "INT32",
    "INT64",
    "IR_VERSION",
    "OPSET",
    "TWO",
    "UINT8",
    "VERSION",
    "edgesnn_domain",
    "op",
]  # fmt: skip
