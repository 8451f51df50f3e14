"""Windows as TVM compiles them: neurons of all steps are one node only where nothing else reads one of them."""

from __future__ import annotations

import pytest
import zoo
from torch import nn
from zoo import chain

import edgesnn as es
from edgesnn import export, runtime
from edgesnn.export.tvm_window import merge_steps
from edgesnn.runtime.vectors import random_stream


def spiking():
    return {"linear1": nn.Linear(12, 6), "neuron1": es.LIF(), "linear2": nn.Linear(6, 5), "neuron2": es.LIF()}


@pytest.mark.parametrize("steps", [1, 3])
def test_spikes_that_are_kept_stay(tmp_path, steps):
    """Learning reads the spikes of the last step, beside the synapse that reads those of all."""
    qnet, _ = zoo.quantized(chain((12,), spiking), 8, 1)
    graph = export.onnx(qnet, tmp_path, window=steps, learn="all", learning_rate=3e-2).graph("window").graph
    nodes = merge_steps(graph, joins=lambda _: True)
    known = {entry.name for entry in (*graph.input, *graph.initializer)}
    known |= {name for node in nodes for name in node.output}
    assert {name for node in nodes for name in node.input} <= known
    assert {entry.name for entry in graph.output} <= known


def test_neurons_with_numbers_by_channel_keep_their_steps(tmp_path):
    """Their kernel takes one leak and one threshold: the importer's neuron knows one step alone."""

    def by_channel():
        layers = {
            "linear1": nn.Linear(12, 6),
            "neuron1": es.EMPF(per_channel=True).sized(6),
            "linear2": nn.Linear(6, 5),
        }
        return {**layers, "neuron2": es.EMPF()}

    qnet, _ = zoo.quantized(chain((12,), by_channel), 8, 4)
    model = export.onnx(qnet, tmp_path, window=3)
    assert 6 in {entry.dims[0] for entry in model.graph("step").graph.initializer if entry.name.endswith(".theta")}
    export.tvm(tmp_path)
    frames, _ = random_stream(model, 3, 5)
    with runtime.open(tmp_path, "reference") as reference, runtime.open(tmp_path, "tvm") as session:
        expected = [reference.step(frame).tolist() for frame in frames]
        assert session.window(frames).tolist() == expected
        assert session.snapshot() == reference.snapshot()
