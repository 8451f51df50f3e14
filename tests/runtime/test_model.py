"""An exported folder: metadata, snapshots, the integer frame, and every way in which a file can be wrong."""

from __future__ import annotations

import json
import math
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import SEED, RandomModel, Shape
from toy import make_model

from edgesnn.errors import DataError, EdgesnnError, ModelError, StateError
from edgesnn.runtime.content import CONTENT_HASH, SOURCE_HASH, content_hash
from edgesnn.runtime.model import Model, PersistentTensor, read_graph

GRAPHS = ("step", "window", "learn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    RandomModel(Shape((5,), hidden=(("BinaryLinear", 3), ("Linear", 6)), steps=2), seed=4).write(path, vectors=False)
    return path


@pytest.fixture(scope="module")
def scratch(folder, tmp_path_factory):
    """A copy whose files tests may write over, one at a time, and put back."""
    return shutil.copytree(folder, tmp_path_factory.mktemp("scratch") / "model")


def refusal(action, *words, kind=ModelError):
    """The one line of the error that `action` ends with."""
    with pytest.raises(EdgesnnError) as error:
        action()
    text = str(error.value)
    assert type(error.value) is kind
    assert "\n" not in text
    assert all(word in text for word in words), text
    return text


def read(folder: Path, graph: str) -> onnx.ModelProto:
    return Model.load(folder).graph(graph)


def resealed(proto: onnx.ModelProto, **metadata: str | None) -> onnx.ModelProto:
    """A graph with changed metadata (None: left out) and hashes that agree with it."""
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    entries |= {f"edgesnn.{key}": value for key, value in metadata.items()}
    for name in (SOURCE_HASH, CONTENT_HASH):
        entries.pop(name, None)
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    onnx.helper.set_model_props(result, {key: value for key, value in entries.items() if value is not None})
    digest = content_hash(result)
    for name in (SOURCE_HASH, CONTENT_HASH):
        result.metadata_props.add(key=name, value=digest)
    return result


def damaged(scratch: Path, graph: str, content: bytes) -> None:
    """Reading the graph with this content is refused in one line."""
    path = scratch / f"{graph}.onnx"
    whole = path.read_bytes()
    try:
        path.write_bytes(content)
        refusal(lambda: read(scratch, graph), f"{graph}.onnx")
    finally:
        path.write_bytes(whole)


def test_metadata_of_an_export(folder):
    model = Model.load(folder)
    assert (model.name, model.rule, model.time_steps, model.classes) == ("rand", "none", 2, ["c0", "c1", "c2"])
    assert (model.input.shape, model.input.dtype, model.input.scale) == ((5,), "int8", 0.05)
    assert model.frame is None
    assert model.learn is not None
    assert (model.learn.scope, model.learn.numbers["seed"]) == ("readout", SEED)
    assert model.model_id == int(model.source_hash[:16], 16)
    assert {read(folder, name).graph.name for name in GRAPHS} == set(GRAPHS)


def test_persistent_tensors_follow_each_other_on_multiples_of_four(folder):
    model = Model.load(folder)
    offset = 0
    for tensor in model.tensors:
        assert tensor.offset == offset
        assert tensor.nbytes == np.zeros(tensor.shape, tensor.dtype).nbytes
        offset = 4 * math.ceil((offset + tensor.nbytes) / 4)
    assert model.snapshot_bytes == offset
    kinds = {tensor.name: tensor.kind for tensor in model.tensors}
    assert kinds["readout.weight"] == "param"
    assert kinds["learn.count"] == "learner"
    assert kinds["t"] == kinds["readout.acc"] == "state"


def test_a_snapshot_by_hand():
    model = make_model(None, (1,))
    model.tensors = (
        PersistentTensor("a", "param", "int8", (3,), 0),
        PersistentTensor("b", "state", "int32", (1, 2), 4),
        PersistentTensor("c", "learner", "int32", (), 12),
    )
    model.snapshot_bytes = 16
    values = {"a": np.array([1, -1, 127], np.int8), "b": np.array([[-2, 2**31 - 1]], np.int32), "c": np.int32(256)}
    raw = bytes([1, 255, 127, 0]) + bytes([254, 255, 255, 255, 255, 255, 255, 127]) + bytes([0, 1, 0, 0])
    assert model.pack(values) == raw
    again = model.unpack(raw)
    for name, value in values.items():
        assert again[name].dtype == value.dtype
        np.testing.assert_array_equal(again[name], value)


@given(st.randoms(use_true_random=False))
def test_pack_and_unpack_are_inverse(folder, random):
    model = Model.load(folder)
    values = {
        tensor.name: np.frombuffer(random.randbytes(tensor.nbytes), tensor.dtype).reshape(tensor.shape)
        for tensor in model.tensors
    }
    again = model.unpack(model.pack(values))
    assert all(np.array_equal(again[name], value) for name, value in values.items())
    assert model.pack(again) == model.pack(values)


def test_the_factory_has_zeros_and_the_initializers(folder):
    model = Model.load(folder)
    initial = {init.name: onnx.numpy_helper.to_array(init) for init in model.step.graph.initializer}
    for tensor in model.tensors:
        value = model.factory[tensor.name]
        assert (value.shape, str(value.dtype)) == (tensor.shape, tensor.dtype)
        np.testing.assert_array_equal(value, initial[tensor.name] if tensor.kind == "param" else 0)
    assert initial["readout.weight"].any()


@pytest.mark.parametrize("change", [-4, -1, 1, 4])
def test_a_snapshot_of_another_size_is_refused(folder, change):
    model = Model.load(folder)
    size = model.snapshot_bytes
    refusal(lambda: model.unpack(bytes(size + change)), f"expected {size} bytes, got {size + change}", kind=StateError)


# The integer frame: an independent formula in exact fractions.


def frame_by_hand(value: float, mean: float, std: float, scale: float, low: int, high: int) -> set[int]:
    """round_half_even(((value - mean) / std) / scale), clipped; two results where float64 cannot tell which."""
    exact = (Fraction(value) - Fraction(mean)) / Fraction(std) / Fraction(scale)
    error = abs(exact) * Fraction(1, 2**50) + Fraction(abs(mean) / std / scale) * Fraction(1, 2**50)
    return {max(low, min(high, round(exact + side))) for side in (-error, Fraction(0), error)}


REAL = st.floats(-1e4, 1e4, allow_nan=False)
POSITIVE = st.floats(1e-3, 1e3)


@given(
    st.lists(REAL, min_size=6, max_size=6),
    st.tuples(REAL, REAL),
    st.tuples(POSITIVE, POSITIVE),
    POSITIVE,
    st.sampled_from(["int8", "uint8"]),
)
def test_a_frame_of_a_stream_is_quantized_by_channel(values, mean, std, scale, dtype):
    model = make_model({"length": 3, "hop": 1, "channels": 2}, (6,))
    model.input = type(model.input)((6,), dtype, scale, mean, std)
    got = model.quantize(np.array(values))
    limits = np.iinfo(dtype)
    assert got.dtype == dtype
    for i, value in enumerate(values):  # rows are flattened: the channel is the fastest axis
        assert int(got[i]) in frame_by_hand(value, mean[i % 2], std[i % 2], scale, limits.min, limits.max)


@given(st.lists(REAL, min_size=12, max_size=12), st.tuples(REAL, REAL), st.tuples(POSITIVE, POSITIVE), POSITIVE)
def test_a_frame_of_an_image_is_quantized_by_its_first_axis(values, mean, std, scale):
    model = make_model(None, (2, 2, 3))
    model.input = type(model.input)((2, 2, 3), "int8", scale, mean, std)
    got = model.quantize(np.array(values).reshape(2, 2, 3)).ravel()
    for i, value in enumerate(values):
        assert int(got[i]) in frame_by_hand(value, mean[i // 6], std[i // 6], scale, -128, 127)


def test_half_goes_to_the_even_integer_and_the_ends_are_kept():
    model = make_model({"length": 4, "hop": 1, "channels": 1}, (4,))
    assert model.quantize([0.5, 1.5, 2.5, -0.5]).tolist() == [0, 2, 2, 0]
    assert model.quantize([127.4, 127.5, -128.4, -1e300]).tolist() == [127, 127, -128, -128]
    assert model.quantize(np.zeros((3, 2, 4))).shape == (3, 2, 4)


def test_frames_that_are_no_frames_are_one_line():
    model = make_model({"length": 3, "hop": 1, "channels": 2}, (6,))
    for shape in ((5,), (7,), (), (3, 2), (6, 1)):
        refusal(lambda shape=shape: model.quantize(np.zeros(shape)), "expected shape (6,)", kind=DataError)
    for value in (math.nan, math.inf, -math.inf):
        refusal(lambda value=value: model.quantize([0, 0, value, 0, 0, 0]), "finite", kind=DataError)


# Damage.


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graph_cut_anywhere_is_refused(scratch, graph):
    whole = (scratch / f"{graph}.onnx").read_bytes()
    for size in (*range(0, len(whole), 101), *range(len(whole) - 80, len(whole))):
        damaged(scratch, graph, whole[:size])


@pytest.mark.parametrize("graph", GRAPHS)
@given(st.data())
def test_a_flipped_bit_anywhere_is_refused(scratch, graph, data):
    broken = bytearray((scratch / f"{graph}.onnx").read_bytes())
    for bit in data.draw(st.sets(st.integers(0, 8 * len(broken) - 1), min_size=1, max_size=3)):
        broken[bit // 8] ^= 1 << bit % 8
    damaged(scratch, graph, bytes(broken))


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_flipped_bit_in_names_and_hashes_is_refused(scratch, graph):
    """Everything behind the graph: functions, metadata and their hashes are at the end of the file."""
    whole = (scratch / f"{graph}.onnx").read_bytes()
    for position in range(whole.index(b"edgesnn.source_hash") - 4, whole.index(b"edgesnn.source_hash") + 90):
        broken = bytearray(whole)
        broken[position] ^= 1 << position % 8
        damaged(scratch, graph, bytes(broken))


@pytest.mark.parametrize("graph", GRAPHS)
@given(st.data())
def test_noise_is_refused(scratch, graph, data):
    damaged(scratch, graph, data.draw(st.binary(max_size=200)))


def test_a_tensor_kept_in_another_file_is_refused(scratch, tmp_path):
    proto = onnx.load_model(scratch / "step.onnx")
    tensor = proto.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for location in ("weights.bin", str(tmp_path / "weights.bin"), "../weights.bin"):
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value=location)
        damaged(scratch, "step", proto.SerializeToString())


@pytest.mark.parametrize("graph", ["window", "learn"])
def test_a_graph_of_another_model_is_refused(scratch, tmp_path, graph):
    RandomModel(Shape((5,), steps=2), seed=5).write(tmp_path, vectors=False)
    damaged(scratch, graph, (tmp_path / f"{graph}.onnx").read_bytes())
    shutil.copy(scratch / "step.onnx", tmp_path)
    ours, theirs = Model.load(scratch).source_hash[:16], read_graph(tmp_path / f"{graph}.onnx").metadata_props
    other = {entry.key: entry.value for entry in theirs}[SOURCE_HASH][:16]
    refusal(lambda: read(tmp_path, graph), f"{graph}.onnx", ours, other)


def test_a_changed_weight_is_refused_though_the_file_parses(scratch):
    proto = onnx.load_model(scratch / "step.onnx")
    raw = bytearray(proto.graph.initializer[0].raw_data)
    raw[0] ^= 1
    proto.graph.initializer[0].raw_data = bytes(raw)
    damaged(scratch, "step", proto.SerializeToString())


def test_missing_files_are_one_line(scratch, tmp_path):
    refusal(lambda: Model.load(tmp_path / "none"), str(tmp_path / "none"), "expected a folder")
    refusal(lambda: Model.load(scratch / "step.onnx"), "expected a folder")
    refusal(lambda: Model.load(tmp_path), str(tmp_path / "step.onnx"), "found no file", "edgesnn export")
    (tmp_path / "step.onnx").mkdir()
    refusal(lambda: Model.load(tmp_path), "step.onnx")
    (tmp_path / "step.onnx").rmdir()
    shutil.copy(scratch / "step.onnx", tmp_path)
    for graph in ("window", "learn"):
        refusal(lambda graph=graph: read(tmp_path, graph), f"{graph}.onnx", "found no file")


@pytest.mark.parametrize(("version", "got"), [("2", "got 2"), ("", "got ;"), (None, "got none")])
def test_another_format_is_refused(scratch, tmp_path, version, got):
    onnx.save_model(resealed(onnx.load_model(scratch / "step.onnx"), format=version), tmp_path / "step.onnx")
    refusal(lambda: Model.load(tmp_path), "step.onnx", "expected edgesnn format 1", got)


@pytest.mark.parametrize(("content", "got"), [(b"", "an empty file"), (b"\x08\x0a", "a file without a model")])
@pytest.mark.parametrize("graph", ["step", "window", "learn"])
def test_a_file_that_holds_no_model_is_refused(scratch, tmp_path, graph, content, got):
    shutil.copytree(scratch, tmp_path, dirs_exist_ok=True)
    (tmp_path / f"{graph}.onnx").write_bytes(content)
    refusal(lambda: read(tmp_path, graph), f"{graph}.onnx: expected an ONNX model, got {got}; export again")


def test_onnx_from_elsewhere_is_refused(tmp_path):
    onnx.save_model(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), tmp_path / "step.onnx")
    refusal(lambda: Model.load(tmp_path), "expected edgesnn format 1, got none")


MALFORMED = [
    *(
        (key, None)
        for key in ("name", "rule", "time_steps", "input", "frame", "rate_hz", "classes", "tensors", "learn")
    ),
    *((key, "{") for key in ("input", "frame", "classes", "tensors", "learn")),
    *((key, "5") for key in ("input", "frame", "classes", "tensors", "learn")),
    *((key, "null") for key in ("input", "classes", "tensors")),
    ("time_steps", "four"),
    ("rate_hz", "fast"),
    ("input", '{"shape": [5]}'),
    ("input", '{"shape": [5], "dtype": "int8", "scale": "x", "mean": [0], "std": [1]}'),
    ("input", '{"shape": [5], "dtype": "int9", "scale": 1, "mean": [0], "std": [1]}'),
    ("frame", '{"length": 3}'),
    ("learn", '{"scope": "readout", "rate": "fast"}'),
    ("tensors", '[{"name": "t"}]'),
    ("tensors", '[{"name": "t", "kind": "state", "dtype": "int33", "shape": [1]}]'),
]


@pytest.mark.parametrize(("key", "value"), MALFORMED, ids=[f"{key}={value}" for key, value in MALFORMED])
def test_metadata_that_is_missing_or_malformed_is_refused(scratch, tmp_path, key, value):
    onnx.save_model(resealed(onnx.load_model(scratch / "step.onnx"), **{key: value}), tmp_path / "step.onnx")
    refusal(lambda: Model.load(tmp_path), "step.onnx", "metadata")


def test_resealed_as_it_was_loads(scratch, tmp_path):
    """The refusals above are of what was changed, not of the way the test writes a graph."""
    proto = onnx.load_model(scratch / "step.onnx")
    onnx.save_model(resealed(proto), tmp_path / "step.onnx")
    assert Model.load(tmp_path).source_hash == Model.load(scratch).source_hash
    onnx.save_model(resealed(proto, classes=json.dumps(["a", "b", "c"])), tmp_path / "step.onnx")
    assert Model.load(tmp_path).classes == ["a", "b", "c"]
