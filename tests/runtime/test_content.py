"""The hash of a graph's content."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgesnn.runtime.content import CONTENT_HASH, SOURCE_HASH, content_hash


def graph(weight=3, name="w", note="a", hashes=("x", "y"), version=21):
    constants = [numpy_helper.from_array(np.array([weight], np.int32), name)]
    value = [helper.make_tensor_value_info("out", onnx.TensorProto.INT32, [1])]
    nodes = [helper.make_node("Identity", [name], ["out"])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [], value, constants), opset_imports=[helper.make_opsetid("", version)]
    )
    helper.set_model_props(model, {SOURCE_HASH: hashes[0], "edgesnn.note": note, CONTENT_HASH: hashes[1]})
    return model


def test_it_is_sha256_and_leaves_the_graph_alone():
    model = graph()
    before = model.SerializeToString()
    assert re.fullmatch("[0-9a-f]{64}", content_hash(model))
    assert content_hash(model) == content_hash(graph())
    assert model.SerializeToString() == before


def test_its_own_entries_do_not_count():
    assert content_hash(graph()) == content_hash(graph(hashes=("p", "q")))
    bare = graph()
    kept = [entry for entry in bare.metadata_props if entry.key == "edgesnn.note"]
    del bare.metadata_props[:]
    bare.metadata_props.extend(kept)
    assert content_hash(bare) == content_hash(graph())


@pytest.mark.parametrize("change", [{"weight": 4}, {"name": "v"}, {"note": "b"}, {"version": 22}])
def test_everything_else_counts(change):
    assert content_hash(graph(**change)) != content_hash(graph())


def test_it_survives_a_file(tmp_path):
    onnx.save_model(graph(), tmp_path / "g.onnx")
    assert content_hash(onnx.load_model(tmp_path / "g.onnx")) == content_hash(graph())
