"""OTTT on fake-quantized networks: the traces meet the gradient of the quantized weights, and export is as ever."""

import numpy as np
import pytest
import tiny_data
import torch
from rule_gradients import K, N, assert_same, batch, of_rule
from torch import nn
from torch.nn.functional import cross_entropy

import edgesnn as es
from edgesnn import export, rules
from edgesnn.models.units import SYNAPSES
from edgesnn.neurons import Neuron
from edgesnn.runtime.verify import verify

LAM = 0.75
MAKE = {
    "dense": lambda neuron: es.models.mlp(4, [8, 7], K, neuron, weights="float"),
    "conv": lambda neuron: es.models.convnet((4, 4, 4), [3, 2], K, neuron, weights="float"),
    "recurrent": lambda neuron: es.models.recurrent(4, 7, K, neuron, weights="float", norm="none"),
    "standardized": lambda neuron: es.models.mlp(4, [8, 7], K, neuron, weights="float", norm="standardized"),
}


def quantized(kind, bits, neuron):
    net = MAKE[kind](neuron)
    x, _ = batch(net.input_shape, steps=11)
    images = es.data.Images(x.flatten(0, 1).float().numpy(), np.arange(11 * N) % K)
    data = es.data.from_images(images, images, images)
    spikes = 1 if neuron.kind == "lif" else 4
    return es.quantize(net, bits, spikes, data, epochs=0).double().train(), *batch(net.input_shape)


def by_hand(net, x, y):
    """dL/dW_q = sum_t g_u[t] a^[t]^T, a^[t] = lam*a^[t-1] + x[t], carried on to the latent weights by autograd."""
    net.zero_grad(set_to_none=True)
    (lam,) = {layer.lam_values().item() for layer in net.modules() if isinstance(layer, Neuron)}  # rounded to float32
    names = {layer: name for name, layer in net.named_modules() if isinstance(layer, SYNAPSES)}
    traces, computed, state, total, seen = {}, dict.fromkeys(names, 0), {}, 0.0, []
    hooks = [layer.register_forward_hook(lambda layer, x, u: seen.append((layer, x[0].detach(), u))) for layer in names]
    for t in range(len(x)):
        seen.clear()
        logits, state = net.step(x[t], state, t)
        loss = cross_entropy(logits, y) / len(x)
        g_u = torch.autograd.grad(loss, [u for *_, u in seen], retain_graph=True)
        loss.backward()
        state = {name: v.detach() for name, v in state.items()}
        total += loss.item()
        for (layer, s, _), g in zip(seen, g_u, strict=True):
            traces[layer] = lam * traces.get(layer, 0) + s
            if isinstance(layer, nn.Linear):
                computed[layer] = computed[layer] + g.T @ traces[layer]
            else:
                computed[layer] = computed[layer] + nn.grad.conv2d_weight(
                    traces[layer], layer.weight.shape, g, layer.stride, layer.padding
                )
    for hook in hooks:
        hook.remove()
    grads = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    for layer, name in names.items():
        through = [(f"{name}.{own}", p) for own, p in layer.named_parameters() if own in ("weight", "gain")]
        found = torch.autograd.grad(layer.quant_weight().value, [p for _, p in through], computed[layer])
        grads |= dict(zip([name for name, _ in through], found, strict=True))
    return total, grads


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("kind", MAKE)
def test_the_traces_meet_the_gradient_of_the_quantized_weights(kind, bits):
    net, x, y = quantized(kind, bits, es.LIF(LAM, 0.6) if bits == 4 else es.EMPF(LAM, 0.3))
    got = of_rule(rules.OTTT(), net, x, y)
    assert_same(got, by_hand(net, x, y))
    assert all(grad.abs().max() > 0 for name, grad in got[1].items() if name.endswith(".weight"))


@pytest.mark.parametrize(("update", "bits"), [("accumulate", 1), ("online", 8)])
def test_what_it_fine_tunes_is_the_same_integers_everywhere(tmp_path, update, bits):
    data = tiny_data.stream()
    net = es.models.mlp(8, [12, 12], len(data.classes), es.EMPF(), leak=0.9)
    es.fit(net, data, rules.OTTT(), epochs=2, lr=2e-2, progress=False)
    qnet = es.quantize(net, bits, calibrate=data, rule=rules.OTTT(update), epochs=2)
    assert not torch.equal(qnet.layers["linear2"].weight, net.layers["linear2"].weight)
    export.onnx(qnet, tmp_path)
    assert all(check.equal and check.compared for check in verify(tmp_path, steps=12))
