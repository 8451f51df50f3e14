"""`vectors.json`: what is written is read, and what is wrong with a file is told in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from random_models import RandomModel, Shape

from edgesnn.errors import ModelError
from edgesnn.runtime import vector_file
from edgesnn.runtime.model import Model
from edgesnn.runtime.vector_file import Vectors


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return RandomModel(Shape((2, 5, 4), "uint8", hidden=(("Conv2d", 3),)), seed=3).write(
        tmp_path_factory.mktemp("model")
    )


@pytest.fixture
def change(model, tmp_path):
    """A folder whose vectors.json was changed by a function of its content."""

    def write(edit):
        (tmp_path / "step.onnx").write_bytes((model.path / "step.onnx").read_bytes())
        content = json.loads((model.path / "vectors.json").read_text())
        edit(content)
        (tmp_path / "vectors.json").write_text(json.dumps(content))
        return Model.load(tmp_path)

    return write


def values(dtype, shape):
    limits = np.iinfo(dtype)
    return arrays.arrays(dtype, shape, elements=st.integers(int(limits.min), int(limits.max)))


@given(st.data())
def test_what_is_written_is_read(model, data):
    steps = data.draw(st.integers(1, 4))
    stored = Vectors(
        data.draw(values(model.input.dtype, (steps, *model.input.shape))),
        data.draw(values("int32", (steps,))),
        data.draw(values("int32", (steps, 3))),
        {tensor.name: data.draw(values(tensor.dtype, tensor.shape)) for tensor in model.tensors},
    )
    limit = data.draw(st.sampled_from((0, 20, vector_file.READABLE)))  # every tensor as text, some, none
    kept = (model.path / "vectors.json").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_file, "READABLE", limit)
        vector_file.write(model, stored)
    found = vector_file.read(model)
    (model.path / "vectors.json").write_bytes(kept)
    for name in ("x", "labels", "y"):
        assert getattr(found, name).dtype == getattr(stored, name).dtype
        np.testing.assert_array_equal(getattr(found, name), getattr(stored, name))
    assert found.tensors.keys() == stored.tensors.keys()
    for name, value in stored.tensors.items():
        assert found.tensors[name].dtype == value.dtype
        np.testing.assert_array_equal(found.tensors[name], value)


def test_the_file_says_what_it_is_and_has_a_line_a_row(model):
    text = (model.path / "vectors.json").read_text()
    content = json.loads(text)
    assert list(content) == ["_comment", "format", "version", "model", "source_hash", "x", "labels", "y", "tensors"]
    assert content["source_hash"] == model.source_hash
    assert content["x"]["shape"] == [32, 2, 5, 4]
    assert content["tensors"].keys() == {tensor.name for tensor in model.tensors}
    first = ",".join(map(str, content["y"]["data"][:3]))
    assert f"\n   {first},\n" in text


def wrong(key, value):
    return lambda content: content.__setitem__(key, value)


def within(*path):
    *folders, key, value = path

    def edit(content):
        for name in folders:
            content = content[name]
        content[key] = value

    return edit


BYTES = {"dtype": "int32", "shape": [32, 3], "encoding": "base64"}


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (wrong("version", 2), "version: expected 1, got 2"),
        (wrong("format", "npz"), 'expected an object with "format"'),
        (wrong("source_hash", "0" * 64), "source_hash: expected vectors of model"),
        (lambda content: content.pop("x"), "expected ['x', 'labels', 'y', 'tensors'], got none called ['x']"),
        (lambda content: content.pop("labels"), "got none called ['labels']"),
        (wrong("x", None), "x: expected uint8 [32, 2, 5, 4], got NoneType"),
        (within("x", "shape", [32, 3]), "x: expected uint8 [32, 2, 5, 4], got uint8 [32, 3]"),
        (within("x", "dtype", "int8"), "x: expected uint8 [32, 2, 5, 4], got int8 [32, 2, 5, 4]"),
        (within("y", "data", 0, 0.5), "y[0]: expected an integer of int32, got 0.5"),
        (within("y", "data", 1, True), "y[1]: expected an integer of int32, got True"),
        (within("x", "data", 7, 256), "x[7]: expected an integer of uint8, got 256"),
        (within("labels", "data", [0]), "labels: expected 32 integers, got 1"),
        (within("labels", "shape", [10**12]), f"x: expected uint8 [{10**12}, 2, 5, 4], got uint8 [32"),
        (within("labels", "shape", [0]), "labels: expected the shape [steps]"),
        (within("y", "encoding", "base85"), "y: expected encoding integers with a list, or base64"),
        (within("y", "encoding", "base64"), "y: expected encoding integers with a list, or base64"),
        (wrong("tensors", []), "tensors: expected ["),
        (lambda content: content["tensors"].pop("n_fc0.v"), "tensors: expected ["),
        (within("tensors", "n_fc0.v", 3), "tensors.n_fc0.v: expected int32"),
        (within("y", BYTES | {"data": "AA=="}), "y: expected 384 bytes, got 1"),
        (within("y", BYTES | {"data": "?"}), "y: expected base64, got "),
    ],
)  # fmt: skip
def test_a_malformed_file_is_one_line_that_names_the_place(change, edit, words):
    model = change(edit)
    with pytest.raises(ModelError) as error:
        vector_file.read(model)
    assert words in str(error.value)
    assert "vectors.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04", b"[" * 100_000, b"{}", b"3", b'{"version": ' + b"9" * 5000 + b"}"])
def test_what_is_no_json_of_ours_is_refused(model, tmp_path, raw):
    (tmp_path / "step.onnx").write_bytes((model.path / "step.onnx").read_bytes())
    (tmp_path / "vectors.json").write_bytes(raw)
    with pytest.raises(ModelError, match=r"vectors\.json: expected "):
        vector_file.read(Model.load(tmp_path))


def test_no_file(model, tmp_path):
    (tmp_path / "step.onnx").write_bytes((model.path / "step.onnx").read_bytes())
    with pytest.raises(ModelError, match="expected test vectors, found no file; export again"):
        vector_file.read(Model.load(tmp_path))
