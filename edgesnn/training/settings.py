"""What decides the numbers of a training, checked."""

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from edgesnn import optimizers
from edgesnn.checkpoint import plain
from edgesnn.errors import ConfigError
from edgesnn.training.precision import PRECISIONS

#: Whole numbers, and the lowest that makes sense.
_LOWEST = {"epochs": 1, "batch_size": 2, "steps": 1, "patience": 1, "accumulate": 1}
#: What remains a seed of torch when the epoch and the process are put behind it.
SEEDS = range(-(2**31), 2**32)


@dataclass(frozen=True)
class Settings:
    """See `fit`. Two trainings of equal networks with equal settings give equal numbers."""

    epochs: int
    lr: float
    batch_size: int
    steps: int
    seed: int
    patience: int | None = None
    optimizer: dict[str, Any] = field(default_factory=lambda: dict(optimizers.ADAM))
    accumulate: int = 1
    precision: str = "float32"

    def __post_init__(self) -> None:
        for each in fields(self):  # NumPy's numbers become Python's
            object.__setattr__(self, each.name, plain(getattr(self, each.name), f"fit: {each.name}"))
        for name, lowest in _LOWEST.items():
            value = getattr(self, name)
            if not (name == "patience" and value is None) and not (type(value) is int and value >= lowest):
                raise ConfigError(f"fit: expected {name} >= {lowest}, a whole number, got {value!r}")
        if type(self.seed) is not int or self.seed not in SEEDS:
            raise ConfigError(f"fit: expected a whole number as seed, -2^31 to 2^32 - 1, got {self.seed!r}")
        if type(self.lr) not in (int, float) or not 0 < self.lr < math.inf:
            raise ConfigError(f"fit: expected lr > 0, a finite number, got {self.lr!r}")
        if self.accumulate > self.batch_size // 2:
            raise ConfigError(
                f"fit: expected accumulate of 1 to batch_size/2 parts of a batch, got {self.accumulate} of "
                f"{self.batch_size}; use a smaller one"
            )
        if self.precision not in PRECISIONS:
            raise ConfigError(f"fit: expected precision {' or '.join(PRECISIONS)}, got {self.precision!r}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def cosine(lr: float, epoch: int, epochs: int) -> float:
    """Learning rate of an epoch: half a cosine from lr towards 0."""
    return lr * (1 + math.cos(math.pi * epoch / epochs)) / 2
