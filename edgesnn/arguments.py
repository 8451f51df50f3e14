"""Arguments of what is made from a description, {"kind": ..., argument: value, ...}, checked by their annotations."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from edgesnn.checkpoint import plain
from edgesnn.errors import ConfigError


def _whole(value: Any) -> bool:
    return type(value) is int  # which True is not


def _number(value: Any) -> bool:
    return type(value) in (int, float)


def _flag(value: Any) -> bool:
    return type(value) is bool


#: What an argument of each annotation is called, and whether a value (as JSON has it) is one. A text is not among them:
#: whoever takes one names what it may be.
TYPES: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    bool: ("true or false", _flag),
    bool | None: ("true, false or None", lambda value: value is None or _flag(value)),
    int: ("a whole number", _whole),
    int | None: ("a whole number or None", lambda value: value is None or _whole(value)),
    float: ("a number", _number),
    float | None: ("a number or None", lambda value: value is None or _number(value)),
    float | Tensor: ("a number", _number),
    Sequence[int]: ("a list of whole numbers", lambda value: type(value) is list and all(map(_whole, value))),
    tuple[float | Tensor, float | Tensor]: (
        "a list of two numbers",
        lambda value: type(value) is list and len(value) == 2 and all(map(_number, value)),
    ),
}


def described(what: str, config: Any, example: str) -> dict[str, Any]:
    """A copy of a description; ConfigError where it is none."""
    if not isinstance(config, Mapping):
        raise ConfigError(f"{what}: expected a description such as {{'kind': '{example}'}}, got {config!r}; give one")
    return dict(config)


def checked(
    place: str, make: Callable[..., Any], arguments: Mapping[str, Any], see: str, given: Sequence[str] = ()
) -> dict[str, Any]:
    """The arguments as JSON has them, if they are what `make` takes beside those that it is `given`: of the types that
    its annotations say, none unknown and none missing; else ConfigError, which names the first that is not.
    """
    parameters = {key: value for key, value in inspect.signature(make).parameters.items() if key not in given}
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise ConfigError(f"{place}: expected an argument '{key}', got none; see {see}")
    values = {}
    for key, value in arguments.items():
        if key not in parameters:
            raise ConfigError(f"{place}: expected {' or '.join(parameters) or 'no argument'}, got '{key}'; see {see}")
        values[key] = plain(value, f"{place}: {key}")
        words, fits = TYPES.get(parameters[key].annotation, ("", lambda _: True))
        if not fits(values[key]):
            raise ConfigError(f"{place}: {key}: expected {words}, got {values[key]!r}; see {see}")
    return values
