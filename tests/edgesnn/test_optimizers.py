"""Optimizers from descriptions: what torch refuses, at once or in its first step, is one line."""

import math

import pytest
import torch
from torch import nn

from edgesnn import optimizers
from edgesnn.errors import ConfigError


def parameters():
    return [nn.Parameter(torch.arange(3.0))]


@pytest.mark.parametrize(
    ("config", "kind", "values"),
    [
        ({"kind": "adam"}, torch.optim.Adam, {"betas": (0.9, 0.999)}),
        ({"kind": "adam", "betas": [0.5, 0.75], "amsgrad": True}, torch.optim.Adam, {"betas": (0.5, 0.75)}),
        ({"kind": "sgd", "momentum": 0, "weight_decay": 5e-4, "foreach": None}, torch.optim.SGD, {"momentum": 0}),
    ],
)
def test_the_arguments_are_those_of_torch(config, kind, values):
    trained = parameters()
    optimizer = optimizers.build(config, iter(trained), 0.25)
    assert type(optimizer) is kind
    [group] = optimizer.param_groups
    assert group["lr"] == 0.25
    assert {name: group[name] for name in values} == values
    assert len(group["params"]) == 1
    assert group["params"][0] is trained[0]
    assert trained[0].tolist() == [0.0, 1.0, 2.0]
    assert not optimizer.state


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"kind": "adam", "betas": [0.9]},
            r"'adam': betas: expected a list of two numbers, got \[0.9\]; see torch\.opt",
        ),
        ({"kind": "adam", "betas": "ab"}, "betas: expected a list of two numbers, got 'ab'"),
        ({"kind": "adam", "betas": [0.9, 1.5]}, "[Ii]nvalid beta"),
        ({"kind": "adam", "eps": None}, "eps: expected a number, got None"),
        ({"kind": "sgd", "nesterov": "false"}, "'sgd': nesterov: expected true or false, got 'false'"),
        ({"kind": "adam", "amsgrad": 1}, "amsgrad: expected true or false, got 1"),
        ({"kind": "adam", "fused": True, "foreach": True}, "`fused` and `foreach` cannot"),
        ({"kind": "adam", "differentiable": True}, "'adam': .*; see torch"),
        ({"kind": "adam", "capturable": True}, "'adam': .*capturable"),
        ({"kind": "sgd", "weight_decay": math.nan}, "'sgd': expected .* got NaN from .*weight_decay"),
        ({"kind": "sgd", "nesterov": True}, "requires a momentum"),
        ({"kind": "sgd", "lr": 1}, "'lr'"),
        ({"kind": "sgd", "rate": 1}, "'rate'"),
        ({"kind": "lion"}, "optimizer: expected one of adam, sgd, got 'lion'"),
        ("sgd", "optimizer: expected a description such as .*'sgd'.*, got 'sgd'"),
    ],
)
def test_what_cannot_step_is_one_line(config, words):
    with pytest.raises(ConfigError, match=words) as error:
        optimizers.build(config, parameters(), 1e-3)
    assert "\n" not in str(error.value)
