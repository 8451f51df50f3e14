"""Windows as TVM compiles them: neurons of all steps are one node only where nothing else reads one of them."""

from __future__ import annotations

import pytest
import zoo
from torch import nn
from zoo import chain

import edgesnn as es
from edgesnn import export
from edgesnn.export.tvm_window import merge_steps


def spiking():
    return {"linear1": nn.Linear(12, 6), "neuron1": es.LIF(), "linear2": nn.Linear(6, 5), "neuron2": es.LIF()}


@pytest.mark.parametrize("steps", [1, 3])
def test_spikes_that_are_kept_stay(tmp_path, steps):
    """Learning reads the spikes of the last step, beside the synapse that reads those of all."""
    qnet, _ = zoo.quantized(chain((12,), spiking), 8, 1)
    graph = export.onnx(qnet, tmp_path, window=steps, learn="all", learning_rate=3e-2).graph("window").graph
    nodes = merge_steps(graph)
    known = {entry.name for entry in (*graph.input, *graph.initializer)}
    known |= {name for node in nodes for name in node.output}
    assert {name for node in nodes for name in node.input} <= known
    assert {entry.name for entry in graph.output} <= known
