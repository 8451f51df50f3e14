"""What a constructor and `build` do with arguments that are of another type than they should be."""

import numpy as np
import pytest

import edgesnn as es
from edgesnn.errors import ConfigError


def test_arguments_of_numpy_and_tuples_are_plain_in_the_config():
    layers = ({"kind": "conv", "outputs": 4, "kernel": (3, np.int64(3))}, {"kind": "neuron"}, {"kind": "flatten"})
    config = es.models.sequence(np.array([1, 8, 8]), layers, np.int64(3), es.LIF(theta=np.float32(0.5))).config
    assert config["layers"][0] == {"kind": "conv", "outputs": 4, "kernel": [3, 3]}
    assert (config["input_shape"], config["classes"], config["neuron"]["theta"]) == ([1, 8, 8], 3, 0.5)
    assert {type(config[key]) for key in ("classes", "seed")} == {int}
    assert es.models.build(config).config == config


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: es.models.mlp(4, 4, 2), "mlp: hidden: expected a list of whole numbers, got 4"),
        (lambda: es.models.mlp(4, [4.5], 2), r"mlp: hidden: .* got \[4\.5\]"),
        (lambda: es.models.mlp(4, "ab", 2), "mlp: hidden: .* got 'ab'"),
        (lambda: es.models.mlp("4", [4], 2), "mlp: inputs: expected a whole number, got '4'"),
        (lambda: es.models.mlp(4, [4], 2.0), "mlp: classes: expected a whole number, got 2.0"),
        (lambda: es.models.mlp(4, [4], 2, leak="all"), "mlp: leak: expected a number, got 'all'"),
        (lambda: es.models.mlp(4, [4], 2, {"kind": "lif"}), "mlp: neuron: .* called, got {'kind': 'lif'}"),
        (lambda: es.models.mlp(4, [4], 2, es.LIF), "mlp: neuron: .* called, got <class"),
        (lambda: es.models.mlp(4, [4], 2, seed=2**64), r"seed: expected -2\^63 to 2\^64 - 1"),
        (lambda: es.models.mlp(4, [object()], 2), "mlp: hidden: expected numbers.* got object"),
        (lambda: es.models.resnet18((1, 8, 8), 3, width=2.5), "resnet18: width: expected a whole number, got 2.5"),
        (lambda: es.models.resnet18((1, 8, 8), 3, attention="x"), "attention: expected a whole number or None"),
        (lambda: es.models.build({"model": ["mlp"]}), r"model: expected one of .* got \['mlp'\]"),
        (lambda: es.models.build({"model": "mlp", "inputs": 4, "hidden": [4]}), "model 'mlp': .*'classes'"),
        (lambda: es.models.build({"model": "mlp", "inputs": 4, "hidden": 4, "classes": 2}), "mlp: hidden"),
    ],
)
def test_arguments_of_another_type_are_one_line(make, words):
    with pytest.raises(ConfigError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


def test_what_a_constructor_refuses_by_itself_is_one_line_from_a_description(monkeypatch):
    def refusing(classes):
        raise ValueError("not this")

    monkeypatch.setitem(es.models.CONSTRUCTORS, "refusing", refusing)
    with pytest.raises(ConfigError, match="model 'refusing': not this"):
        es.models.build({"model": "refusing", "classes": 2})
