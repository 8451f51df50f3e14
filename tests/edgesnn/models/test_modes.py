"""`evaluating`: a mode for a while, which leaves no trace."""

import pytest
import torch

import edgesnn as es
from edgesnn.models import evaluating


def modes(net):
    return {name: module.training for name, module in net.named_modules()}


@pytest.mark.parametrize("training", [True, False])
def test_every_part_is_in_its_own_mode_again(training):
    net = es.models.mlp(4, [6, 5], 3).train(training)
    net.layers["norm1"].train(not training)
    before = modes(net)
    with evaluating(net):
        assert not any(modes(net).values())
    assert modes(net) == before
    with pytest.raises(KeyboardInterrupt), evaluating(net):
        raise KeyboardInterrupt
    assert modes(net) == before


def test_neither_evaluation_nor_classifiers_nor_quantization_thaw_a_frozen_norm():
    data = es.data.digits()
    net = es.models.mlp(64, [6, 5], 10, es.EMPF(theta=0.1))
    net.layers["norm1"].eval()
    before, mean = modes(net), net.layers["norm1"].running_mean.clone()
    es.evaluate(net, data, "validation")
    x, y = torch.rand(4, 8, 64), torch.arange(8)
    es.rules.TTLBP(n=1).backward(net, x, y, torch.Generator())
    es.quantize(net, calibrate=data, epochs=0)
    assert modes(net) == before
    assert torch.equal(net.layers["norm1"].running_mean, mean)
