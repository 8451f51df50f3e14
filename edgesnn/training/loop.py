"""The state of one training: epochs, updates, and checkpoints from which it goes on to exactly the same numbers."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgesnn import checkpoint as files
from edgesnn import optimizers
from edgesnn.data import Dataset
from edgesnn.errors import ConfigError, TrainingError
from edgesnn.evaluation import check_split, evaluate, placed
from edgesnn.models import Network
from edgesnn.rules import Rule
from edgesnn.training import batch as batches
from edgesnn.training.fingerprint import fingerprint
from edgesnn.training.history import Epoch, History
from edgesnn.training.precision import multiplied_in
from edgesnn.training.processes import Processes
from edgesnn.training.settings import Settings, cosine
from edgesnn.training.structure import difference, structure


class Loop:
    """Everything that the next epoch depends on."""

    def __init__(self, net: Network, data: Dataset, rule: Rule, settings: Settings, processes: Processes) -> None:
        smallest = 2 * settings.accumulate * processes.count
        if settings.batch_size < smallest:
            raise ConfigError(
                f"fit: expected a batch_size of at least {smallest}, two samples for each part in every process, got "
                f"{settings.batch_size} for accumulate={settings.accumulate} and {processes.count} processes; "
                "use larger batches or fewer parts"
            )
        if settings.accumulate > 1 and rule.updates_within_window:
            raise ConfigError(
                f"fit: expected accumulate=1 for {type(rule).__name__}, which updates within a window, got "
                f"{settings.accumulate}; use smaller batches"
            )
        if len(data.validation):
            check_split(net, data, "validation")
        self.net, self.data, self.rule, self.settings, self.processes = net, data, rule, settings, processes
        self.identity = {
            "config": files.plain(net.config, "fit: config of the network"),
            "layers": structure(net),
            "settings": files.plain(self._described(), "fit: settings"),
        }
        self.boundless = {name for name, parameter in net.named_parameters() if parameter.isinf().any()}  # by design
        self.auxiliary = rule.prepare(net)
        self.parameters = [*net.parameters(), *self.auxiliary.parameters()]
        self.optimizer = optimizers.build(settings.optimizer, self.parameters, settings.lr)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.device = self.parameters[0].device
        self.history = History()
        self.best: files.Tensors = {}
        self.step = 0  # of the epoch, from 1
        self.samples = self.share = 0  # of the batch in work, and of this process's share of it

    @property
    def finished(self) -> bool:
        done, patience, best = len(self.history.epochs), self.settings.patience, self.history.best_epoch
        if done >= self.settings.epochs:
            return True
        return patience is not None and best is not None and done - 1 - best >= patience

    @property
    def place(self) -> str:
        return f"training: epoch {len(self.history.epochs) + 1}, step {self.step}"

    def run_epoch(self) -> Epoch:
        start = time.perf_counter()
        settings = self.settings
        lr = cosine(settings.lr, len(self.history.epochs), settings.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.net.train()
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        with self._draws_of_layers():
            for step, (x, y) in enumerate(
                self.data.training_batches(settings.steps, settings.batch_size, self.generator), start=1
            ):
                self.step = step
                batches.check(x, y, settings.steps, self.net.classes, self.place)
                if len(y) >= 2 * self.processes.count:  # batch statistics need two samples in every process
                    loss = self.learn(x, y)
                    losses.append(loss * (self.share * self.processes.count / self.samples))  # of all, on average
        for name, parameter in self.net.named_parameters():
            lost = parameter.isnan() if name in self.boundless else ~parameter.isfinite()
            if lost.any():
                raise TrainingError(
                    f"training: '{name}' has NaN or infinity after epoch {len(self.history.epochs) + 1}; "
                    f"lower lr (now {lr:g})"
                )
        if not losses:
            raise TrainingError(
                f"training: epoch {len(self.history.epochs) + 1}: expected a batch of two samples for each of "
                f"{self.processes.count} processes, got none; use more data, or fewer processes"
            )
        self.processes.average_buffers(self.net)
        validation = None
        if len(self.data.validation):
            validation = evaluate(self.net, self.data, "validation", steps=settings.steps).accuracy
        loss = self.processes.average(sum(losses) / len(losses))
        epoch = Epoch(loss, validation, lr, time.perf_counter() - start)
        self.history.epochs.append(epoch)
        self._remember(validation)
        return epoch

    @contextmanager
    def _draws_of_layers(self) -> Iterator[None]:
        """What layers draw by themselves (dropout) follows from the seed, the epoch and the process, so that a training
        that goes on draws as one that was not interrupted.
        """
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed((self.settings.seed << 32) + (len(self.history.epochs) << 8) + self.processes.rank)
            yield

    def learn(self, x: Tensor, y: Tensor) -> float:
        """One batch: this process's share of it, in `accumulate` parts. Returns the loss of the share."""
        self.samples = len(y)
        x, y = self.processes.share(x, y)
        self.share = len(y)
        with multiplied_in(self.net, self.settings.precision):
            if self.settings.accumulate == 1:
                return self.rule.learn(self.net, *self._laid_out(x, y), self.generator, self.update)
            return self._accumulated(x, y)

    def _accumulated(self, x: Tensor, y: Tensor) -> float:
        """The gradient of the mean over a batch from those over its parts, which all see the same draws."""
        loss, before, draws = 0.0, 1, self.generator.get_state()
        parts = min(self.settings.accumulate, len(y) // 2)  # an epoch's last batch is smaller; two samples a part
        for i in torch.arange(len(y)).tensor_split(parts):
            self.generator.set_state(draws)
            self._scale_gradients(before / len(i))
            loss += self.rule.backward(self.net, *self._laid_out(x[:, i], y[i]), self.generator) * len(i) / len(y)
            before = len(i)
        self._scale_gradients(before / len(y))
        self.update(loss)
        return loss

    def _scale_gradients(self, factor: float) -> None:
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad *= factor

    def _laid_out(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x = placed(x, self.net)
        return (batches.laid_out(x) if batches.channels_last(self.net) else x), y.to(self.device)

    def update(self, loss: float) -> None:
        """One step of the optimizer along the gradient that a rule has left; the next gradient starts at zero."""
        if not math.isfinite(loss):
            raise TrainingError(
                f"{self.place}: the loss is {loss}; lower lr (now {self.optimizer.param_groups[0]['lr']:g}); "
                "a checkpoint, if any, is that of the epoch before"
            )
        self.processes.average_gradients(self.parameters, self.share, self.samples)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _remember(self, validation: float | None) -> None:
        if self.settings.patience is None or validation is None:
            return
        best = self.history.best_epoch
        if best is None or validation > (self.history.epochs[best].validation or 0.0):
            self.history.best_epoch = len(self.history.epochs) - 1
            self.best = {name: tensor.clone() for name, tensor in self.net.state_dict().items()}

    def keep_best(self) -> None:
        if self.best:
            self.net.load_state_dict(self.best)

    def save(self, path: Path) -> None:
        tensors = {
            **files.with_prefix("model", self.net.state_dict()),
            **files.with_prefix("best", self.best),
            **files.with_prefix("rule", self.auxiliary.state_dict()),
            **files.with_prefix("optimizer", files.optimizer_tensors(self.optimizer)),
            "generator": self.generator.get_state(),
        }
        files.write(path, tensors, {**self.identity, "history": self.history.to_json()})

    def load(self, path: Path) -> None:
        if not path.is_file():
            raise TrainingError(f"{path}: expected a checkpoint to go on from, none found; leave out --resume")
        tensors, metadata = files.read(path)
        for key in (*self.identity, "history"):
            if key not in metadata:
                raise TrainingError(f"{path}: not a training checkpoint: it has no '{key}'")
        _same(path, "network", self.identity["config"], metadata["config"])
        if found := difference(self.identity["layers"], metadata["layers"]):
            raise _of_another(path, *found)
        _same(path, "setting", self.identity["settings"], metadata["settings"])
        files.load_weights(self.net, files.without_prefix("model", tensors), str(path))
        files.load_weights(self.auxiliary, files.without_prefix("rule", tensors), str(path))
        files.load_optimizer(self.optimizer, files.without_prefix("optimizer", tensors))
        self.best = files.without_prefix("best", tensors)
        self.generator.set_state(tensors["generator"])
        self.history = History.from_json(metadata["history"])

    def _described(self) -> dict[str, Any]:
        """What decides the numbers besides the network."""
        return {
            **fingerprint(self.data),
            "rule": self.rule.config(),
            **self.settings.to_json(),
            "processes": self.processes.count,
        }


def _same(path: Path, what: str, expected: dict[str, Any], got: dict[str, Any]) -> None:
    for key in sorted(expected.keys() | got.keys()):
        if expected.get(key) != got.get(key):
            raise _of_another(path, f"{what} '{key}'", expected.get(key), got.get(key))


def _of_another(path: Path, place: str, expected: Any, got: Any) -> TrainingError:
    return TrainingError(
        f"{path}: checkpoint of another training: {place} expected {expected!r}, got {got!r}; "
        "use another checkpoint, or leave out --resume"
    )
