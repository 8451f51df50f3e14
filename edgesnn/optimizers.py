"""The optimizers that `fit` knows, by a JSON description: {"kind": "sgd", "momentum": 0.9, "weight_decay": 5e-4}."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from edgesnn.arguments import checked, described
from edgesnn.errors import ConfigError

ADAM: dict[str, Any] = {"kind": "adam"}
_KINDS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def build(config: dict[str, Any], parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """torch's optimizer of this kind; the other keys are its arguments. ConfigError for what it does not know."""
    arguments = described("optimizer", config, "sgd")
    kind = arguments.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ConfigError(f"optimizer: expected one of {', '.join(_KINDS)}, got {kind!r}; choose one of them")
    make, see, trained = _KINDS[kind], f"torch.optim.{_KINDS[kind].__name__}", list(parameters)
    arguments = checked(f"optimizer '{kind}'", make, arguments, see, given=("params", "lr"))
    try:
        _try_step(make, trained[0], lr, arguments)
        return make(trained, lr=lr, **arguments)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ConfigError(f"optimizer '{kind}': {error}; see {see}") from None


def _try_step(
    make: Callable[..., torch.optim.Optimizer], like: nn.Parameter, lr: float, arguments: dict[str, Any]
) -> None:
    """One step of a single value: some arguments torch refuses only there, and some make NaN of everything."""
    value = nn.Parameter(torch.ones(1, dtype=like.dtype, device=like.device))
    optimizer = make([value], lr=lr, **arguments)
    value.grad = torch.ones_like(value)
    optimizer.step()
    if value.isnan().any():
        raise ValueError(f"expected arguments that leave a number in a step, got NaN from {arguments}")
