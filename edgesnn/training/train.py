"""`fit`: trains a network with a rule on a data set."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from edgesnn import checkpoint as files
from edgesnn import optimizers
from edgesnn.data import Dataset
from edgesnn.errors import ConfigError
from edgesnn.models import Network
from edgesnn.rules import SLTT, Rule
from edgesnn.training.batch import channels_last
from edgesnn.training.history import History, TensorBoard
from edgesnn.training.loop import Loop
from edgesnn.training.processes import Processes
from edgesnn.training.settings import Settings

#: Matrices below this many weights are multiplied faster by one thread than by several that wait for each other
#: (batches of 64; 512 x 512 is below: 75 ms by one thread, 370 ms by two on busy cores).
THREADED_WEIGHTS = 2**19


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
    accumulate: int = 1,
    precision: str = "float32",
    compile: bool | str = False,  # noqa: A002  (torch's name for it)
    logdir: str | Path | None = None,
) -> History:
    """Trains `net` in place and in training mode, on the device it is on, with a cosine learning rate over the epochs.

    Args:
        net: the network.
        data: its training split is shuffled into batches; its validation split is measured after each epoch.
        rule: learning rule (None: SLTT).
        epochs: passes over the training split.
        lr: learning rate of the first epoch.
        batch_size: samples of an update, of all processes and parts together.
        steps: time steps of a training window (None: the data set's).
        seed: of the order of the data and the draws of the rule.
        checkpoint: a file written after each epoch.
        resume: go on from `checkpoint`, to the numbers an uninterrupted run would have given.
        patience: stop after this many epochs without a better validation accuracy, and keep the best weights; None
            trains all epochs and keeps the last.
        progress: show a progress bar.
        optimizer: see `edgesnn.optimizers` (None: Adam).
        accumulate: parts that a batch is run in, one after another, for less memory; the gradient is that of the whole
            batch, where no batch norm sees the parts.
        precision: "bfloat16" multiplies in it; see `edgesnn.training.precision`. Steps without gradient do so only
            where no neuron is LIF, whose spikes would flip.
        compile: torch.compile the step that makes a gradient (a string: with this backend). Seldom worth it on a CPU.
        logdir: folder for TensorBoard logs (package edgesnn[tensorboard]).

    Under torchrun every process trains on its share of each batch; see `edgesnn.training.processes`. Networks of small
    matrices train on one thread, convolutions on a CPU with channels last in memory.

    Raises:
        ConfigError: settings that make no sense, and files that cannot be written, also later, on a full disk.
        TrainingError: data or a loss that is not finite, labels or time steps that do not fit (the checkpoint stays
            that of the last whole epoch), and a checkpoint of another network, other data or other settings.
    """
    steps = data.steps if steps is None else steps
    rule = SLTT() if rule is None else rule
    _check_rule(rule, compile)
    settings = Settings(
        epochs, lr, batch_size, steps, seed, patience, optimizer or optimizers.ADAM, accumulate, precision
    )
    if patience is not None and not len(data.validation):
        raise ConfigError("fit: patience needs a validation split, and this data has none; leave patience out")
    processes = Processes.of_this_run(next(net.parameters()).device)
    processes.check_equal(net)
    loop = Loop(net, data, rule, settings, processes)
    if resume:
        if checkpoint is None:
            raise ConfigError("fit: resume needs the checkpoint to go on from; pass checkpoint=")
        loop.load(Path(checkpoint))
    if checkpoint is not None and processes.first:
        files.target(checkpoint)
    board = TensorBoard(logdir if processes.first else None, len(loop.history.epochs))
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    shown = progress and processes.first
    with _threads(net), _layout(net), _compiled(net, compile):
        with Progress(*columns, TimeRemainingColumn(), disable=not shown) as bar:
            task = bar.add_task("training", total=settings.epochs, completed=len(loop.history.epochs))
            while not loop.finished:
                epoch = loop.run_epoch()
                accuracy = "" if epoch.validation is None else f", validation {epoch.validation:.3f}"
                bar.update(task, advance=1, description=f"training: loss {epoch.loss:.3f}{accuracy}")
                board.write(len(loop.history.epochs), epoch)
                if checkpoint is not None and processes.first:
                    loop.save(Path(checkpoint))
        loop.keep_best()
    board.close()
    return loop.history


def _check_rule(rule: Any, how: Any) -> None:
    """That the rule is one, and that there is a step which `compile` may compile, with a backend of torch."""
    if not isinstance(rule, Rule):
        raise ConfigError(f"fit: expected a rule such as edgesnn.rules.SLTT(), got {rule!r}; see edgesnn.rules")
    if how is False:
        return
    if not rule.steps_network:
        raise ConfigError(
            f"fit: expected no compile for {type(rule).__name__}, which does not run the network's own step, got "
            f"compile={how!r}; leave it out"
        )
    backends = torch.compiler.list_backends(exclude_tags=())
    if how is not True and how not in backends:
        raise ConfigError(f"fit: expected compile to be True, False or one of {backends}, got {how!r}; choose one")


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


@contextmanager
def _layout(net: Network) -> Iterator[None]:
    """Weights with channels last while convolutions train on a CPU."""
    if not channels_last(net):
        yield
        return
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        yield
    finally:
        net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


@contextmanager
def _compiled(net: Network, how: bool | str) -> Iterator[None]:
    """`net.step` compiled; steps without gradient and evaluation do not use it."""
    if how is False:
        yield
        return
    compiled = torch.compile(net.step, backend="inductor" if how is True else how)
    net.step = compiled  # type: ignore[method-assign]
    try:
        yield
    finally:
        del net.step
