"""`fit`: the training loop, with checkpoints from which it goes on to exactly the same numbers."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from edgesnn import checkpoint as files
from edgesnn import optimizers
from edgesnn.data import Dataset
from edgesnn.errors import ConfigError, TrainingError
from edgesnn.evaluation import evaluate
from edgesnn.models import Network
from edgesnn.rules import SLTT, Rule

#: Matrices below this many weights are multiplied faster by one thread than by several that wait for each other
#: (batches of 64; 512 x 512 is below: 75 ms by one thread, 370 ms by two on busy cores).
THREADED_WEIGHTS = 2**19


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


def cosine(lr: float, epoch: int, epochs: int) -> float:
    """Learning rate of an epoch: half a cosine from lr towards 0."""
    return lr * (1 + math.cos(math.pi * epoch / epochs)) / 2


def fit(
    net: Network,
    data: Dataset,
    rule: Rule | None = None,
    epochs: int = 10,
    lr: float = 5e-3,
    batch_size: int = 64,
    steps: int | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    patience: int | None = None,
    progress: bool = True,
    optimizer: dict[str, Any] | None = None,
) -> History:
    """Trains `net` in place with a cosine learning rate over the epochs.

    steps: time steps of a training window (None: the data set's). checkpoint: a file written after each epoch; with
    `resume` training goes on from it, to the numbers an uninterrupted run would have given. patience: stop after this
    many epochs without a better validation accuracy, and keep the best weights; None trains all epochs and keeps the
    last. optimizer: see `edgesnn.optimizers` (None: Adam). Raises TrainingError for a loss that is not finite (the
    checkpoint stays that of the last whole epoch) and for a checkpoint of another network or other settings.
    Networks of small matrices train on one thread.
    """
    if epochs < 1 or lr <= 0:
        raise ConfigError(f"fit: expected epochs >= 1 and lr > 0, got {epochs} and {lr}")
    if patience is not None and not len(data.validation):
        raise ConfigError("fit: patience needs a validation split, and this data has none; leave patience out")
    rule = SLTT() if rule is None else rule
    steps = data.steps if steps is None else steps
    loop = _Loop(net, data, rule, epochs, lr, batch_size, steps, seed, patience, optimizer or optimizers.ADAM)
    if resume:
        if checkpoint is None:
            raise ConfigError("fit: resume needs the checkpoint to go on from; pass checkpoint=")
        loop.load(Path(checkpoint))
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with _threads(net), Progress(*columns, TimeRemainingColumn(), disable=not progress) as bar:
        task = bar.add_task("training", total=epochs, completed=len(loop.history.epochs))
        while not loop.finished:
            epoch = loop.run_epoch()
            accuracy = "" if epoch.validation is None else f", validation {epoch.validation:.3f}"
            bar.update(task, advance=1, description=f"training: loss {epoch.loss:.3f}{accuracy}")
            if checkpoint is not None:
                loop.save(Path(checkpoint))
    loop.keep_best()
    return loop.history


@contextmanager
def _threads(net: Network) -> Iterator[None]:
    """One thread within operations while a network of small matrices trains; convolutions, whose matrices are as many
    as the image has pixels, keep those of torch.
    """
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    if any(isinstance(layer, nn.Conv2d) or layer.weight.numel() >= THREADED_WEIGHTS for layer in layers):
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Loop:
    """The state of one training: everything that the next epoch depends on."""

    def __init__(
        self,
        net: Network,
        data: Dataset,
        rule: Rule,
        epochs: int,
        lr: float,
        batch_size: int,
        steps: int,
        seed: int,
        patience: int | None,
        optimizer: dict[str, Any],
    ) -> None:
        self.net, self.data, self.rule = net, data, rule
        self.epochs, self.lr, self.batch_size, self.steps, self.patience = epochs, lr, batch_size, steps, patience
        self.settings = {
            "data": data.name,
            "rule": rule.config(),
            "epochs": epochs,
            "lr": lr,
            "batch_size": batch_size,
            "steps": steps,
            "seed": seed,
            "patience": patience,
            "optimizer": optimizer,
        }
        self.auxiliary = rule.prepare(net)
        self.optimizer = optimizers.build(optimizer, [*net.parameters(), *self.auxiliary.parameters()], lr)
        self.generator = torch.Generator().manual_seed(seed)
        self.history = History()
        self.best: files.Tensors = {}
        self.step = 0  # of the epoch, from 1

    @property
    def finished(self) -> bool:
        done = len(self.history.epochs)
        if done >= self.epochs:
            return True
        best = self.history.best_epoch
        return self.patience is not None and best is not None and done - 1 - best >= self.patience

    def run_epoch(self) -> Epoch:
        start = time.perf_counter()
        number = len(self.history.epochs)
        lr = cosine(self.lr, number, self.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.net.train()
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for step, (x, y) in enumerate(self.data.training_batches(self.steps, self.batch_size, self.generator)):
            self.step = step + 1
            losses.append(self.rule.learn(self.net, x, y, self.generator, self.update))
        for name, parameter in self.net.named_parameters():
            if parameter.isnan().any():
                raise TrainingError(f"training: '{name}' has NaN after epoch {number + 1}; lower lr (now {lr:g})")
        validation = None
        if len(self.data.validation):
            validation = evaluate(self.net, self.data, "validation", steps=self.steps).accuracy
        epoch = Epoch(sum(losses) / len(losses), validation, lr, time.perf_counter() - start)
        self.history.epochs.append(epoch)
        self._remember(validation)
        return epoch

    def update(self, loss: float) -> None:
        """One step of the optimizer along the gradient that a rule has left; the next gradient starts at zero."""
        if not math.isfinite(loss):
            raise TrainingError(
                f"training: the loss is {loss} at epoch {len(self.history.epochs) + 1}, step {self.step}; "
                f"lower lr (now {self.optimizer.param_groups[0]['lr']:g}); "
                "a checkpoint, if any, is that of the epoch before"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _remember(self, validation: float | None) -> None:
        if self.patience is None or validation is None:
            return
        best = self.history.best_epoch
        if best is None or validation > (self.history.epochs[best].validation or 0.0):
            self.history.best_epoch = len(self.history.epochs) - 1
            self.best = {name: tensor.clone() for name, tensor in self.net.state_dict().items()}

    def keep_best(self) -> None:
        if self.best:
            self.net.load_state_dict(self.best)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {
            **files.with_prefix("model", self.net.state_dict()),
            **files.with_prefix("best", self.best),
            **files.with_prefix("rule", self.auxiliary.state_dict()),
            **files.with_prefix("optimizer", files.optimizer_tensors(self.optimizer)),
            "generator": self.generator.get_state(),
        }
        metadata = {"config": self.net.config, "settings": self.settings, "history": self.history.to_json()}
        files.write(path, tensors, metadata)

    def load(self, path: Path) -> None:
        if not path.is_file():
            raise TrainingError(f"{path}: expected a checkpoint to go on from, none found; leave out --resume")
        tensors, metadata = files.read(path)
        for key in ("config", "settings", "history"):
            if key not in metadata:
                raise TrainingError(f"{path}: not a training checkpoint: it has no '{key}'")
        _same(path, "network", self.net.config, metadata["config"])
        _same(path, "setting", self.settings, metadata["settings"])
        files.load_weights(self.net, files.without_prefix("model", tensors), str(path))
        files.load_weights(self.auxiliary, files.without_prefix("rule", tensors), str(path))
        files.load_optimizer(self.optimizer, files.without_prefix("optimizer", tensors))
        self.best = files.without_prefix("best", tensors)
        self.generator.set_state(tensors["generator"])
        self.history = History.from_json(metadata["history"])


def _same(path: Path, what: str, expected: dict[str, Any], got: dict[str, Any]) -> None:
    for key in sorted(expected.keys() | got.keys()):
        if expected.get(key) != got.get(key):
            raise TrainingError(
                f"{path}: checkpoint of another training: {what} '{key}' expected {expected.get(key)!r}, "
                f"got {got.get(key)!r}; use another checkpoint, or leave out --resume"
            )
