"""What is remembered of each epoch, and where it can be watched."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgesnn import folders
from edgesnn.errors import ConfigError


@dataclass
class Epoch:
    """Mean loss over the epoch's batches; accuracy on the validation split (None without one)."""

    loss: float
    validation: float | None
    lr: float
    seconds: float


@dataclass
class History:
    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int | None = None  # index of the epoch whose weights were kept; None: the last

    @property
    def seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.epochs)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> "History":
        return cls([Epoch(**epoch) for epoch in json["epochs"]], json["best_epoch"])


class TensorBoard:
    """Loss, validation accuracy and learning rate of each epoch, numbered from 1, as TensorBoard logs in a folder; with
    None, nowhere. What the folder has of epochs after the first `done` is hidden: they are trained again.
    """

    def __init__(self, folder: str | Path | None, done: int = 0) -> None:
        self._writer = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError(
                "fit: logdir needs the package tensorboard; pip install edgesnn[tensorboard], or leave logdir out"
            ) from None
        self._writer = SummaryWriter(str(folders.make(folder)), purge_step=done + 1)

    def write(self, number: int, epoch: Epoch) -> None:
        if self._writer is None:
            return
        values = {"loss": epoch.loss, "validation accuracy": epoch.validation, "learning rate": epoch.lr}
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, number)
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
