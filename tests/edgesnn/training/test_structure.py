"""A checkpoint is of one network: of its layers as they are, not only of the names and shapes of its weights."""

import numpy as np
import pytest
from torch import nn

import edgesnn as es
from edgesnn.errors import TrainingError
from edgesnn.layers import Readout, TemporalConv
from edgesnn.models import Network, Residual
from edgesnn.training.structure import difference, structure

SETTINGS = {"epochs": 1, "lr": 1e-2, "batch_size": 64, "progress": False}


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32)
    images = es.data.Images(x, np.arange(20) % 3)
    return es.data.from_images(images, None, images)


def own(neuron=None, leak=1.0, **readout):
    neuron = es.LIF(lam=0.5, theta=0.3) if neuron is None else neuron
    layers = {"linear1": nn.Linear(10, 16), "neuron1": neuron, "readout": Readout(16, 3, leak)}
    return Network(layers | readout, {}, (10,), 3)


def built(neuron=None):
    net = es.models.mlp(10, [16], 3, es.LIF(lam=0.5))
    if neuron is not None:
        net.layers["neuron1"] = neuron
    return net


def changed(net, path, **attributes):
    for name, value in attributes.items():
        setattr(net.get_submodule(path), name, value)
    return net


@pytest.mark.parametrize(
    ("made", "other", "words"),
    [
        (own, lambda: own(es.LIF(lam=0.99, theta=0.3)), r"layers\.neuron1\.lam expected 0\.99, got 0\.5;"),
        (own, lambda: own(es.LIF(theta=0.3, reset="zero")), r"layers\.neuron1\.reset expected 'zero', got 'subtract'"),
        (own, lambda: own(es.IF(theta=0.3)), r"layers\.neuron1\.type expected 'IF', got 'LIF'"),
        (own, lambda: own(leak=0.1), r"layers\.readout\.leak expected 0\.1, got 1\.0"),
        (own, lambda: changed(own(), "layers.neuron1", theta=0.4), r"layers\.neuron1\.theta expected 0\.4, got 0\.3"),
        (built, lambda: built(es.LIF(lam=0.99, reset="zero")), r"layers\.neuron1\.lam expected 0\.99, got 0\.5"),
        (lambda: built(es.EMPF(0.5)), lambda: built(es.EMPF(1.0)), r"layers\.neuron1\.lam expected 1\.0, got 0\.5"),
        (built, lambda: changed(built(), "layers.norm1", eps=0.1), r"layers\.norm1\.eps expected 0\.1, got 1e-05"),
    ],
)
def test_a_checkpoint_of_another_network_names_what_differs(data, tmp_path, made, other, words):
    options = {**SETTINGS, "rule": es.rules.SLTT(1), "checkpoint": tmp_path / "c.safetensors"}
    history = es.fit(made(), data, **options)
    assert es.fit(made(), data, resume=True, **options) == history
    with pytest.raises(TrainingError, match=f"checkpoint of another training: {words}") as error:
        es.fit(other(), data, resume=True, **options)
    assert "\n" not in str(error.value)


def test_numbers_inside_blocks_count():
    def net(dilation=1, probability=0.1):
        branch = {"dropout": nn.Dropout(probability), "linear": nn.Linear(8, 8)}
        return Network({"conv": TemporalConv(4, 8, 2, dilation), "block": Residual(branch)}, {}, (4,), 3)

    assert difference(structure(net()), structure(net())) is None
    assert difference(structure(net()), structure(net(dilation=2))) == ("layers.conv.dilation", 1, 2)
    where, one, other = difference(structure(net()), structure(net(probability=0.2)))
    assert (where, one, other) == ("layers.block.branch.layers.dropout.p", 0.1, 0.2)


def test_training_and_modes_change_no_structure(data):
    net = es.models.mlp(10, [16], 3, es.neurons.MembraneNormEMPF())
    before = structure(net)
    es.fit(net, data, es.rules.SLTT(1), **SETTINGS)
    assert structure(net.eval()) == before
