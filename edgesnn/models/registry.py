"""Constructors of networks by name: each network carries the call that made it, and `build` makes it again."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

import torch

from edgesnn import neurons
from edgesnn.arguments import checked
from edgesnn.checkpoint import plain
from edgesnn.errors import ConfigError
from edgesnn.models.network import Network
from edgesnn.models.reparameterized import reparameterize

WEIGHTS = ("binary", "float")
#: Batch norm after every synapse; scaled weight standardization instead (no batch statistics); neither.
NORMS = ("batch", "standardized", "none")

#: Seeds that torch takes.
SEEDS = range(-(2**63), 2**64)

P = ParamSpec("P")
CONSTRUCTORS: dict[str, Callable[..., Network]] = {}


def constructor(make: Callable[P, Network]) -> Callable[P, Network]:
    """Register a function that makes a network, and do what all of them share.

    Its arguments are JSON values, sequences, and `neuron`: a prototype, of which each layer gets its own copy (None:
    EM-PF). Options of the same name mean the same everywhere and are checked here: classes, neuron, weights, norm,
    dropout. The random weights come from `seed` and leave the global generator alone. `config` becomes {"model": name,
    argument: value, ...}, defaults included.
    """
    signature, name = inspect.signature(make), make.__name__

    @functools.wraps(make)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Network:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = bound.arguments
        if arguments["neuron"] is None:
            arguments["neuron"] = neurons.EMPF()
        _check_neuron(name, arguments["neuron"])
        values = {key: value for key, value in arguments.items() if key != "neuron"}
        arguments |= checked(name, make, values, f"edgesnn.models.{name}", given=("neuron",))
        _check(arguments)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(arguments["seed"])
            net = make(*bound.args, **bound.kwargs)
        net.config = {"model": name, **arguments, "neuron": plain(arguments["neuron"].config(), f"{name}: neuron")}
        return net

    CONSTRUCTORS[name] = wrapper
    return wrapper


def takes_images(model: str) -> bool:
    """Whether the constructor of this name has an `input_shape`; others have a number of `inputs`."""
    return "input_shape" in inspect.signature(_constructor(model)).parameters


def build(config: dict[str, Any]) -> Network:
    """The network that `Network.config` describes, with freshly seeded weights."""
    arguments = dict(config)
    model, folded = arguments.pop("model", None), arguments.pop("reparameterized", False)
    make = _constructor(model)
    if "neuron" in arguments:
        arguments["neuron"] = neurons.build(arguments["neuron"])
    try:
        net = make(**arguments)
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model '{model}': {error}; see edgesnn.models.{model}") from None
    return reparameterize(net) if folded else net


def _constructor(model: Any) -> Callable[..., Network]:
    if not isinstance(model, str) or model not in CONSTRUCTORS:
        raise ConfigError(f"model: expected one of {sorted(CONSTRUCTORS)}, got {model!r}")
    return CONSTRUCTORS[model]


def _check_neuron(name: str, neuron: Any) -> None:
    if not isinstance(neuron, neurons.Neuron):
        raise ConfigError(
            f"{name}: neuron: expected one such as edgesnn.LIF(), called, got {neuron!r}; "
            "edgesnn.neurons.build makes one from a description"
        )


def _check(arguments: dict[str, Any]) -> None:
    weights, norm, classes = arguments["weights"], arguments.get("norm", "none"), arguments["classes"]
    if weights not in WEIGHTS:
        raise ConfigError(f"weights: expected one of {list(WEIGHTS)}, got {weights!r}")
    if norm not in NORMS:
        raise ConfigError(f"norm: expected one of {list(NORMS)}, got {norm!r}")
    if arguments["seed"] not in SEEDS:
        raise ConfigError(f"seed: expected -2^63 to 2^64 - 1, got {arguments['seed']}")
    if classes < 2:
        raise ConfigError(f"classes: expected at least 2, got {classes}")
    if not 0.0 <= arguments.get("dropout", 0.0) < 1.0:
        raise ConfigError(f"dropout: expected a probability in [0, 1), got {arguments['dropout']}")
    if arguments.get("width", 1) < 1:
        raise ConfigError(f"width: expected at least 1, got {arguments['width']}")
