"""Descriptions are checked by the annotations of what they make: text is no truth value, 1.5 no number of steps."""

import inspect
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from edgesnn import arguments, models, neurons, optimizers, rules
from edgesnn.errors import ConfigError


def make(
    place: str, steps: int, names: Sequence[int] = (), rate: float = 0.5, limit: float | None = None, fast: bool = False
):
    pass


def check(**values):
    return arguments.checked("place", make, {"steps": 1} | values, "home", given=("place",))


def test_what_fits_comes_back_as_json_has_it():
    given = {"steps": np.int64(3), "names": (1, np.int32(2)), "rate": 1, "limit": None, "fast": True}
    found = check(**given)
    assert found == {"steps": 3, "names": [1, 2], "rate": 1, "limit": None, "fast": True}
    assert type(found["steps"]) is int


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("steps", 1.5, "a whole number, got 1.5"),
        ("steps", True, "a whole number, got True"),
        ("steps", "3", "a whole number, got '3'"),
        ("names", [1, False], r"a list of whole numbers, got \[1, False\]"),
        ("rate", True, "a number, got True"),
        ("rate", "0.5", "a number, got '0.5'"),
        ("limit", "none", "a number or None, got 'none'"),
        ("fast", "false", "true or false, got 'false'"),
        ("fast", 0, "true or false, got 0"),
    ],
)
def test_what_does_not_fit_is_one_line(key, value, words):
    with pytest.raises(ConfigError, match=rf"^place: {key}: expected {words}; see home$"):
        check(**{key: value})


def test_what_is_unknown_or_missing_is_one_line():
    for name in ("slow", "place"):
        with pytest.raises(
            ConfigError, match=f"^place: expected steps or names or .* or fast, got '{name}'; see home$"
        ):
            check(**{name: 1})
    with pytest.raises(ConfigError, match=r"^place: expected no argument, got 'x'; see home$"):
        arguments.checked("place", lambda: None, {"x": 1}, "home")
    with pytest.raises(ConfigError, match=r"^place: expected an argument 'steps', got none; see home$"):
        arguments.checked("place", make, {"rate": 1}, "home", given=("place",))


def kinds():
    yield from ((f"neuron {kind}", neuron) for kind, neuron in neurons._KINDS.items())
    yield from ((f"rule {kind}", rule) for kind, rule in rules._KINDS.items())
    yield from ((f"optimizer {kind}", optimizer) for kind, optimizer in optimizers._KINDS.items())
    yield from ((f"model {name}", model) for name, model in models.CONSTRUCTORS.items())


@pytest.mark.parametrize("made", [pytest.param(made, id=name) for name, made in kinds()])
def test_every_argument_is_checked_but_those_that_name_one_of_several(made):
    parameters = inspect.signature(made).parameters.values()
    own = {"neuron", "layers", "params"}  # checked by whoever takes them; `fit` gives the last
    unknown = {p.name for p in parameters if p.annotation not in arguments.TYPES and p.annotation is not str}
    assert unknown <= own


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: neurons.build({"kind": "empf", "parallel": "false"}), "^neuron 'empf': parallel: .*got 'false'; see"),
        (lambda: neurons.build({"kind": "lif", "train_theta": "no"}), "train_theta: expected true or false"),
        (lambda: neurons.build({"kind": "lif", "lam": True}), "lam: expected a number, got True"),
        (lambda: neurons.build({"kind": "lif", "width": "1"}), "width: expected a number or None"),
        (lambda: neurons.build({"kind": "lif", "surrogate": ["step"]}), "LIF surrogate: expected one of"),
        (lambda: neurons.build({"kind": "empf", "steps": 2.5}), "steps: expected a whole number or None, got 2.5"),
        (lambda: neurons.build({"kind": "if", "lam": 0.5}), "^neuron 'if': expected theta or .*, got 'lam'; see"),
        (lambda: neurons.build("lif"), "neuron: expected a description such as .*, got 'lif'; give one"),
        (lambda: rules.build({"kind": "ttlbp", "seed": "a"}), "^rule 'ttlbp': seed: .*; see edgesnn.rules.TTLBP"),
        (lambda: rules.build({"kind": "sltt", "mse": True}), "mse: expected a number, got True"),
        (lambda: rules.build(None), "rule: expected a description such as .*, got None"),
        (lambda: models.build({"model": "mlp", "inputs": 4, "hidden": [4], "classes": 2, "neuron": None}), "^neuron: "),
        (lambda: models.build({"model": "mlp", "inputs": True, "hidden": [4], "classes": 2}), "mlp: inputs: "),
    ],
)
def test_every_kind_of_description_is_checked(build, words):
    with pytest.raises(ConfigError, match=words) as error:
        build()
    assert "\n" not in str(error.value)


def test_numbers_of_numpy_make_a_neuron():
    neuron = neurons.build({"kind": "lif", "lam": np.float32(0.5), "strict": np.bool_(True)})
    assert neuron.config()["lam"] == 0.5
    assert neuron.strict is True
    assert torch.equal(neuron(torch.ones(1, 1), None, 0)[0], torch.zeros(1, 1))
