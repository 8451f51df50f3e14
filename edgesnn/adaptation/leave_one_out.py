"""Leave one person out: a network for each of the ten people of `watch`, trained on the nine others.

The settings of the training are chosen for each person anew, by two of the nine others as validation people, so that
nobody who is tested has a say in how the network that meets him was made.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgesnn import checkpoint, data, rules, runs
from edgesnn.data import Dataset, Recording
from edgesnn.data.dataset import row_statistics
from edgesnn.errors import DataError
from edgesnn.evaluation import evaluate
from edgesnn.quant import QuantizedNetwork, quantize, rebuild
from edgesnn.training import fit

PRESET = "watch-empf"
PEOPLE, ARMS = tuple(range(1, 11)), ("right", "left")
#: What is chosen by validation, for each person.
CANDIDATES: tuple[dict[str, Any], ...] = ({"epochs": 20}, {"epochs": 40})


def without(person: int, seed: int, folder: Path) -> tuple[QuantizedNetwork, Dataset]:
    """The network that never saw `person`, and the data set whose test split is that person."""
    split = data.watch(test=(person,), validation=())
    settings = chosen(person, folder)
    return trained(split, settings, seed, folder / f"person{person}-seed{seed}.safetensors"), split


def without_arm(arm: str, seed: int, folder: Path) -> tuple[QuantizedNetwork, Dataset]:
    """The network of everybody's other arm, and the data set whose test split is `arm`; the preset's settings."""
    everybody = data.watch(test=(), validation=())
    train, test = _by_arm(everybody, arm)
    mean, std = row_statistics(train)
    split = replace(everybody, train=train, test=test, mean=mean, std=std)
    return trained(split, {}, seed, folder / f"{arm}-seed{seed}.safetensors"), split


def chosen(person: int, folder: Path) -> dict[str, Any]:
    """The candidate that is best on two other people, of networks trained on the remaining seven."""
    validation = [(person - 1 + step) % len(PEOPLE) + 1 for step in (3, 7)]
    split = data.watch(test=(person, *validation), validation=())
    judged = replace(split, test=tuple(r for r in _recordings(split.test) if r.person in validation))
    accuracies = []
    for number, settings in enumerate(CANDIDATES):
        net = trained(judged, settings, 0, folder / f"choice{person}-{number}.safetensors")
        accuracies.append(evaluate(net, judged, "test", continuous=True).accuracy)
    return CANDIDATES[accuracies.index(max(accuracies))]


def trained(split: Dataset, settings: dict[str, Any], seed: int, path: Path) -> QuantizedNetwork:
    """The quantized network of a training split, from `path` if it is there, else trained and written there."""
    if not path.is_file():
        config = runs.preset(PRESET).model_copy(update={**settings, "seed": seed})
        net, rule = runs.build_network(config, split), rules.build(config.rule)
        numbers = config.model_dump(include={"epochs", "lr", "batch_size", "steps", "seed"})
        fit(net, split, rule, **numbers, progress=False)
        qnet = quantize(net, **{"calibrate": split, "rule": rule, "seed": seed, **(config.quantization or {})})
        checkpoint.write(path, qnet.state_dict(), {"config": qnet.config})
    tensors, metadata = checkpoint.read(path)
    net = rebuild(metadata["config"])
    checkpoint.load_weights(net, tensors, str(path))
    return net.eval()


def _by_arm(everybody: Dataset, arm: str) -> tuple[tuple[Recording, ...], tuple[Recording, ...]]:
    recordings = _recordings(everybody.train)
    return tuple(r for r in recordings if r.arm != arm), tuple(r for r in recordings if r.arm == arm)


def _recordings(split: Any) -> tuple[Recording, ...]:
    if not isinstance(split, tuple):
        raise DataError("watch: expected recordings of streams, got images; leave-one-out is for streams")
    return split
