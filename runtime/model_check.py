"""What must hold of an exported model before anything of it is used: metadata that make sense, a graph that is whole.

The hash in a file says that it was not changed by accident, not who wrote it. Nothing here trusts a number that decides
how much memory is taken.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from edgesnn.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from edgesnn.runtime.model import Model

#: What a session keeps, and one frame, are smaller than this: they are meant for microcontrollers.
LARGEST_BYTES = 1 << 30
_DTYPES = ("int8", "uint8", "int16", "int32")
_KINDS = ("state", "param", "learner")


def check_metadata(model: Model) -> None:
    """Raises ValueError, naming the entry, for metadata that no exporter writes."""
    _require(re.fullmatch(r"[A-Za-z_]\w*", model.name, re.ASCII), f"name: expected a C identifier, got {model.name!r}")
    _require(model.time_steps >= 1, f"time_steps: expected 1 or more, got {model.time_steps}")
    _require(model.classes, "classes: expected at least one, got none")
    _require(0 <= model.rate_hz < math.inf, f"rate_hz: expected 0 or more, got {model.rate_hz}")
    spec, frame = model.input, model.frame
    _require(spec.dtype in ("int8", "uint8"), f"input.dtype: expected int8 or uint8, got {spec.dtype}")
    _shape("input.shape", spec.shape, 1)
    channels = spec.shape[0]
    if frame is not None:
        sizes = (frame.length, frame.hop, frame.channels)
        _require(all(type(size) is int and size > 0 for size in sizes), f"frame: expected sizes above 0, got {sizes}")
        expected = (frame.length * frame.channels,)
        _require(spec.shape == expected, f"input.shape: expected {expected} as the frame has, got {spec.shape}")
        channels = frame.channels
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        finite = len(values) in (1, channels) and all(_is_number(value) for value in values)
        _require(finite, f"input.{name}: expected {channels} numbers, got {values}")
    positive = (*spec.std, spec.scale)
    _require(all(0 < value < math.inf for value in positive), f"input: expected std and scale above 0, got {positive}")
    seen = set()
    for tensor in model.tensors:
        _require(isinstance(tensor.name, str) and tensor.name not in seen, f"tensors: {tensor.name!r} is no new name")
        seen.add(tensor.name)
        place = f"tensors.{tensor.name}"
        _require(tensor.kind in _KINDS, f"{place}.kind: expected one of {_KINDS}, got {tensor.kind!r}")
        _require(tensor.dtype in _DTYPES, f"{place}.dtype: expected one of {_DTYPES}, got {tensor.dtype!r}")
        _shape(f"{place}.shape", tensor.shape, np.dtype(tensor.dtype).itemsize)
    _require(model.snapshot_bytes < LARGEST_BYTES, f"tensors: expected less than {LARGEST_BYTES} bytes together")


def check_graph(proto: onnx.ModelProto, path: Path) -> None:
    """Raises ModelError for a file that is no valid ONNX model of its own, whoever is to run it."""
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, UnicodeDecodeError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"{path}: expected a valid ONNX graph, got one that is not ({reason}); export again") from None


def check_interface(proto: onnx.ModelProto, model: Model, path: Path) -> None:
    """Raises ModelError for a graph that takes or gives something else than the metadata name."""
    tensors = {tensor.name: tensor for tensor in model.tensors}
    graph = proto.graph
    missing = [name for name in ("y",) if graph.name != "learn" and name not in {entry.name for entry in graph.output}]
    strange = [entry.name for entry in graph.input if entry.name not in {"x", "label", "steps", *tensors}]
    strange += [entry.name for entry in graph.output if entry.name.removesuffix(".new") not in {"y", *tensors}]
    for name in missing or strange:
        wanted = "an output" if missing else "no input or output"
        raise ModelError(f"{path}: expected {wanted} {name!r}, as the metadata have it; export again")
    for value in (*graph.input, *graph.output):
        _check_value(value, graph.name, model, path)
    for value in graph.initializer:
        tensor = tensors.get(value.name)
        if tensor is None:
            continue
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.data_type).name
        if (dtype, tuple(value.dims)) != (tensor.dtype, tensor.shape):
            raise ModelError(
                f"{path}: {value.name}: expected {tensor.dtype} {tensor.shape}, as the metadata have it, got {dtype} "
                f"{tuple(value.dims)}; export again"
            )


def _check_value(value: onnx.ValueInfoProto, graph: str, model: Model, path: Path) -> None:
    """Raises ModelError where an input or output has another type, or other sizes, than the metadata name.

    The batch may be symbolic, and the time steps of a window; nothing else, for buffers have the sizes of the metadata.
    """
    tensors = {tensor.name: (tensor.dtype, tensor.shape) for tensor in model.tensors}
    known = {
        "x": (model.input.dtype, (1, *model.input.shape)),
        "y": ("int32", (1, len(model.classes))),
        "label": ("int32", (1,)),
        "steps": ("int64", (1,)),
    }
    name = value.name.removesuffix(".new")
    dtype, shape = (tensors | known)[name]
    tensor = value.type.tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in tensor.shape.dim]
    over_time = graph == "window" and (value.name == "y" or (value.name == "x" and len(sizes) > len(shape)))
    wanted = [*([model.time_steps] if over_time else []), *shape]
    batched = {"x", "y"} | {tensor.name for tensor in model.tensors if tensor.kind == "state" and tensor.shape[0] == 1}
    symbolic = over_time + (name in batched)  # so many of the first may be
    fits = len(sizes) == len(wanted) and all(
        size == fixed or (i < symbolic and isinstance(size, str))
        for i, (size, fixed) in enumerate(zip(sizes, wanted, strict=True))
    )
    types = onnx.TensorProto.DataType.items()
    got = next((name.lower() for name, number in types if number == tensor.elem_type), str(tensor.elem_type))
    if not fits or got != dtype:
        open_sizes = [str(size) for size in sizes[symbolic:] if isinstance(size, str)]
        remedy = f"give {', '.join(open_sizes)} a number and " if open_sizes else ""
        raise ModelError(
            f"{path}: {value.name}: expected {dtype} {wanted}, as the metadata have it, got {got} "
            f"[{', '.join(map(str, sizes))}]; {remedy}export again"
        )


def _require(condition: object, text: str) -> None:
    if not condition:
        raise ValueError(text)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _shape(place: str, shape: tuple[Any, ...], itemsize: int) -> None:
    whole = bool(shape) and all(type(size) is int and size > 0 for size in shape)
    _require(whole and math.prod(shape) * itemsize < LARGEST_BYTES, f"{place}: expected sizes above 0, got {shape}")
