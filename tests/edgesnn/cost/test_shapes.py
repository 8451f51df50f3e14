"""Units and their counts against shapes worked out by hand, and sizes in bytes."""

import pytest
import torch

import edgesnn as es
from edgesnn import cost
from edgesnn.cost.shapes import on_meta
from edgesnn.neurons import MembraneNormEMPF


def meta(make, *args, **options):
    with torch.device("meta"):
        return make(*args, **options)


def test_units_of_lenet1():
    """28x28 padded by 2 -> 28, 14, 10, 5, 1 pixels a side."""
    found = cost.units(meta(es.models.lenet1, neuron=es.LIF()))
    assert [unit.name for unit in found] == ["conv1", "conv2", "conv3", "linear4", "readout"]
    assert [unit.weights for unit in found] == [150, 2400, 48000, 15360, 6016]
    assert [unit.macs for unit in found] == [150 * 784, 2400 * 100, 48000, 15360, 6016]
    assert [unit.neurons for unit in found] == [6 * 784 + 6 * 196, 16 * 100 + 16 * 25, 120, 128, 0]
    assert [unit.features for unit in found] == [6 * 196, 16 * 25, 120, 128, 47]
    assert [unit.synapses[0].inputs for unit in found] == [784, 6 * 196, 16 * 25, 120, 128]
    assert not any(unit.synapses[0].error_passes for unit in found)


def test_a_residual_block_is_one_unit():
    """Errors go back inside of it through its second convolution alone, and the shortcut reads its input."""
    found = cost.units(meta(es.models.resnet18, (2, 8, 8), 3, width=2))
    unit = next(unit for unit in found if unit.name == "block3")
    assert {synapse.name: (synapse.weights, synapse.error_passes) for synapse in unit.synapses} == {
        "block3.branch.layers.conv1": (2 * 4 * 9, False),
        "block3.branch.layers.conv2": (4 * 4 * 9, True),
        "block3.shortcut.layers.conv1": (2 * 4, False),
    }
    assert unit.neurons == 2 * 4 * 4 * 4
    assert unit.features == 4 * 4 * 4
    assert len(found) == 10
    assert all(synapse.binary for synapse in unit.synapses)


def test_feedback_is_recurrent():
    found = cost.units(meta(es.models.vgg_f, (2, 8, 8), 3, width=2))
    assert [unit.name for unit in found] == ["conv1", "readout"]
    recurrent = [synapse.name for synapse in found[0].synapses if synapse.recurrent]
    assert recurrent == ["feedback.feedback.layers.conv1"]
    assert sum(synapse.error_passes for synapse in found[0].synapses) == 7


@pytest.mark.parametrize("neuron", [es.LIF(), es.EMPF(), es.EMPF(parallel=True)])
def test_state_bytes(neuron):
    net = es.models.mlp(8, [5, 4], 3, neuron)
    expected = 0 if neuron.config().get("parallel") else 4 * (5 + 4) * 7
    assert cost.state_bytes(net, batch=7) == expected


def test_state_of_feedback():
    net = meta(es.models.recurrent, 8, 5, 3, es.LIF())
    assert cost.state_bytes(net) == 4 * (5 + 5)  # membranes, and the spikes that come back


@pytest.mark.parametrize(
    "make",
    [
        lambda: es.models.convnet((2, 8, 8), [3, 4], 3, es.LIF()),
        lambda: es.models.mlp(8, [6, 5], 3, es.EMPF()),
        lambda: es.models.resnet18((2, 8, 8), 3, MembraneNormEMPF(), width=2, block="empf", attention=3),
        lambda: es.models.vgg_f((2, 8, 8), 3, es.IF(train_theta=True), width=2),
    ],
)
@pytest.mark.parametrize("steps", [1, 3])
def test_saved_bytes_are_those_of_a_real_run(make, steps):
    net = make().train()
    parameters = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def pack(tensor):
        address = tensor.untyped_storage().data_ptr()
        if address not in parameters:
            saved[address] = tensor
        return tensor

    x, state = torch.randn(steps, 6, *net.input_shape), {}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        for t in range(steps):
            _, state = net.step(x[t] + 0.0, state, t)
    real = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    ours = cost.saved_bytes(make(), batch=6, steps=steps)
    # The input's storage is one of T steps there, or one for all here, where all steps see the same.
    assert ours == pytest.approx(real, abs=x.nbytes)


def test_saved_bytes_of_online_rules_do_not_grow_and_those_of_bptt_do():
    net = meta(es.models.convnet, (2, 8, 8), [3, 4], 3, es.LIF())
    one, four = (cost.saved_bytes(net, batch=4, steps=steps) for steps in (1, 4))
    assert four > 3.5 * one


def test_parameter_bytes_by_hand():
    net = es.models.mlp(10, [6, 5], 3)
    size = cost.parameters(net)
    assert size.weights == 4 * 60 + 5 * 1 + 4 * 15  # 6 inputs fit one byte a row
    assert size.scales == 4 * 5
    assert size.others == 4 * (2 * 6 + 2 * 5 + 3 + 2 * 2)  # norms, the readout's bias, leak and threshold of 2 neurons
    assert size.paper == 4 * 60 + 30 // 4 + 1 + 4 * 15
    assert size.float_weights == 4 * (60 + 30 + 15)
    assert size.total == size.weights + size.scales + size.others


def test_float_weights_are_float_in_every_convention():
    size = cost.parameters(meta(es.models.vgg11, (3, 32, 32), 10, weights="float"))
    assert size.weights == size.paper == size.float_weights
    assert size.scales == 0


def test_a_network_with_weights_is_measured_without_touching_it():
    net = es.models.convnet((2, 8, 8), [3], 3)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    copy = on_meta(net)
    assert all(parameter.is_meta for parameter in copy.parameters())
    assert cost.units(net) == cost.units(copy)
    cost.saved_bytes(net, batch=2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.training
