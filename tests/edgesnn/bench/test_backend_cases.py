"""The benches of ONNX Runtime, TVM and file sizes, on networks of a moment."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from edgesnn.bench.cases import ort, size, tvm, window
from edgesnn.bench.float_graph import float_graph
from edgesnn.bench.untrained import Size, build, export

TINY = Size("6-8-10", "dense", (6,), (8,))
IMAGE = Size("conv 4-5, 2x8x8", "conv", (2, 8, 8), (4, 5))


@pytest.mark.parametrize("network", [TINY, IMAGE], ids=["dense", "conv"])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_float_graph_is_the_network(network, steps):
    """Logits, accumulated over the steps, from zero states."""
    net = build(network)
    session = ort.float_session(float_graph(net, steps).SerializeToString())
    x = np.random.default_rng(5).normal(0, 1, (steps, 2, *network.input_shape)).astype(np.float32)
    states = [entry for entry in session.get_inputs() if entry.name != "x"]
    feeds = {entry.name: np.zeros([2, *entry.shape[1:]], np.float32) for entry in states}
    y = session.run(["y"], feeds | {"x": x[0] if steps == 1 else x})[0].reshape(steps, 2, -1)
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).cumsum(0)
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_ort_reports_the_worst_of_the_published_networks():
    measured = ort.measure((TINY, IMAGE), rounds=1)
    rows = {(row["network"], row["graph"]): row["speedup"] for row in measured.rows}
    for graph in ("step", "window"):
        assert measured.figures[f"{graph}_speedup"] == min(rows[size.name, graph] for size in (TINY, IMAGE)) > 0


def test_size_is_that_of_the_files():
    measured = size.measure(IMAGE, (TINY,))
    first, second = measured.rows
    assert measured.figures == {"file_ratio": first["ratio"]}
    assert (first["network"], second["network"]) == (IMAGE.name, TINY.name)
    assert first["ratio"] == pytest.approx(first["step_bytes"] / first["float32_bytes"], abs=1e-5)


def test_tvm_reports_the_worst_ratio():
    pytest.importorskip("tvm", reason="needs apache-tvm")
    measured = tvm.measure((TINY,), rounds=1)
    assert {row["graph"]: row["ratio"] for row in measured.rows} == {
        "step": measured.figures["step_ratio_to_ort"], "window": measured.figures["window_ratio_to_ort"],
    }  # fmt: skip


def test_windows_of_every_form_are_timed():
    pytest.importorskip("tvm", reason="needs apache-tvm")
    measured = window.measure(TINY, numbers=(2,), rounds=1)
    time = {(row["backend"], row["form"]): row["us"] for row in measured.rows}
    assert {backend: sum(b == backend for b, _ in time) for backend in ("ort", "tvm")} == {"ort": 4, "tvm": 2}
    assert measured.figures == {
        "dynamic_ratio_2": round(time["ort", "dynamic"] / time["ort", "unrolled"], 3),
        "one_frame_ratio_2": round(time["ort", "unrolled, one frame"] / time["ort", "unrolled"], 3),
        "tvm_one_frame_ratio_2": round(time["tvm", "unrolled, one frame"] / time["tvm", "unrolled"], 3),
    }


def test_tensors_reach_the_runner_and_come_back():
    from edgesnn.bench.aarch64 import _packed, _unpacked

    arrays = [np.arange(6, dtype=np.int32).reshape(1, 2, 3), np.array([7, 8], np.uint8), np.ones((1,), np.int8)]
    for mine, back in zip(arrays, _unpacked(b"".join(map(_packed, arrays))), strict=True):
        np.testing.assert_array_equal(mine, back)
        assert mine.dtype == back.dtype


def test_exported_graphs_are_clean_and_tell_all_shapes(tmp_path):
    """Checked, of one IR version, every value with a type and a shape, and words for a reader."""
    model = export(IMAGE, build(IMAGE), tmp_path)
    for name in ("step", "window"):
        proto = model.graph(name)
        onnx.checker.check_model(proto, full_check=True)
        assert (proto.ir_version, proto.graph.doc_string != "") == (10, True)
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True).graph
        known = {entry.name: entry.type.tensor_type for entry in (*inferred.value_info, *inferred.output)}
        for node in proto.graph.node:
            assert node.name
            for output in node.output:
                assert known[output].elem_type
                assert known[output].HasField("shape")
        assert all(function.doc_string for function in proto.functions)
