"""Learning rules. A rule has `backward(net, x, y, generator) -> loss`, which adds to the `.grad` of the parameters.

x [T, N, ...], y [N] class indexes, generator a torch.Generator for the rule's own draws.
"""

from typing import Any

from edgesnn.arguments import checked, described
from edgesnn.errors import ConfigError
from edgesnn.rules.base import Rule, Update
from edgesnn.rules.bptt import BPTT
from edgesnn.rules.dsr import DSR
from edgesnn.rules.ottt import OTTT
from edgesnn.rules.sltt import SLTT
from edgesnn.rules.ttlbp import TTLBP

__all__ = ["BPTT", "DSR", "OTTT", "SLTT", "TTLBP", "Rule", "Update", "build", "parse"]

_KINDS: dict[str, type[Rule]] = {"bptt": BPTT, "dsr": DSR, "ottt": OTTT, "sltt": SLTT, "ttlbp": TTLBP}
#: What may follow the kind in `parse`, in this order.
_ARGUMENTS = {"bptt": (), "dsr": (), "ottt": ("update",), "sltt": ("k",), "ttlbp": ("k", "n", "classifiers")}
_NUMBERS = ("k", "n")


def build(config: dict[str, Any]) -> Rule:
    """The rule that `Rule.config()` described, such as {"kind": "sltt", "k": 4}."""
    arguments = described("rule", config, "sltt")
    kind = arguments.pop("kind", None)
    _check_kind(kind)
    make, see = _KINDS[kind], f"edgesnn.rules.{_KINDS[kind].__name__}"
    return make(**checked(f"rule '{kind}'", make, arguments, see))


def parse(text: str) -> dict[str, Any]:
    """The description of a rule from one word: "bptt", "sltt:4", "ottt:online", "dsr", "ttlbp:5,1,random"."""
    kind, colon, rest = text.partition(":")
    _check_kind(kind)
    given, names = rest.split(",") if colon else [], _ARGUMENTS[kind]
    if len(given) > len(names):
        expected = f"{kind}:{','.join(names)}" if names else kind
        raise ConfigError(f"rule: expected {expected}, got {text!r}; leave out what follows")
    config: dict[str, Any] = {"kind": kind}
    for name, value in zip(names, given, strict=False):
        if name in _NUMBERS and not (value.isdecimal() and int(value)):
            raise ConfigError(f"rule '{kind}': expected {name} to be a whole number above 0, got {value!r}")
        config[name] = int(value) if name in _NUMBERS else value
    build(config)
    return config


def _check_kind(kind: Any) -> None:
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ConfigError(
            f"rule: expected one of {', '.join(sorted(_KINDS))}, got {kind!r}; choose one, such as sltt:4"
        )
