"""Shape and type of every value of a graph, for one stream."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, shape_inference

#: Shape and dtype.
Type = tuple[tuple[int, ...], str]


def single_stream(proto: onnx.ModelProto) -> dict[str, Type]:
    """Shape and dtype of each value, for one stream."""
    single = onnx.ModelProto()
    single.CopyFrom(proto)
    for entry in single.graph.input:
        for dim in entry.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = 1
    for entry in single.graph.output:
        entry.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(single, data_prop=True).graph
    types = {
        entry.name: (
            tuple(dim.dim_value for dim in entry.type.tensor_type.shape.dim),
            str(helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)),
        )
        for entry in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    unknown = [
        entry.name
        for entry in (*inferred.value_info, *inferred.output)
        if not entry.type.tensor_type.HasField("shape") or 0 in types[entry.name][0]
    ]
    return types | (_observed(single, unknown) if unknown else {})


def _observed(proto: onnx.ModelProto, names: list[str]) -> dict[str, Type]:
    """Shape and dtype of these values in one run on zeros: inference does not see shapes that a body computes."""
    from edgesnn.runtime.ort import open_as_is

    watched = onnx.ModelProto()
    watched.CopyFrom(proto)
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_as_is(watched, level="disable")  # not all graphs can be optimized that `rewrite` has not seen
    given = {entry.name for entry in proto.graph.initializer}
    zeros = {
        entry.name: np.zeros(
            [dim.dim_value for dim in entry.type.tensor_type.shape.dim],
            helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type),
        )
        for entry in proto.graph.input
        if entry.name not in given
    }
    values = session.run(names, zeros)
    return {name: (value.shape, str(value.dtype)) for name, value in zip(names, values, strict=True)}
