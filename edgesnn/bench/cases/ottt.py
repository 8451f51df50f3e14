"""Table 2 of OTTT's supplement: BPTT, OTTT-A and OTTT-O train a recurrent network on Fashion-MNIST."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgesnn.bench.registry import Measured, benchmark

if TYPE_CHECKING:
    from edgesnn.data import Dataset
    from edgesnn.rules import Rule
    from edgesnn.training import Epoch, History

#: Supplement D.3. Weight decay is smaller for OTTT-O, which updates five times a batch.
HIDDEN, STEPS, EPOCHS, BATCH, LR, MOMENTUM, DROPOUT, MSE = 400, 5, 100, 128, 0.1, 0.9, 0.2, 0.05
WEIGHT_DECAY = {"bptt": 5e-4, "ottt_a": 5e-4, "ottt_o": 1e-4}
PAPER = {"bptt": 90.58, "ottt_a": 90.36, "ottt_o": 90.40}
SEEDS = (0, 1, 2)


@benchmark(
    "ottt-table2",
    "BPTT, OTTT-A and OTTT-O on Fashion-MNIST, 784-400R-10, 100 epochs, three seeds (hours; goes on where it was)",
    packages=("torch",),
)
def ottt_table2() -> Measured:
    """Percent of the 10,000 test images after the last epoch, mean and spread of the seeds; rows: every epoch.

    Trains in `edgesnn/ottt-table2` of the user's cache: one checkpoint a training, from which the next call goes on.
    """
    from edgesnn import cache

    folder = cache.folder("ottt-table2")
    data = paper_data()
    return published({(method, seed): train(method, data, folder, seed) for method in PAPER for seed in SEEDS})


def published(runs: dict[tuple[str, int], History]) -> Measured:
    """Figures and rows of finished trainings by method and seed."""
    rows = [
        {"method": method, "seed": seed, "epoch": number, "loss": epoch.loss, "test_percent": percent(epoch),
         "lr": epoch.lr, "seconds": epoch.seconds}
        for (method, seed), run in runs.items()
        for number, epoch in enumerate(run.epochs, start=1)
    ]  # fmt: skip
    figures: dict[str, float] = {}
    for method in PAPER:
        last = [percent(run.epochs[-1]) for (name, _), run in runs.items() if name == method]
        figures |= {method: statistics.mean(last), f"{method}_spread": statistics.stdev(last)}
    return Measured(figures, rows)


def percent(epoch: Epoch) -> float:
    return 100 * (epoch.validation or 0.0)


def paper_data() -> Dataset:
    """All 60,000 training images; the test images are watched after every epoch, and choose nothing."""
    from edgesnn import data

    fashion = data.fashion()
    return replace(fashion.merged(), validation=fashion.test)


def rule(method: str) -> Rule:
    from edgesnn import rules

    if method == "bptt":
        return rules.BPTT(mse=MSE)
    return rules.OTTT({"ottt_a": "accumulate", "ottt_o": "online"}[method], mse=MSE)


def train(method: str, data: Dataset, folder: Path, seed: int, hidden: int = HIDDEN, epochs: int = EPOCHS) -> History:
    """One training with the paper's settings, in FOLDER/METHOD-SEED.safetensors; goes on from there if it exists.

    The neuron is the paper's: leak 0.5, threshold 1, sigmoid surrogate of slope 4.
    """
    import math

    from edgesnn import fit, models, neurons

    checkpoint = folder / f"{method}-{seed}.safetensors"
    neuron = neurons.LIF(0.5, 1.0, "sigmoid")
    pixels = math.prod(data.input_shape)
    net = models.recurrent(pixels, hidden, len(data.classes), neuron, weights="float", dropout=DROPOUT, seed=seed)
    return fit(
        net,
        data,
        rule(method),
        epochs=epochs,
        lr=LR,
        batch_size=BATCH,
        steps=STEPS,
        checkpoint=checkpoint,
        resume=checkpoint.is_file(),
        progress=False,
        seed=seed,
        optimizer={"kind": "sgd", "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY[method]},
    )
