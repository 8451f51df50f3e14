"""Where a difference begins: one thing is broken in each place that can break, and the node of that place is named."""

from __future__ import annotations

import re
import shutil

import onnx
import pytest
from random_models import RandomModel, Shape
from typer.testing import CliRunner

from edgesnn.cli.app import app
from edgesnn.export.c_package import c
from edgesnn.export.window import window
from edgesnn.runtime import ort
from edgesnn.runtime.model import Model
from edgesnn.runtime.verify import verify

STEPS = 16
ALL = "; every value before it is equal"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network in which every layer is active; the middle neuron has no state."""
    path = tmp_path_factory.mktemp("model")
    hidden = (("BinaryLinear", 5), ("Linear", 6), ("Linear", 4))
    RandomModel(Shape((6,), hidden=hidden, neurons=("EMPF", "ParallelEMPF", "LIF"), steps=3), seed=22).write(path)
    c(path)
    return path


def locations(folder, backend):
    return {check.graph: check.location for check in verify(folder, [backend], steps=STEPS) if check.location}


@pytest.fixture
def broken(monkeypatch):
    """Let ONNX Runtime be given a graph that was changed by a function of it; the files stay as they are."""
    rewritten = ort.create_session

    def patch(graph, change, create=rewritten):
        def changed(raw, threads=1):
            proto = onnx.load_model_from_string(raw)
            if proto.graph.name == graph:
                change(proto)
            return create(proto.SerializeToString(), threads)

        monkeypatch.setattr(ort, "create_session", changed)

    return patch


def flip(tensor, bit):
    """Flip one bit of every number of an initializer."""

    def change(proto):
        values = next(init for init in proto.graph.initializer if init.name == tensor)
        numbers = onnx.numpy_helper.to_array(values)
        values.CopyFrom(onnx.numpy_helper.from_array(numbers ^ numbers.dtype.type(1 << bit), tensor))

    return change


@pytest.mark.parametrize(
    ("tensor", "bit", "place"),
    [
        ("fc0.weight", 2, "fc0.synapse (BinaryLinear): fc0.a flat index 0 [0, 0]: expected "),
        ("fc0.M", 20, "fc0.rescale (Rescale): fc0.I flat index 0 [0, 0]: expected "),
        ("n_fc0.theta", 10, "n_fc0.theta.at (Gather): n_fc0.theta.now flat index 0 [0]: expected "),
        ("fc1.b", 12, "fc1.rescale (Rescale): fc1.I flat index 0 [0, 0]: expected "),
        ("n_fc1.theta", 10, "n_fc1.theta.at (Gather): n_fc1.theta.now flat index 0 [0]: expected "),
        ("readout.leak", 12, "readout.integrate (LeakyIntegrate): y flat index 0 [0, 0]: expected "),
    ],
)
@pytest.mark.parametrize("graph", ["step", "window"])
def test_a_flipped_bit_of_a_graph_is_located_by_its_node(folder, broken, graph, tensor, bit, place):
    broken(graph, flip(tensor, bit))
    found = locations(folder, "ort")
    assert found.keys() == {graph}
    assert found[graph].endswith(ALL)
    if graph == "step":
        assert found[graph].startswith(place)
    else:  # unrolled or batched over the steps: NAME.t or NAME.all
        node, value = re.match(r"(\S+) \(\w+\): (\S+) flat", found[graph]).groups()
        assert re.sub(r"\.\d+$", "", node) == place.split()[0]
        assert re.sub(r"\.(\d+|all)$", "", value) == re.search(r": (\S+) flat", place)[1]


@pytest.mark.parametrize(
    ("tensor", "bit", "place"),
    [
        ("fc0.weight", 2, r"fc0\.synapse \(BinaryLinear\): fc0\.a\.all flat .*; every value before it is equal"),
        ("n_fc0.theta", 10, r"n_fc0\.fire \(EMPF\): n_fc0\.v\.new flat .*; every value before its Scan is equal"),
        (
            "n_fc2.theta",
            10,
            r"n_fc2\.theta\.at \(Gather\): n_fc2\.theta\.now\.steps flat .*; every value before its Scan",
        ),
        ("readout.leak", 12, r"readout\.average \(Trace\): readout\.trace\.new flat .*; every value before its Scan"),
    ],
)
def test_a_window_of_any_number_of_steps_is_located_in_the_bodies_of_its_scans(
    folder, tmp_path, broken, tensor, bit, place
):
    shutil.copytree(folder, tmp_path / "m", ignore=shutil.ignore_patterns(".build", "c"))
    onnx.save_model(window(Model.load(tmp_path / "m").step, None), tmp_path / "m" / "window.onnx")
    broken("window", flip(tensor, bit))
    found = locations(tmp_path / "m", "ort")
    assert found.keys() == {"window"}
    assert re.match(place, found["window"])


def test_a_changed_function_body_is_located_by_the_first_node_that_calls_it(folder, broken):
    def quarter(proto):
        body = next(function for function in proto.functions if function.name == "Rescale")
        for node in body.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.float_data:
                    attribute.t.float_data[0] = 0.25
                elif attribute.name == "value" and onnx.numpy_helper.to_array(attribute.t).flat[0] == 0.5:
                    kept = onnx.numpy_helper.to_array(attribute.t)
                    attribute.t.CopyFrom(onnx.numpy_helper.from_array(kept * 0 + 0.02, attribute.t.name))
                elif attribute.name == "value_float" and attribute.f == 0.5:
                    attribute.f = 0.02

    broken("step", quarter, lambda raw, threads: ort.open_as_is(onnx.load_model_from_string(raw), threads))
    found = locations(folder, "ort")
    assert found["step"].startswith(("fc0.rescale (Rescale): fc0.I", "fc1.rescale (Rescale): fc1.I"))


def test_a_learning_constant_is_located_by_the_learning_node(folder, broken):
    broken("learn", flip("readout.learn_M", 14))
    (found,) = locations(folder, "ort").values()
    assert re.match(r"readout\.learn \(LearnReadout\): readout\.(weight|bias)\.new flat index \d+ \[", found)


@pytest.mark.parametrize(
    ("array", "bit", "node", "value", "behind"),
    [
        ("fc0_weight", 2, "n_fc0.fire (EMPF) in rand_layer_0_fc0", "n_fc0.v.new", "the input"),
        ("fc1_weight", 6, "n_fc2.fire (LIF) in rand_layer_2_fc2", "n_fc2.v.new", "n_fc0.fire"),
        ("fc2_weight", 6, "n_fc2.fire (LIF) in rand_layer_2_fc2", "n_fc2.v.new", "n_fc0.fire"),
        ("readout_M", 20, "readout.integrate (LeakyIntegrate) in rand_layer_3_readout", "y", "n_fc2.fire"),
        (
            "readout_learn_M",
            14,
            "readout.learn (LearnReadout) in rand_learn_0_readout",
            "readout.bias.new",
            "the input",
        ),
    ],
)
def test_a_changed_number_of_the_generated_c_is_located_by_outputs_and_states(
    folder, tmp_path, array, bit, node, value, behind
):
    shutil.copytree(folder, tmp_path / "m", ignore=shutil.ignore_patterns(".build"))
    source = tmp_path / "m" / "c" / "src" / "rand.c"
    text = source.read_text()
    start, end = re.search(rf" {array}\[[^{{]*{{([^}}]*)}}", text).span(1)
    numbers = re.sub(r"-?\d+", lambda number: str(int(number[0]) ^ 1 << bit), text[start:end])
    source.write_text(text[:start] + numbers + text[end:])
    (found,) = locations(tmp_path / "m", "native").values()
    assert found.startswith(f"{node} of rand.c: {value} flat index ")
    assert found.endswith(f"; seen in outputs and states alone, of which {behind} is the last that is equal")


def test_what_does_not_happen_again_is_said(folder, monkeypatch):
    run, calls = ort.OrtSession._run, []

    def once(self, graph, feeds):
        calls.append(graph)
        values = run(self, graph, feeds)
        return {name: value + (len(calls) == 1 and name == "y") for name, value in values.items()}

    monkeypatch.setattr(ort.OrtSession, "_run", once)
    assert locations(folder, "ort")["step"].startswith("not found again")


def test_the_command_prints_the_place_and_exits_with_1(folder, broken):
    broken("step", flip("fc1.M", 20))
    result = CliRunner().invoke(app, ["verify", str(folder), "--backends", "ort"])
    assert result.exit_code == 1
    assert re.search(r"^ort step: step \d+: .*expected -?\d+, got -?\d+", result.output, re.MULTILINE)
    assert re.search(
        r"^  first at fc1\.rescale \(Rescale\): fc1\.I flat index 0 \[0, 0\]: ", result.output, re.MULTILINE
    )
