"""Where a step's work goes: instructions by layer and kernel, operations, bytes moved, spikes, estimated energy.

Bytes moved are a model, not a measurement: each kernel reads each of its operands once and writes each of its results
once; of weights that are added up event by event, only the rows of inputs that fired. Caches, and values that a
convolution reads again, are not counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from edgesnn.export.c_graph import Node
from edgesnn.export.c_ops import OPS
from edgesnn.export.c_plan import Layer, Program
from edgesnn.report import energy
from edgesnn.runtime.profile import Profile

_EVENT = ("EventLinear", "EventConv2d", "EventPackedLinear", "EventPackedConv2d")
_ADDS_ONLY = ("BinaryLinear", "BinaryConv2d", "GroupedBinaryConv2d", *_EVENT)  # weights +1 and -1, or spikes 0 and 1
_FIRES = ("EMPF", "GainEMPF", "ParallelEMPF", "LIF", "LIFDrop", "LIFClear")


def watched(planned: Program) -> list[str]:
    """The values whose activity `layers` needs: what goes into each synapse, and the spikes."""
    return [name for layer in planned.step_layers for name in (_input(layer), _spikes(layer)) if name is not None]


def layers(planned: Program, counted: Profile, shares: dict[str, float]) -> list[dict[str, Any]]:
    """One entry a layer, means of a step; the last is what `esnn_step` does between them."""
    parts = zip(planned.step_layers, counted.layers, strict=True)
    entries = [_entry(layer, _means(functions, counted.steps), shares) for layer, functions in parts]
    return [*entries, {"name": "step", **_means(counted.between, counted.steps)}]


def learning(counted: Profile) -> dict[str, Any] | None:
    """Instructions of a learning step by kernel; None where none was run."""
    return _means(counted.learning, counted.learns) if counted.learns else None


def _means(functions: Counter[str], calls: int) -> dict[str, Any]:
    return {
        "instructions": round(functions.total() / calls),
        "kernels": {name: round(count / calls) for name, count in functions.most_common()},
    }


def _entry(layer: Layer, counts: dict[str, Any], shares: dict[str, float]) -> dict[str, Any]:
    source, spikes = _input(layer), _spikes(layer)
    share = shares.get(source or "", 1.0)
    operations = layer.macs * share
    adds_only = all(node.op in _ADDS_ONLY for node in layer.nodes if OPS[node.op].synapse)
    nbytes = sum(_moved(node, share) for node in layer.nodes)
    return {
        "name": layer.name,
        **counts,
        "macs": layer.macs,
        "synaptic_operations": round(operations),
        "bytes_moved": round(nbytes),
        "input_rate": shares.get(source or ""),
        "spike_rate": shares.get(spikes or ""),
        "operations_nj": energy.operations_nj(operations, 0 if adds_only else operations, nbytes),
        "core_nj": energy.core_nj(counts["instructions"]),
    }


def _input(layer: Layer) -> str | None:
    """What goes into the layer's synapse, where it is a frame or spikes."""
    synapse = next((node for node in layer.nodes if OPS[node.op].synapse), None)
    return synapse.inputs[0].place if synapse and synapse.inputs[0].kind in ("input", "value") else None


def _spikes(layer: Layer) -> str | None:
    return next((node.outputs[0].place for node in layer.nodes if node.op in _FIRES), None)


def _moved(node: Node, share: float) -> float:
    """Bytes that a kernel reads and writes."""
    weights = share * node.inputs[1].nbytes if node.op in _EVENT else 0
    others = (tensor for at, tensor in enumerate(node.inputs) if not (node.op in _EVENT and at == 1))
    return weights + sum(tensor.nbytes for tensor in (*others, *node.outputs))
