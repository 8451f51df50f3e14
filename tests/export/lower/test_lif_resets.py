"""LIF neurons that fire strictly above their threshold, subtract another number, or reset to zero, as integers."""

import pytest
from onnx import numpy_helper
from quantized import network

from edgesnn import export
from edgesnn.errors import ExportError


def constants(model):
    return {init.name: numpy_helper.to_array(init) for init in model.step.graph.initializer}


def fires(model):
    return {node.op_type for node in model.step.graph.node if node.name.endswith(".fire")}


def test_what_is_fired_at_and_what_is_subtracted(tmp_path):
    """alpha = 3/4 of 4096 units; above a number is from the next integer on."""
    model = export.onnx(network("lif-drop"), tmp_path)
    assert fires(model) == {"LIFDrop"}
    assert constants(model)["neuron1.theta"] == [3073]
    assert constants(model)["neuron1.drop"] == [4096]


def test_a_reset_to_zero_subtracts_nothing(tmp_path):
    model = export.onnx(network("lif-clear"), tmp_path)
    assert fires(model) == {"LIFClear"}
    assert constants(model)["neuron1.theta"] == [4097]
    assert "neuron1.drop" not in constants(model)


def test_several_spikes_are_the_whole_part_of_the_membrane(tmp_path):
    """floor(m / 2^12), 0 to 3: the rounding of EM-PF from half a threshold on."""
    model = export.onnx(network("multi-lif"), tmp_path)
    assert fires(model) == {"EMPF"}
    assert constants(model)["neuron1.theta"] == [2048]
    node = next(node for node in model.step.graph.node if node.name == "neuron1.fire")
    assert {attribute.name: attribute.i for attribute in node.attribute} == {"k": 12, "bits": 2}


@pytest.mark.parametrize("case", ["lif-drop", "multi-lif"])
def test_thresholds_that_are_not_one_number_stay(tmp_path, case):
    model = export.onnx(network(case), tmp_path / "m", learn="all")
    learned = {tensor.name for tensor in model.tensors if tensor.kind == "param"}
    assert {"linear1.weight", "linear2.weight"} <= learned
    assert not {name for name in learned if name.endswith((".theta", ".drop"))}
    with pytest.raises(ExportError, match=r"^learn: expected hidden layers with weights or thresholds that learn, got"):
        export.onnx(network(case), tmp_path / "n", learn="readout+thresholds")


def test_a_threshold_that_resets_to_zero_learns(tmp_path):
    model = export.onnx(network("lif-clear"), tmp_path, learn="readout+thresholds")
    assert {"neuron1.theta", "neuron2.theta"} <= {tensor.name for tensor in model.tensors if tensor.kind == "param"}


def test_the_readout_behind_them_learns(tmp_path):
    assert export.onnx(network("lif-clear"), tmp_path, learn="readout").learn.scope == "readout"
