"""How a learning rule walks through a window of time steps: all that its cost depends on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgesnn.errors import ConfigError
from edgesnn.rules import Rule


@dataclass(frozen=True)
class Schedule:
    """forward, backward: time steps of a window that are run in each direction (expectations, where steps are drawn).
    interval: steps whose backward passes are joined, k of TT-LBP. block: units of a local block, n of TT-LBP; None is
    the whole network. random_classifiers: local classifiers are not trained. traces: a value for each presynaptic one
    is kept over time (OTTT). rates: a value for each neuron is summed over time (DSR).
    """

    forward: float
    backward: float
    interval: int = 1
    block: int | None = None
    random_classifiers: bool = False
    traces: bool = False
    rates: bool = False


def schedule(rule: Rule | Mapping[str, Any], steps: int) -> Schedule:
    """The schedule of a rule, or of the `config()` of one, for a window of `steps`.

    Raises:
        ConfigError: a rule whose cost is not known, or one that doesn't fit so few steps.
    """
    config = rule.config() if isinstance(rule, Rule) else rule
    if steps < 1:
        raise ConfigError(f"cost: expected at least 1 time step, got {steps}")
    match config.get("kind"):
        case "bptt":
            return Schedule(steps, steps, interval=steps)
        case "sltt":
            return _sltt(config.get("k"), steps)
        case "ottt":
            return Schedule(steps, steps, traces=True)
        case "dsr":
            return Schedule(steps, 1, rates=True)
        case "ttlbp":
            k, n = config.get("k"), config.get("n")
            k = steps if k is None else _checked("k", k, steps)
            random = config.get("classifiers") == "random"
            if n is not None and n < 1:
                raise ConfigError(f"cost: expected local blocks of n >= 1 layers, got {n}")
            return Schedule(steps, steps, interval=k, block=n, random_classifiers=random)
    raise ConfigError(f"cost: expected a rule among bptt, sltt, ottt, dsr, ttlbp, got {config.get('kind')!r}")


def _sltt(k: int | None, steps: int) -> Schedule:
    """The last of k steps drawn from T without replacement is step k*(T+1)/(k+1) on average; none after it is run."""
    if k is None:
        return Schedule(steps, steps)
    k = _checked("k", k, steps)
    return Schedule(k * (steps + 1) / (k + 1), k)


def _checked(name: str, value: int, steps: int) -> int:
    if not 1 <= value <= steps:
        raise ConfigError(f"cost: expected {name} from 1 to {steps} time steps, got {value}")
    return value
