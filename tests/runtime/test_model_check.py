"""Models that no exporter writes: sealed, whole, and refused by the place that makes no sense."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from random_models import RandomModel, Shape

from edgesnn import export, runtime
from edgesnn.errors import BackendError, ModelError
from edgesnn.export.window import window
from edgesnn.runtime.content import CONTENT_HASH, SOURCE_HASH, content_hash
from edgesnn.runtime.model import Model
from edgesnn.runtime.verify import verify


@pytest.fixture
def folder(tmp_path):
    RandomModel(Shape((3,), hidden=(("Linear", 2),), classes=2), seed=4).write(tmp_path, vectors=False)
    return tmp_path


def reseal(folder, change, graph="step"):
    """Change a graph and give it the hashes of its new content, as one who means harm would."""
    path = folder / f"{graph}.onnx"
    proto = onnx.load_model(path)
    change(proto)
    kept = {e.key: e.value for e in proto.metadata_props if e.key not in (SOURCE_HASH, CONTENT_HASH)}
    onnx.helper.set_model_props(proto, kept)
    digest = content_hash(proto)
    onnx.helper.set_model_props(proto, {SOURCE_HASH: digest, **kept, CONTENT_HASH: digest})
    onnx.save_model(proto, path)


def entry(name, change):
    def apply(proto):
        found = next(e for e in proto.metadata_props if e.key == f"edgesnn.{name}")
        value = json.loads(found.value) if name not in ("name", "time_steps", "rate_hz") else None
        found.value = change if isinstance(change, str) else json.dumps(change(value))

    return apply


def tensors(key, value):
    return entry("tensors", lambda listed: [{**listed[0], key: value}, *listed[1:]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (entry("name", "../../etc/passwd"), "name: expected a C identifier, got '../../etc/passwd'"),
        (entry("time_steps", "0"), "time_steps: expected 1 or more, got 0"),
        (entry("classes", lambda _: []), "classes: expected at least one"),
        (entry("rate_hz", "nan"), "rate_hz: expected 0 or more, got nan"),
        (entry("input", lambda spec: {**spec, "dtype": "float64"}), "input.dtype: expected int8 or uint8, got float64"),
        (entry("input", lambda spec: {**spec, "shape": [-3]}), "input.shape: expected sizes above 0, got (-3,)"),
        (entry("input", lambda spec: {**spec, "shape": [2**40]}), "input.shape: expected sizes above 0, got"),
        (entry("input", lambda spec: {**spec, "scale": 0.0}), "expected std and scale above 0"),
        (entry("input", lambda spec: {**spec, "scale": float("inf")}), "expected std and scale above 0"),
        (entry("input", lambda spec: {**spec, "std": [0.0] * 3}), "expected std and scale above 0"),
        (entry("input", lambda spec: {**spec, "mean": [0.0] * 2}), "input.mean: expected 3 numbers"),
        (entry("input", lambda spec: {**spec, "mean": ["a"] * 3}), "input.mean: expected 3 numbers"),
        (entry("frame", lambda _: {"length": 2, "hop": 1, "channels": 2}), "input.shape: expected (4,) as the frame"),
        (entry("frame", lambda _: {"length": 3, "hop": 0, "channels": 1}), "frame: expected sizes above 0"),
        (tensors("kind", "secret"), "kind: expected one of"),
        (tensors("dtype", "object"), "dtype: expected one of"),
        (tensors("shape", [1, 2**31]), "shape: expected sizes above 0, got (1, 2147483648)"),
        (tensors("shape", [1.5]), "shape: expected sizes above 0, got (1.5,)"),
        (entry("tensors", lambda listed: [listed[0], *listed]), "is no new name"),
    ],
)
def test_metadata_that_make_no_sense(folder, change, words):
    reseal(folder, change)
    with pytest.raises(ModelError) as error:
        Model.load(folder)
    assert words in str(error.value)
    assert "step.onnx" in str(error.value)
    assert "\n" not in str(error.value)


def no_output(proto):
    del proto.graph.output[[entry.name for entry in proto.graph.output].index("y")]


def unknown_function(proto):
    proto.graph.node[0].op_type = "Mystery"


def another_input(proto):
    proto.graph.input.append(onnx.helper.make_tensor_value_info("secret", onnx.TensorProto.INT32, [1]))


def wider_weight(proto):
    at = [value.name for value in proto.graph.initializer].index("readout.weight")
    proto.graph.initializer[at].CopyFrom(onnx.numpy_helper.from_array(np.zeros((2, 5), np.int8), "readout.weight"))


def lost_producer(proto):
    del proto.graph.node[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (no_output, "expected an output 'y'"),
        (another_input, "expected no input or output 'secret'"),
        (wider_weight, r"readout\.weight: expected int8 \(2, 2\), as the metadata have it, got int8 \(2, 5\)"),
        (lost_producer, "expected a valid ONNX graph"),
    ],
)
def test_a_graph_that_is_none_of_this_model(folder, change, words):
    reseal(folder, change)
    with pytest.raises(ModelError, match=words):
        Model.load(folder)


@pytest.mark.parametrize("backend", ["reference", "ort"])
def test_a_function_that_nobody_knows_is_refused_by_the_backend(folder, backend):
    reseal(folder, unknown_function)
    with pytest.raises((BackendError, ModelError)) as error, runtime.open(folder, backend=backend) as session:
        session.step(np.zeros(3, np.int8))
    assert "Mystery" in str(error.value)
    assert "\n" not in str(error.value)


def sized(part, name, index, size):
    """A change of one dimension of an input or output: a number, or a name."""

    def apply(proto):
        entry = next(entry for entry in getattr(proto.graph, part) if entry.name == name)
        dim = entry.type.tensor_type.shape.dim[index]
        dim.Clear()
        setattr(dim, "dim_param" if isinstance(size, str) else "dim_value", size)

    return apply


def retyped(proto):
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


SYMBOLIC = [
    (
        sized("input", "x", 1, "C"),
        r"x: expected int8 \[1, 3\], .*, got int8 \[N, C\]; give C a number and export again",
    ),
    (sized("input", "n_fc0.v", 1, "H"), r"n_fc0\.v: expected int32 \[1, 2\], .*, got int32 \[N, H\]; give H a number"),
    (sized("input", "readout.weight", 0, "K"), r"readout\.weight: expected int8 \[2, 2\], .*; give K a number"),
    (sized("output", "y", 1, "K"), r"y: expected int32 \[1, 2\], .*, got int32 \[N, K\]; give K a number"),
    (sized("output", "n_fc0.v.new", 1, "C"), r"n_fc0\.v\.new: expected int32 \[1, 2\], .*; give C a number"),
]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *SYMBOLIC,
        (sized("input", "x", 0, 4), r"x: expected int8 \[1, 3\], .*, got int8 \[4, 3\]; export again"),
        (sized("input", "x", 1, 5), r"x: expected int8 \[1, 3\], .*, got int8 \[N, 5\]; export again"),
        (retyped, r"x: expected int8 \[1, 3\], as the metadata have it, got float \[N, 3\]; export again"),
    ],
)
def test_sizes_and_types_of_a_step_are_those_of_the_metadata(folder, change, words):
    """Symbolic where a buffer needs a number, or other numbers: one line, whoever opens it."""
    reseal(folder, change)
    for use in (Model.load, runtime.open, verify, export.c):
        with pytest.raises(ModelError, match=words) as error:
            use(folder)
        assert "step.onnx" in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("graph", "change", "words"),
    [
        (
            "window",
            sized("input", "x", 2, "C"),
            r"x: expected int8 \[1, 1, 3\], .*, got int8 \[1, N, C\]; give C a number",
        ),
        (
            "window",
            sized("output", "y", 0, 7),
            r"y: expected int32 \[1, 1, 2\], .*, got int32 \[7, N, 2\]; export again",
        ),
        ("window", sized("input", "n_fc0.v", 1, "C"), r"n_fc0\.v: expected int32 \[1, 2\], .*; give C a number"),
        (
            "learn",
            sized("input", "readout.trace", 1, "C"),
            r"readout\.trace: expected int32 \[1, 2\], .*; give C a number",
        ),
        (
            "learn",
            sized("input", "label", 0, "L"),
            r"label: expected int32 \[1\], .*, got int32 \[L\]; give L a number",
        ),
    ],
)
def test_sizes_of_the_other_graphs_too(folder, graph, change, words):
    source = {e.key: e.value for e in onnx.load(folder / "step.onnx").metadata_props}[SOURCE_HASH]
    reseal(folder, change, graph)
    path = folder / f"{graph}.onnx"
    proto = onnx.load(path)
    next(e for e in proto.metadata_props if e.key == SOURCE_HASH).value = source
    onnx.save_model(proto, path)
    with pytest.raises(ModelError, match=words) as error:
        Model.load(folder).graph(graph)
    assert f"{graph}.onnx" in str(error.value)


def test_batch_and_time_steps_may_be_symbolic(folder):
    model = Model.load(folder)
    onnx.save_model(window(model.step, None), folder / "window.onnx")
    assert Model.load(folder).window.steps is None
    assert Model.load(folder).graph("step").graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
