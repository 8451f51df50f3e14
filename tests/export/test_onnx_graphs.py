"""`export.onnx`: valid files, whole metadata, one identity in all graphs, equal bytes each time, one-line refusals."""

from __future__ import annotations

import copy
import json
import shutil

import numpy as np
import onnx
import pytest
from quantized import digits, network

import edgesnn as es
from edgesnn import export
from edgesnn.errors import EdgesnnError, ExportError, QuantizationError
from edgesnn.export import learning
from edgesnn.models import Network
from edgesnn.runtime import open as open_session
from edgesnn.runtime import vector_file
from edgesnn.runtime.content import CONTENT_HASH, SOURCE_HASH, content_hash
from edgesnn.runtime.model import Model, WindowSpec
from edgesnn.runtime.verify import verify

GRAPHS = ("step", "window", "learn")
LEAK = 0.9


@pytest.fixture(scope="module", params=["empf", "conv-empf"])
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    export.onnx(
        network(request.param, LEAK), path, window=3, learn="readout", rule="SLTT", name="tiny", learning_rate=1e-2
    )
    return path


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


@pytest.mark.parametrize("graph", GRAPHS)
def test_files_are_valid_onnx(folder, graph):
    proto = onnx.load(folder / f"{graph}.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert proto.ir_version == 10
    assert {entry.domain: entry.version for entry in proto.opset_import} == {"": 20, "edgesnn": 1}
    called = {node.op_type for node in proto.graph.node if node.domain == "edgesnn"}
    assert called <= {function.name for function in proto.functions}


def test_metadata_is_complete(folder):
    meta = metadata(folder / "step.onnx")
    keys = ("format", "name", "rule", "time_steps", "input", "frame", "rate_hz", "classes", "channels", "tensors",
            "learn", "source_hash", "content_hash")  # fmt: skip
    assert set(meta) == {f"edgesnn.{key}" for key in keys}
    assert (meta["edgesnn.format"], meta["edgesnn.name"], meta["edgesnn.rule"]) == ("1", "tiny", "SLTT")
    assert (meta["edgesnn.time_steps"], meta["edgesnn.rate_hz"], meta["edgesnn.frame"]) == ("3", "0", "null")
    assert json.loads(meta["edgesnn.classes"]) == [str(digit) for digit in range(10)]
    entry = json.loads(meta["edgesnn.input"])
    assert set(entry) == {"shape", "dtype", "scale", "zero_point", "mean", "std"}
    assert entry["mean"] == digits().mean.tolist()
    assert entry["std"] == digits().std.tolist()
    learn = json.loads(meta["edgesnn.learn"])
    assert set(learn) == {"scope", "weight_shift", "bias_shift", "seed"}
    assert (learn["scope"], learn["seed"]) == ("readout", 1)


def test_persistent_tensors_are_inputs_and_outputs(folder):
    """Each listed tensor is an input of the step or learning graph and comes back from one of them as `name.new`."""
    graphs = [onnx.load(folder / f"{name}.onnx").graph for name in ("step", "learn")]
    inputs = {entry.name for graph in graphs for entry in graph.input}
    outputs = {entry.name for graph in graphs for entry in graph.output}
    tensors = json.loads(metadata(folder / "step.onnx")["edgesnn.tensors"])
    for tensor in tensors:
        assert tensor["name"] in inputs
        assert f"{tensor['name']}.new" in outputs
    assert outputs == {f"{tensor['name']}.new" for tensor in tensors} | {"y"}
    assert [t["kind"] for t in tensors if t["name"].startswith("readout.")] == ["param", "param", "state", "state"]


def test_all_graphs_are_of_one_model(folder):
    meta = {graph: metadata(folder / f"{graph}.onnx") for graph in GRAPHS}
    for graph in GRAPHS:
        assert {k: v for k, v in meta[graph].items() if k != CONTENT_HASH} == {
            k: v for k, v in meta["step"].items() if k != CONTENT_HASH
        }
        assert meta[graph][CONTENT_HASH] == content_hash(onnx.load(folder / f"{graph}.onnx"))
    assert len({meta[graph][CONTENT_HASH] for graph in GRAPHS}) == 3
    assert meta["step"][SOURCE_HASH] == meta["step"][CONTENT_HASH]


def exported(qnet, path, **options):
    return export.onnx(qnet, path, **{"window": 3, "learn": "readout", "learning_rate": 1e-2} | options)


@pytest.mark.parametrize("case", ["empf", "conv-empf"])
def test_any_change_of_a_parameter_changes_the_hash(tmp_path, case):
    """One weight, one threshold, one leak, one norm, one bias: six models."""
    original = network(case, LEAK)

    def flip_weight(layer):
        layer.weight.data.view(-1)[0] *= -1

    def change(name, attribute):
        return lambda q: getattr(q.layers[name], attribute).data.view(-1)[0].add_(0.1)

    first = next(name for name in original.layers if name.endswith("1"))
    changes = [
        lambda q: None, lambda q: flip_weight(q.layers[first]), lambda q: flip_weight(q.layers[first[:-1] + "2"]),
        lambda q: flip_weight(q.readout), change("neuron2", "theta_raw"), change("neuron1", "lam_raw"),
        change("norm1", "bias"), change("readout", "bias"),
    ]  # fmt: skip
    hashes = set()
    for make in changes:
        qnet = copy.deepcopy(original)
        make(qnet)
        hashes.add(exported(qnet, tmp_path).source_hash)
    hashes.add(exported(original, tmp_path, seed=2).source_hash)
    hashes.add(exported(original, tmp_path, learn=None).source_hash)
    assert len(hashes) == len(changes) + 2


def test_exporting_twice_gives_the_same_bytes(folder, tmp_path):
    case = "conv-empf" if "conv" in folder.name else "empf"
    again = export.onnx(
        network(case, LEAK), tmp_path, window=3, learn="readout", rule="SLTT", name="tiny", learning_rate=1e-2
    )
    for graph in GRAPHS:
        assert (again.path / f"{graph}.onnx").read_bytes() == (folder / f"{graph}.onnx").read_bytes()
    assert (folder / "vectors.json").read_bytes() == (tmp_path / "vectors.json").read_bytes()


def test_vectors_are_what_a_backend_gives(folder):
    model = Model.load(folder)
    stored = vector_file.read(model)
    with open_session(folder, backend="ort") as session:
        assert np.array_equal(session.run(stored.x, stored.labels), stored.y)
        assert session.snapshot() == model.pack(stored.tensors)
        assert (stored.labels >= 0).any()


def test_binary_weights_are_stored_as_bits(tmp_path):
    """256 x 256 weights of the second layer: 8 KB of bits, where int8 would be 64 KB."""
    net = es.models.mlp(64, [256, 256], 10)
    qnet = es.quantize(net, calibrate=digits(), epochs=0)
    model = export.onnx(qnet, tmp_path)
    sizes = {init.name: len(init.raw_data) for init in model.step.graph.initializer}
    assert sizes["linear2.weight"] == 256 * 256 // 8
    others = sum(sizes.values()) - sizes["linear2.weight"]
    assert (tmp_path / "step.onnx").stat().st_size < others + 256 * 256 // 8 + 12_000  # names, functions, metadata


def test_window_of_the_data_is_the_default(tmp_path):
    model = export.onnx(network("empf"), tmp_path)
    assert model.time_steps == 4
    assert model.learn is None
    assert not (tmp_path / "learn.onnx").exists()


@pytest.mark.parametrize("held", [False, True])
def test_a_window_of_any_number_of_steps_is_of_the_same_model(folder, tmp_path, held):
    """Only window.onnx is another: states and test vectors of one serve the other."""
    case = "conv-empf" if "conv" in folder.name else "empf"
    usual = export.onnx(network(case, LEAK), tmp_path / "usual", learn="readout", learning_rate=1e-2)
    other = export.onnx(
        network(case, LEAK), tmp_path / "dynamic", window="dynamic", constant_input=held, learn="readout",
        learning_rate=1e-2,
    )  # fmt: skip
    assert (usual.window, other.window) == (WindowSpec(4, held=False), WindowSpec(None, held=held))
    assert usual.source_hash == other.source_hash
    for name in ("step.onnx", "learn.onnx", "vectors.json"):
        assert (usual.path / name).read_bytes() == (other.path / name).read_bytes()
    onnx.checker.check_model(onnx.load(other.path / "window.onnx"), full_check=True)
    assert all(check.equal and check.compared for check in verify(other.path, steps=12))


def test_images_of_several_channels_that_enter_as_one_row_keep_their_normalization(tmp_path):
    random = np.random.default_rng(0)
    values = random.normal((3.0, -50.0, 900.0), (1.0, 20.0, 300.0), (24, 2, 4, 3)).transpose(0, 3, 1, 2)
    images = es.data.Images(values.astype(np.float32), np.arange(24) % 2)
    data = es.data.from_images(images, None, images)
    net = es.models.mlp(24, [6], 2, es.EMPF(theta=0.1))
    model = export.onnx(es.quantize(net, calibrate=data, epochs=0), tmp_path)
    mean, std = (part.reshape(3, 1, 1) for part in (data.mean, data.std))
    scaled = np.rint((images.values.astype(np.float64) - mean) / std / model.input.scale).reshape(24, 24)
    np.testing.assert_array_equal(model.quantize(images.values.reshape(24, 24)), np.clip(scaled, -128, 127))
    assert scaled.std(0).min() > 10
    export.c(tmp_path)
    assert all(check.equal for check in verify(tmp_path, ["ort", "native"], steps=4))


def test_exporting_again_without_learning_removes_the_learning_graph(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert (tmp_path / "learn.onnx").exists()
    export.onnx(network("empf"), tmp_path)
    assert not (tmp_path / "learn.onnx").exists()
    assert Model.load(tmp_path).graph("window") is not None


@pytest.mark.parametrize(("data", "name"), [
    ("digits", "digits"), ("/tmp/My Stream-2.csv", "my_stream_2"), ("8 people.csv", "model_8_people"),
    ("...", "model_"), ("größe.csv", "gr_e"),
])  # fmt: skip
def test_name_of_the_data_becomes_a_c_identifier(tmp_path, data, name):
    qnet = copy.deepcopy(network("empf"))
    qnet.config["data"]["name"] = data
    assert export.onnx(qnet, tmp_path).name == name


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "pattern"), [
    ({"learn": "everything"}, r"^learn: expected one of means, readout, .*, all, or none, got 'everything'"),
    ({"window": 0}, r"^window: expected at least 1 time step, got 0; choose 1 or more"),
    ({"window": -3}, r"^window: expected at least 1 time step, got -3; choose 1 or more"),
    ({"window": "any"}, r"^window: expected a number of time steps or 'dynamic', got 'any'; choose one"),
    ({"window": 2.0}, r"^window: expected a number of time steps or 'dynamic', got 2.0; choose one"),
    ({"name": "8people"}, r"^name: expected a C identifier other than main, esnn, got '8people'; use letters"),
    ({"name": "a-b"}, r"^name: expected a C identifier other than main, esnn, got 'a-b'"),
    ({"name": "größe"}, r"^name: expected a C identifier other than main, esnn, got 'größe'"),
    ({"name": ""}, r"^name: expected a C identifier other than main, esnn, got ''"),
    ({"name": "main"}, r"^name: expected a C identifier other than main, esnn, got 'main'"),
    ({"learn": "readout", "learning_rate": 0.0}, r"^learn: expected a learning rate above 0, got 0; choose one near"),
    ({"learn": "readout", "learning_rate": 1e9}, r"^learn: expected a learning rate from .*, got 1e"),
    ({"learn": "readout", "seed": -1}, r"^learn: expected a seed from 0 to 4294967295, got -1; "),
])  # fmt: skip
def test_options_that_are_wrong(tmp_path, options, pattern):
    with pytest.raises(ExportError, match=pattern) as error:
        export.onnx(network("empf", LEAK), tmp_path / "out", **options)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, EdgesnnError)
    assert not (tmp_path / "out").exists()


