"""Learning in every layer once more: `learn.onnx` by the formulas of its nodes, its mean steps, and autograd's."""

from __future__ import annotations

from typing import Any

import golden
import golden_layers
import numpy as np
import onnx
import torch
from golden import int64
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from edgesnn.export.layer_learning import trace_limit
from edgesnn.export.lower import lower
from edgesnn.export.lower.neurons import membrane_unit
from edgesnn.export.trace import trace_scale
from edgesnn.models import leaves
from edgesnn.quant import QuantizedNetwork
from edgesnn.runtime.model import Model

Array = NDArray[Any]

#: Name of all thresholds in `compared`.
THRESHOLDS = "thresholds"


class Formula:
    """`learn.onnx` once more: each node by its formula in NumPy, without a batch axis."""

    def __init__(self, model):
        graph = model.graph("learn").graph
        self.nodes = graph.node
        self.constants = {init.name: onnx.numpy_helper.to_array(init) for init in graph.initializer}

    def __call__(self, tensors, label):
        values = self.constants | tensors | {"label": label}
        for node in self.nodes:
            attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
            outputs = getattr(self, node.op_type)(*(values[name] for name in node.input), **attributes)
            values |= dict(zip(node.output, outputs, strict=True))
        return {name.removesuffix(".new"): value for name, value in values.items() if name.endswith(".new")}

    def ReadoutError(self, weight, bias, trace, m, label, shift):
        return [golden_layers.readout_error(weight, bias, trace[0], m, label, shift)]

    def BackwardLinear(self, g, w):
        return [golden_layers.backward(g, w)]

    def BackwardBinaryLinear(self, g, w, fan_in):
        return [golden_layers.backward(g, np.unpackbits(w, axis=1, bitorder="little")[:, :fan_in] * 2.0 - 1)]

    def BackwardConv2d(self, g, w, size, **geometry):
        return [golden_layers.backward_conv(g, w, size, **geometry)]

    def BackwardBinaryConv2d(self, g, w, fan_in, kernel, **geometry):
        signs = np.unpackbits(w, axis=1, bitorder="little")[:, :fan_in] * 2.0 - 1
        return self.BackwardConv2d(g, signs.reshape(kernel), **geometry)

    def BackwardSumPool2d(self, g, size, kernel_shape, strides, pads):
        return [golden_layers.backward_sum_pool(g, size, kernel_shape, strides, pads)]

    def BackwardDelay(self, g, taps):
        return [np.split(g, taps)[-1]]

    def ClampGradient(self, g, y, low, high):
        return [np.where((low < int64(y[0])) & (int64(y[0]) < high), g, 0)]

    def Add(self, a, b):
        return [a + b]

    def Flatten(self, x, axis):
        return [x.reshape(1, -1)]

    def BackwardMaxPool2d(self, g, x, kernel_shape, strides, pads):
        return [golden_layers.backward_maxpool(g, x[0], kernel_shape, strides, pads)]

    def Reshape(self, g, shape):
        return [np.reshape(g, shape[1:])]

    def LearnConv2d(self, weight, x, step, count, **numbers):
        return [golden_layers.descend_conv(weight, x[0], step, int(count[0]), **numbers)]

    def LearnBinaryConv2d(self, _, latent, x, step, count, fill, **numbers):
        (moved,) = self.LearnConv2d(latent, x, step, count, **numbers)
        assert fill[3] == -latent[0].size % 8
        return [golden.pack_signs(np.where(moved >= 0, 1, -1)), moved]

    @staticmethod
    def row(theta, g):
        """Without the axis of time steps that a table leaves."""
        return int64(theta[0] if theta.ndim > g.ndim else theta)

    def EMPFGradient(self, g, v, theta, k):
        return [golden_layers.empf_gradient(g, v[0], self.row(theta, g), k)]

    def ParallelEMPFGradient(self, g, current, theta, k, bits):
        return [golden_layers.parallel_empf_gradient(g, current[0], self.row(theta, g), k, bits)]

    def LIFGradient(self, g, v, s, theta, width, shift):
        return [golden_layers.lif_gradient(g, v[0], s[0], self.row(theta, g), width, shift)]

    def LIFDropGradient(self, g, v, s, theta, drop, width, shift):
        theta, m = self.row(theta, g), int64(v[0]) + self.row(drop, g) * int64(s[0])
        return [golden_layers.triangle(g, m, theta, width, shift)]

    def LIFClearGradient(self, g, v, current, lam, theta, width, shift):
        m = golden.integrate(v[0], current[0], self.row(lam, g))
        return [golden_layers.triangle(g, m, self.row(theta, g), width, shift)]

    def BackwardUpsample2d(self, g, rows, columns, size):
        return [golden_layers.backward_upsample(g, rows, columns, size)]

    def ChannelAttention(self, g, context, kernel, table, pixels, **numbers):
        assert pixels == g[0].size
        return [golden.channel_attention(g, context[0], kernel, table, **numbers)]

    def AttentionGradient(self, g, current, context, kernel, table, pixels, **numbers):
        assert pixels == g[0].size
        return [golden_layers.attention_gradient(g, current[0], context[0], kernel, table, **numbers)]

    def Rescale(self, a, m, b, shift):
        return [golden.rescale(a, m[0] if m.ndim > b.ndim else m, b, shift)]

    def LearnLinear(self, weight, x, step, count, **numbers):
        return [golden_layers.descend(weight, x[0], step, int(count[0]), **numbers)]

    def LearnBinaryLinear(self, _, latent, x, step, count, pads, **numbers):
        moved = golden_layers.descend(latent, x[0], step, int(count[0]), **numbers)
        assert pads[3] == -latent.shape[1] % 8
        return [golden.pack_signs(np.where(moved >= 0, 1, -1)), moved]

    def LearnThreshold(self, theta, g, m, count, **numbers):
        moved = golden_layers.learn_threshold(np.ravel(theta), g, int(m[0]), int(count[0]), **numbers)
        return [moved.reshape(np.shape(theta))]

    def LearnThresholdAt(self, table, at, g, m, count, **numbers):
        moved, (row,) = np.array(table), at
        (moved[row],) = self.LearnThreshold(table[row], g, m, count, **numbers)
        return [moved]

    def LastStep(self, t, steps):
        return [(np.array(t) - 1) % steps]

    def Gather(self, table, at, axis):
        return [np.take(table, at, axis)]

    def LearnBias(self, bias, e, count, shift, seed):
        moved, counted = golden_layers.learn_bias(bias, e, int(count[0]), shift, seed)
        return [moved, np.array([counted])]


