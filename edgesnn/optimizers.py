"""The optimizers that `fit` knows, by a JSON description: {"kind": "sgd", "momentum": 0.9, "weight_decay": 5e-4}."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from edgesnn.errors import ConfigError

ADAM: dict[str, Any] = {"kind": "adam"}
_KINDS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def build(config: dict[str, Any], parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """torch's optimizer of this kind; the other keys are its arguments. ConfigError for what it does not know."""
    if not isinstance(config, dict):
        raise ConfigError(f"optimizer: expected a description such as {{'kind': 'sgd'}}, got {config!r}; give its kind")
    arguments = dict(config)
    kind = arguments.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ConfigError(f"optimizer: expected one of {', '.join(_KINDS)}, got {kind!r}; choose one of them")
    try:
        return _KINDS[kind](parameters, lr=lr, **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer '{kind}': {error}; see torch.optim") from None
