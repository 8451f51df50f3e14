"""What integers cost: float network, Brevitas' fake quantization and the integer model, on the same test data."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from edgesnn.bench.cells import kept
from edgesnn.bench.registry import Measured, benchmark

if TYPE_CHECKING:
    from edgesnn.data import Dataset, Images
    from edgesnn.models import Network
    from edgesnn.runs import RunConfig

SEEDS = (0, 1, 2)
_PACKAGES = ("torch", "brevitas", "onnxruntime", "seglearn", "mlxtend")


@dataclass(frozen=True)
class Task:
    """A data set with one network shape and its training.

    The network of 1-bit weights trains for `epochs`, then for `tuned` epochs with 4-bit spikes and the quantization in
    the loop; the float network, of the same shape and neurons, for the sum of both. Settings are those of the presets,
    chosen on validation splits, which are merged into the training data here; test data chooses nothing.
    """

    data: str
    sizes: tuple[int, ...]
    k: int  # of SLTT
    steps: int
    epochs: int
    tuned: int
    lr: float
    tune_lr: float = 1e-3
    leak: float | None = None
    images: int | None = None  # training images that are used (None: all)
    folds: bool | None = None  # each seed is tested on other images, so that a small test split gives more samples


TASKS = (
    Task("watch", (128, 128), k=4, steps=16, epochs=40, tuned=5, lr=1e-2, leak=0.95),
    Task("mnist5k", (16, 32, 32), k=1, steps=4, epochs=16, tuned=4, lr=5e-3, leak=1.0, folds=True),
    Task("fashion", (16, 32, 64, 64), k=1, steps=4, epochs=1, tuned=5, lr=5e-3, tune_lr=1e-2, leak=1.0, images=30_000),
)


@benchmark(
    "quantization",
    "accuracy lost by integers, and by 1-bit weights with 4-bit spikes, three seeds (half an hour; resumes)",
    packages=_PACKAGES,
)
def quantization() -> Measured:
    """Points of the test split, means over the seeds; rows: every seed.

    `loss_integer` is Brevitas' fake-quantized network less the integer model exported from it; `loss_binary` the float
    network less that integer model. Finished cells are kept in `edgesnn/quantization` of the user's cache.
    """
    from edgesnn import cache

    return measure(cache.folder("quantization"), TASKS, SEEDS)


def _settings(task: Task, seed: int) -> dict[str, Any]:
    """What names a cell: the fields that are given, and the seed."""
    return {name: value for name, value in asdict(task).items() if value is not None} | {"seed": seed}


def measure(folder: Path, tasks: Sequence[Task], seeds: Sequence[int]) -> Measured:
    """Train and test every task and seed that `folder` does not have."""
    rows = [
        kept(folder, _settings(task, seed), lambda task=task, seed=seed: _cell(task, seed))  # type: ignore[misc]
        for seed in seeds
        for task in tasks
    ]
    table = [{"data": row["settings"]["data"], "seed": row["settings"]["seed"], **_results(row)} for row in rows]
    figures = {}
    for task in tasks:
        cells = [row for row in table if row["data"] == task.data]
        name = task.data.replace("-", "_")
        integer = [cell["brevitas"] - cell["integer"] for cell in cells]
        binary = [cell["float"] - cell["integer"] for cell in cells]
        figures[f"loss_integer_{name}"] = statistics.mean(integer)
        figures[f"loss_binary_{name}"] = statistics.mean(binary)
    return Measured(figures, table)


def _results(cell: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in cell.items() if key != "settings"}


def _cell(task: Task, seed: int) -> dict[str, Any]:
    """Percent of the test split: float network, fake-quantized network, integer model."""
    import edgesnn as es
    from edgesnn import export, rules
    from edgesnn.quant.integer import evaluate_integer

    start, to_onnx = time.process_time(), export.onnx  # what is missing for export is told before the training
    configs = {weights: _config(task, weights, seed) for weights in ("float", "binary")}
    data = _data(task, configs["float"])
    whole = _trained(configs["float"], data, task.epochs + task.tuned)
    signs = _trained(configs["binary"], data, task.epochs)
    qnet = es.quantize(
        signs, weights=1, spikes=4, calibrate=data, rule=rules.build(configs["binary"].rule), epochs=task.tuned,
        lr=task.tune_lr, steps=task.steps, seed=seed,
    )  # fmt: skip
    with TemporaryDirectory(prefix="edgesnn-") as folder:
        integer = evaluate_integer(to_onnx(qnet, folder), data, steps=task.steps)
    percents = {
        "float": es.evaluate(whole, data, steps=task.steps),
        "brevitas": es.evaluate(qnet, data, steps=task.steps),
        "integer": integer,
    }
    return {
        **{name: 100 * found.accuracy for name, found in percents.items()},
        "samples": integer.samples,
        "seconds": time.process_time() - start,
    }


def _config(task: Task, weights: str, seed: int) -> RunConfig:
    from edgesnn import runs

    kind = "mlp" if task.data == "watch" else "convnet"
    model = {"kind": kind, "sizes": task.sizes, "neuron": {"kind": "empf", "lam": 0.5}, "weights": weights}
    return runs.validated(
        {
            "data": task.data, "model": {**model, "leak": task.leak}, "rule": {"kind": "sltt", "k": task.k},
            "steps": task.steps, "lr": task.lr, "seed": seed, "merge_validation": True,
        },
        "bench quantization",
    )  # fmt: skip


def _data(task: Task, config: RunConfig) -> Dataset:
    from edgesnn import runs
    from edgesnn.data import Images
    from edgesnn.data.dataset import pixel_statistics

    data = runs.load_data(config)
    train, test = data.train, data.test
    if not (isinstance(train, Images) and isinstance(test, Images)):
        return data
    if task.folds:
        train, test = _fold(train, test, config.seed)
    used = Images(train.values[: task.images], train.labels[: task.images])
    mean, std = pixel_statistics(train)
    return replace(data, train=used, test=test, mean=mean, std=std)


def _fold(train: Images, test: Images, number: int) -> tuple[Images, Images]:
    """Training and test images of a fold. Fold 0 is as given; in fold n the test images change places with the n-th as
    many training images. Images that were for validation, the last of merged data, always train, so that no setting was
    chosen on a test image.
    """
    from edgesnn.data import Images

    if number == 0:
        return train, test
    there = slice((number - 1) * len(test), number * len(test))
    swapped = replace(train, values=train.values.copy(), labels=train.labels.copy())
    swapped.values[there], swapped.labels[there] = test.values, test.labels
    return swapped, Images(train.values[there], train.labels[there])


def _trained(config: RunConfig, data: Dataset, epochs: int) -> Network:
    from edgesnn import fit, rules, runs

    net = runs.build_network(config, data)
    fit(net, data, rules.build(config.rule), epochs=epochs, lr=config.lr, steps=config.steps, seed=config.seed,
        progress=False)  # fmt: skip
    return net
