"""TVM: compiled step, window and learning graphs give the integers of the reference evaluator."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
from random_models import RandomModel, Shape

from edgesnn import export
from edgesnn.errors import BackendError, DataError, ModelError
from edgesnn.export.window import window
from edgesnn.runtime import open as open_session
from edgesnn.runtime.vectors import random_stream

pytest.importorskip("tvm", reason="needs apache-tvm")

DENSE = Shape((13,), "int8", (("BinaryLinear", 11), ("Linear", 5)), neurons=("EMPF", "LIF"), steps=3)
IMAGE = Shape((2, 5, 4), "uint8", (("Conv2d", 3), ("BinaryConv2d", 4)), ("ParallelEMPF", "EMPF"), steps=2, learn=False)


@pytest.fixture(scope="module", params=[DENSE, IMAGE], ids=["dense", "image"])
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("compiled")
    RandomModel(request.param, seed=4).write(path)
    export.tvm(path)
    return path


def follow(session, frames, labels):
    """Logits of every step, and the snapshot after each step and its learning."""
    for x, label in zip(frames, labels, strict=True):
        yield session.step(x).tolist()
        if label >= 0:
            session.learn(int(label))
        yield session.snapshot()


def test_steps_and_learning_equal_the_reference(folder):
    with open_session(folder, "reference") as reference, open_session(folder, "tvm") as compiled:
        frames, labels = random_stream(reference.model, 40, 9)
        assert list(follow(compiled, frames, labels)) == list(follow(reference, frames, labels))
        assert (labels >= 0).any() == (reference.model.learn is not None)


def test_windows_equal_steps_of_the_reference(folder):
    """From the states that earlier windows left."""
    with open_session(folder, "reference") as reference, open_session(folder, "tvm") as compiled:
        size = reference.model.time_steps
        frames, _ = random_stream(reference.model, 4 * size, 9)
        for start in range(0, len(frames), size):
            part = frames[start : start + size]
            assert np.array_equal(compiled.window(part), [reference.step(x) for x in part])
            assert compiled.snapshot() == reference.snapshot()


@pytest.mark.parametrize("steps", [None, 2])
def test_a_window_of_one_frame_and_of_any_number_of_steps(tmp_path, steps):
    """TVM has no Scan: of a window of any number of steps, it compiles that of the model's."""
    model = RandomModel(IMAGE, seed=4).write(tmp_path)
    onnx.save_model(window(model.step, steps, held=True), tmp_path / "window.onnx")
    export.tvm(tmp_path)
    with open_session(tmp_path, "reference") as reference, open_session(tmp_path, "tvm") as compiled:
        for x in random_stream(reference.model, 3, 9)[0]:
            assert np.array_equal(compiled.window(x), [reference.step(x) for _ in range(2)])
            assert compiled.snapshot() == reference.snapshot()
        with pytest.raises(DataError, match=r"^window: expected 2 time steps, got 5"):
            compiled.window(x, 5)


def test_extreme_states_equal_the_reference(folder):
    """Membranes and readout at both ends of 24 bits."""
    with open_session(folder, "reference") as reference, open_session(folder, "tvm") as compiled:
        model, rng = reference.model, np.random.default_rng(1)
        values = dict(model.factory)
        for tensor in model.tensors:
            if tensor.name.endswith((".v", ".acc")):
                values[tensor.name] = rng.choice(np.array([-(2**23), 2**23 - 1], np.int32), tensor.shape)
        frames, _ = random_stream(model, 3, 2)
        for session in (reference, compiled):
            session.restore(model.pack(values))
        for x in frames:
            assert np.array_equal(compiled.step(x), reference.step(x))
            assert compiled.snapshot() == reference.snapshot()


def test_manifest_names_the_model_its_target_and_its_graphs(folder):
    manifest = json.loads((folder / "tvm" / "manifest.json").read_text())
    model = open_session(folder, "reference").model
    assert (manifest["source_hash"], manifest["target"]) == (model.source_hash, "llvm")
    assert set(manifest["graphs"]) == {"step", "window"} | ({"learn"} if model.learn else set())
    for graph, signature in manifest["graphs"].items():
        assert signature["inputs"] == [entry.name for entry in model.graph(graph).graph.input]
        assert signature["outputs"] == [entry.name for entry in model.graph(graph).graph.output]
        assert (folder / "tvm" / f"{graph}.so").is_file()


def test_libraries_of_another_model_are_refused(folder, tmp_path):
    RandomModel(DENSE, seed=5).write(tmp_path, vectors=False)
    with pytest.raises(
        ModelError, match=r"expected compiled graphs, found none; run `edgesnn export` with --format tvm"
    ):
        open_session(tmp_path, "tvm")
    shutil.copytree(folder / "tvm", tmp_path / "tvm")
    with pytest.raises(ModelError, match=r"expected libraries of model .*, got .*; compile again") as error:
        open_session(tmp_path, "tvm")
    assert "\n" not in str(error.value)


def test_missing_package_is_named(tmp_path, monkeypatch):
    RandomModel(Shape(), seed=1).write(tmp_path, vectors=False)
    monkeypatch.setitem(__import__("sys").modules, "tvm", None)
    with pytest.raises(
        BackendError, match=r"^tvm: expected the package apache-tvm, got .*; pip install edgesnn\[tvm\]"
    ) as e:
        export.tvm(tmp_path)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "tvm").exists()


def test_a_folder_that_is_no_export(tmp_path):
    with pytest.raises(ModelError, match=r"step.onnx: expected an exported graph, found no file"):
        export.tvm(tmp_path)


def test_a_target_that_tvm_does_not_know(tmp_path):
    RandomModel(Shape(learn=False), seed=1).write(tmp_path, vectors=False)
    with pytest.raises(
        BackendError, match=r"^tvm: expected a target that TVM knows, got 'no-such-target' \(.*\); .*llvm"
    ) as e:
        export.tvm(tmp_path, target="no-such-target")
    assert "\n" not in str(e.value)


def test_compiling_again_leaves_nothing_of_the_graphs_before(tmp_path):
    """A model without learning has no learning library, whatever the folder held."""
    RandomModel(Shape(hidden=(("Linear", 3),), neurons=("LIF",), learn=False), seed=1).write(tmp_path, vectors=False)
    (tmp_path / "tvm").mkdir()
    (tmp_path / "tvm" / "learn.so").write_bytes(b"stale")
    export.tvm(tmp_path)
    assert sorted(path.name for path in (tmp_path / "tvm").iterdir()) == ["manifest.json", "step.so", "window.so"]
