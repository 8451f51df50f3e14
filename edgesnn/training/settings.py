"""What decides the numbers of a training, checked."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from edgesnn import optimizers
from edgesnn.errors import ConfigError
from edgesnn.training.precision import PRECISIONS


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
        if self.epochs < 1 or self.lr <= 0:
            raise ConfigError(f"fit: expected epochs >= 1 and lr > 0, got {self.epochs} and {self.lr}")
        if self.batch_size < 2:
            raise ConfigError(f"fit: expected a batch_size of at least 2, got {self.batch_size}; use larger batches")
        if not 1 <= self.accumulate <= self.batch_size // 2:
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
