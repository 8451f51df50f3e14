"""What the guard of a model that learns class means has seen, and which model decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgesnn.runtime.model import Array, Model

#: The tensor that says whether the learned model decides; a model without it has no guard.
USE = "guard.use"


@dataclass(frozen=True)
class Guard:
    """Labelled steps that both models were compared on, the errors of each, and whether the learned one decides.

    The counts fade: all are halved from time to time.
    """

    seen: int
    factory_errors: int
    learned_errors: int
    used: bool

    @property
    def factory_accuracy(self) -> float | None:
        """Of the factory's model on the compared steps; None before the first."""
        return 1 - self.factory_errors / self.seen if self.seen else None

    @property
    def learned_accuracy(self) -> float | None:
        """Of the learned model on the compared steps; None before the first."""
        return 1 - self.learned_errors / self.seen if self.seen else None


def read_guard(tensors: Mapping[str, Array]) -> Guard | None:
    """The guard among a session's tensors; None for a model without one."""
    if USE not in tensors:
        return None
    seen, factory, learned, use = (
        int(tensors[f"guard.{name}"][0]) for name in ("seen", "factory_errors", "learned_errors", "use")
    )
    return Guard(seen, factory, learned, bool(use))


def overruled(model: Model, snapshot: bytes) -> bytes:
    """The same snapshot with the learned model deciding, whatever the guard found: to measure what it prevented."""
    return model.pack(model.unpack(snapshot) | {USE: np.ones(1, np.int32)})