def uncalibrated():
    return es.quantize(es.models.mlp(64, [8], 10))


def partly_calibrated():
    qnet = copy.deepcopy(network("empf"))
    qnet.layers["neuron2"].calibrated.fill_(False)
    return qnet


@pytest.mark.parametrize(("make", "pattern"), [
    (lambda: es.models.mlp(64, [8], 10), r"^network: expected a quantized network, got a float one; run"),
    (uncalibrated, r"^input: expected a calibrated quantizer, got one that never saw data; pass calibrate=data"),
    (partly_calibrated, r"^neuron2: expected a calibrated quantizer, got one that never saw data"),
])  # fmt: skip
def test_networks_that_are_not_ready(tmp_path, make, pattern):
    with pytest.raises(QuantizationError, match=pattern) as error:
        export.onnx(make(), tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("learn", [None, "readout"])
def test_a_network_without_a_readout(tmp_path, learn):
    whole = network("empf")
    layers = {name: layer for name, layer in whole.layers.items() if name != "readout"}
    with pytest.raises(ExportError, match=r"^network: expected a readout as its last layer, got none; end it with"):
        export.onnx(Network(layers, whole.config, whole.input_shape, 10), tmp_path / "out", learn=learn)


def damage(qnet, name, attribute, value):
    getattr(qnet.layers[name], attribute).data.fill_(value)


@pytest.mark.parametrize(("name", "attribute", "value", "pattern"), [
    ("norm1", "running_var", float("nan"), r"^norm1: expected finite numbers, got nan in running_var; train again"),
    ("norm2", "bias", float("inf"), r"^norm2: expected finite numbers, got inf in bias; train again"),
    ("norm1", "bias", 1e8, r"^neuron1: expected offsets within int32"),
    ("norm1", "bias", 1e6, r"^linear1.rescale: expected values within \+-1073741824, got a bound of \d+; reduce"),
    ("norm2", "weight", 1e9, r"^neuron2: expected a scale that fits 30 bits and 53-bit products, got .*; reduce"),
    ("neuron2", "theta_raw", 1e5, r"^neuron2.fire: expected thresholds from 0 to 8388607, got \d+ to \d+; retrain"),
])  # fmt: skip
def test_integers_that_could_overflow(tmp_path, name, attribute, value, pattern):
    """What training may do to a network; nothing is written then."""
    qnet = copy.deepcopy(network("empf"))
    damage(qnet, name, attribute, value)
    with pytest.raises(EdgesnnError, match=pattern) as error:
        export.onnx(qnet, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_refused_learning_graph_leaves_no_half_written_folder(folder, tmp_path, monkeypatch):
    """Whatever is refused is refused before the first file changes."""

    def refuse(*_):
        raise ExportError("readout.learn: refused")

    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(learning, "learn_graph", refuse)
    with pytest.raises(ExportError, match="refused"):
        export.onnx(network("empf"), tmp_path, learn="readout", learning_rate=1e-2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
