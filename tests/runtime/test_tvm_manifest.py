"""The manifest of compiled libraries: read back as written; a damaged one, and a damaged library, is one line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from random_models import RandomModel, Shape

from edgesnn import export
from edgesnn.errors import BackendError, ModelError
from edgesnn.runtime import open as open_session
from edgesnn.runtime import tvm_manifest
from edgesnn.runtime.model import Model

pytest.importorskip("tvm", reason="needs apache-tvm")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    path = tmp_path_factory.mktemp("compiled")
    RandomModel(Shape(hidden=(("Linear", 3),), neurons=("LIF",)), seed=1).write(path)
    export.tvm(path)
    return path


@pytest.fixture
def folder(compiled, tmp_path):
    return shutil.copytree(compiled, tmp_path / "model")


def test_it_names_every_library_and_its_hash(folder):
    manifest = tvm_manifest.read(folder / "tvm", Model.load(folder))
    assert set(manifest.graphs) == {"step", "window", "learn"}
    for name, library in manifest.graphs.items():
        assert library.sha256 == tvm_manifest.sha256(folder / "tvm" / f"{name}.so")


def frame(model):
    return np.zeros(model.input.shape, model.input.dtype)


def without(*path):
    def change(content):
        *outer, last = path
        for key in outer:
            content = content[key]
        del content[last]

    return change


def with_value(value, *path):
    def change(content):
        *outer, last = path
        for key in outer:
            content = content[key]
        content[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("target"), "expected the manifest of compiled graphs"),
        (without("graphs"), "expected the manifest of compiled graphs"),
        (without("graphs", "step", "inputs"), "expected the manifest of compiled graphs"),
        (with_value([], "graphs"), "expected the manifest of compiled graphs"),
        (with_value({}, "graphs", "stop"), "expected the manifest of compiled graphs"),
        (with_value(7, "source_hash"), "expected libraries of model"),
        (with_value(["x"], "graphs", "step", "inputs"), "step: inputs: expected ["),
        (with_value("y", "graphs", "step", "outputs"), "step: outputs: expected ["),
    ],
)
def test_a_damaged_manifest_is_named(folder, change, said):
    path = folder / "tvm" / tvm_manifest.FILE
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError) as error:
        open_session(folder, "tvm")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [0, 100, -100])
def test_a_cut_manifest_is_named(folder, size):
    path = folder / "tvm" / tvm_manifest.FILE
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelError, match="expected the manifest of compiled graphs"):
        open_session(folder, "tvm")


def test_a_graph_of_another_name_is_refused(folder):
    path = folder / "tvm" / tvm_manifest.FILE
    content = json.loads(path.read_text())
    content["graphs"]["stop"] = content["graphs"]["step"]
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="expected the graphs step, learn and window, got 'stop'"):
        open_session(folder, "tvm")


@pytest.mark.parametrize("size", [0, -1, None])
def test_a_damaged_library_is_refused_before_it_is_loaded(folder, size):
    """Cut at an end, or that of another graph."""
    library = folder / "tvm" / "step.so"
    other = (folder / "tvm" / "learn.so").read_bytes()
    library.write_bytes(other if size is None else library.read_bytes()[:size])
    with open_session(folder, "tvm") as session, pytest.raises(ModelError, match="expected the library that was"):
        session.step(frame(session.model))


def test_libraries_of_another_machine_are_named(tmp_path):
    pytest.importorskip("ziglang", reason="needs ziglang")
    model = RandomModel(Shape(hidden=(("Linear", 3),), neurons=("LIF",), learn=False), seed=1).write(tmp_path)
    export.tvm(tmp_path, target="raspberry-pi-4")
    with open_session(tmp_path, "tvm") as session, pytest.raises(BackendError) as error:
        session.step(frame(model))
    assert "expected a library that this machine loads, got one for raspberry-pi-4: " in str(error.value)
    assert "\n" not in str(error.value)
