"""What a device may learn, by the name users type."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgesnn.errors import ExportError

#: `means`: class means behind a guard. `readout`: its weights and bias. `readout+thresholds`: the thresholds of all
#: neurons too. `last:N`: the weights and thresholds of the last N hidden layers too. `all`: those of every layer.
SCOPES = ("means", "readout", "readout+thresholds", "last:N", "all")


@dataclass(frozen=True)
class Scope:
    """How many hidden layers' weights and thresholds learn, counted from the readout; and what becomes of the readout.

    At least as many thresholds as weights.
    """

    weights: int = 0
    thresholds: int = 0
    readout: bool = False
    means: bool = False


def parse(learn: str | None, hidden: int) -> Scope:
    """The scope of this name in a network of so many hidden layers; None learns nothing.

    Raises:
        ExportError: there is none of that name, or it has more layers than the network.
    """
    fixed = {
        None: Scope(),
        "means": Scope(means=True),
        "readout": Scope(readout=True),
        "readout+thresholds": Scope(thresholds=hidden, readout=True),
        "all": Scope(hidden, hidden, readout=True),
    }
    if learn in fixed:
        return fixed[learn]
    match = re.fullmatch(r"last:(\d+)", learn or "", re.ASCII)
    if match is None:
        raise ExportError(f"learn: expected one of {', '.join(SCOPES)}, or none, got {learn!r}; choose one of them")
    layers = int(match[1])
    if not 1 <= layers <= hidden:
        raise ExportError(
            f"learn: expected last:1 to last:{hidden}, as the network has {hidden} hidden layers, got {learn}; "
            "choose fewer, or all"
        )
    return Scope(layers, layers, readout=True)