def integer_steps(model, session, label):
    """The mean move of each hidden weight and threshold at a session's state, against the gradient, in units of the
    tensor that moves; by layer of synapses, or of neurons.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(model.graph("learn"))
    descents = [
        n for n in proto.graph.node
        if n.op_type.startswith("Learn") and n.op_type.endswith(("Linear", "Conv2d")) and "readout" not in n.name
    ]  # fmt: skip
    thresholds = [n for n in proto.graph.node if n.op_type.startswith("LearnThreshold")]
    wanted = {name for node in descents for name in node.input[-3:-1]} | {node.input[-3] for node in thresholds}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted - session.tensors().keys()))
    evaluator = ReferenceEvaluator(proto)
    tensors = session.tensors() | {"label": np.array([label], np.int32)}
    feeds = {name: tensors[name] for name in evaluator.input_names}
    values = dict(zip(evaluator.output_names, evaluator.run(None, feeds), strict=True)) | tensors
    moves = {}
    for node in descents:
        numbers = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        weight, x, step = (values[name] for name in node.input[-4:-1])
        if node.op_type.endswith("Linear"):
            q = np.clip(step[0].astype(float), -numbers["limit"], numbers["limit"])
            total = np.outer(q, x[0].astype(float))
        else:
            geometry = {name: numbers[name] for name in ("limit", "strides", "pads", "dilations", "group")}
            total = golden_layers.conv_step(x[0], step[0], weight.shape[2:], **geometry).reshape(weight.shape)
        moves[node.name.removesuffix(".descend")] = total / 2 ** numbers["shift"]
    constants = {init.name: onnx.numpy_helper.to_array(init) for init in proto.graph.initializer}
    for node in thresholds:
        numbers = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        theta, errors = values[node.input[0]], values[node.input[-3]]
        size = theta[0].size if node.op_type == "LearnThresholdAt" else theta.size
        total = np.clip(errors.reshape(size, -1).astype(float).sum(axis=1), -numbers["limit"], numbers["limit"])
        moves[node.name.removesuffix(".descend")] = -total * constants[node.input[-2]] / 2.0 ** (16 + numbers["shift"])
    return moves


def float_gradients(
    qnet: QuantizedNetwork, model: Model, frames: torch.Tensor, trace: Array, label: int
) -> dict[str, tuple[Array, Array]]:
    """Of every synapse but the readout's: dL/dW at the last of these frames, older states detached (SLTT), and the
    value of one unit of its weights, by output; of neurons with trained thresholds dL/dtheta, and that of a membrane.

    The loss is the cross-entropy of the running mean of spikes, whose gradient goes through the present spikes.
    """
    qnet.zero_grad()
    spikes: list[torch.Tensor] = []
    handle = qnet.readout.register_forward_pre_hook(lambda _, inputs: spikes.append(inputs[0]))
    state: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for t in range(len(frames) - 1):
            _, state = qnet.step(frames[t], state, t)
    qnet.step(frames[-1], state, len(frames) - 1)
    handle.remove()
    present = torch.as_tensor(spikes[-1])
    weight, bias = qnet.readout.quant_weight(), qnet.readout.bias
    lowered = lower(qnet, None)
    steps, source = lowered.steps if lowered.steps > 1 else model.time_steps, lowered.readout.spikes
    scale = trace_scale(source, lowered.readout.leak, steps, trace_limit(source.shape[0]))
    mean = torch.tensor(trace, dtype=torch.float32) * source.unit * 2.0**-scale.bits
    logits = (mean + present - present.detach()) @ weight.value.detach().T + (0 if bias is None else bias.detach())
    torch.nn.functional.cross_entropy(logits, torch.tensor([label])).backward()
    synapses = {name: layer for name, layer in leaves(qnet) if hasattr(layer, "quant_weight") and name != "readout"}
    found = {
        name: (layer.weight.grad.numpy(), layer.quant_weight().scale.detach().numpy().reshape(-1))
        for name, layer in synapses.items()
    }
    for name, layer in leaves(qnet):
        if getattr(layer, "theta_raw", None) is not None:  # theta is the softplus of it
            slope = torch.sigmoid(layer.theta_raw.detach())
            gradient = layer.theta_raw.grad / slope
            row = (len(frames) - 1) % len(gradient)  # of the others, none has one
            level = membrane_unit(layer) / getattr(layer, "alpha", 1.0)  # fires at alpha*theta
            found[name] = gradient[row].numpy(), np.array([level])
    return found


def compared(
    model: Model, moves: dict[str, Array], gradients: dict[str, tuple[Array, Array]], rate: float
) -> dict[str, tuple[float, float]]:
    """Of the weights of each layer that moves, and of the thresholds of all (those of a layer are few, and their errors
    cancel): the length of the step over that of rate times the gradient, and their cosine.
    """
    steps: dict[str, list[tuple[Array, Array]]] = {}
    for layer in (name for name in moves if name in gradients):
        move, (gradient, scale) = moves[layer], gradients[layer]
        unit = 1 / 127 if f"{layer}.latent" in model.factory else scale.reshape(-1, *[1] * (move.ndim - 1))
        key = THRESHOLDS if f"{layer}.theta" in model.factory else layer
        steps.setdefault(key, []).append(((move * unit).ravel(), rate * gradient.ravel()))
    found = {}
    for layer, pairs in steps.items():
        step, wanted = (np.concatenate(values) for values in zip(*pairs, strict=True))
        length, target = float(np.linalg.norm(step)), float(np.linalg.norm(wanted))
        if length or target:
            found[layer] = length / target, float(step @ wanted) / length / target
    return found
