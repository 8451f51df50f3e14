"""Learning rules. A rule has `backward(net, x, y, generator) -> loss`, which adds to the `.grad` of the parameters.

x [T, N, ...], y [N] class indexes, generator a torch.Generator for the rule's own draws.
"""

from typing import Any

from edgesnn.errors import ConfigError
from edgesnn.rules.base import Rule, Update
from edgesnn.rules.bptt import BPTT
from edgesnn.rules.ottt import OTTT
from edgesnn.rules.sltt import SLTT

__all__ = ["BPTT", "OTTT", "SLTT", "Rule", "Update", "build"]


def build(config: dict[str, Any]) -> Rule:
    """The rule that `Rule.config()` described: {"kind": "sltt", "k": 4} or {"kind": "bptt"}."""
    arguments = dict(config)
    kind = arguments.pop("kind", None)
    kinds: dict[str, type[Rule]] = {"bptt": BPTT, "ottt": OTTT, "sltt": SLTT}
    if kind not in kinds:
        raise ConfigError(f"rule: expected one of {', '.join(sorted(kinds))}, got {kind!r}; choose one, such as sltt:4")
    try:
        return kinds[kind](**arguments)
    except TypeError as error:
        raise ConfigError(f"rule '{kind}': {error}") from None
