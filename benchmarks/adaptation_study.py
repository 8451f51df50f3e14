"""Which learner helps a person the model never saw? Leave one person out, on the ten people of `watch`.

    python benchmarks/adaptation_study.py -o out/adaptation --seeds 0 1
    python benchmarks/adaptation_study.py -o out/adaptation --shift arm

For each person a quantized EM-PF network 96-128-128-7 is trained on the other nine (preset `watch-empf`; about a minute
each, kept in the folder given by -o). With `--shift arm` it is trained on one arm of everybody and meets each person's
other arm. The person's labels are known for the first 20 % of each recording, in stream order; decisions are scored on
the last 75 %, along one stream of all recordings without a reset. All learning comes before all scoring. A learner sees
what a device sees: integer spikes of the last hidden layer, one step at a time. What was found, and why, is in
docs/learning.md.

Shapes: S steps, C features (128 spikes), K classes.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adaptation_learners import EXAMPLES, LEARNERS, SETTINGS, TRACE_BITS, Factory, Float, Ints, Person, means

from edgesnn import checkpoint, data, rules, runs
from edgesnn.data import Dataset, Images, Recording, Split, frames
from edgesnn.data.dataset import row_statistics
from edgesnn.errors import DataError
from edgesnn.quant import QuantizedNetwork, quantize, rebuild
from edgesnn.training import fit

PEOPLE = range(1, 11)
LEARN_UNTIL, SCORE_FROM = 0.20, 0.25
LEAK = round(0.95 * 2**15)  # of the readout, for the fixed model and all learners: the last 20 steps, 1.6 s
WARM_UP = 12  # steps after a reset that are not learned from: the trace is still filling
BETWEEN, RIDGE = 0.3, 0.03  # shares of the scatter between recordings, and of the identity, in the metric


def streams_of(split: Split) -> tuple[Recording, ...]:
    if isinstance(split, Images):
        raise DataError("expected streams, got images")
    return split


def other_arm(trained: str) -> Dataset:
    """Training split: the arm `trained` of all people; test split: their other arm."""
    everybody = data.watch(test=(), validation=())
    train = tuple(recording for recording in streams_of(everybody.train) if recording.arm == trained)
    test = tuple(recording for recording in streams_of(everybody.train) if recording.arm != trained)
    mean, std = row_statistics(train)
    return replace(everybody, train=train, test=test, mean=mean, std=std)


def network(path: Path, split: Dataset, seed: int) -> QuantizedNetwork:
    """The quantized network of the training split, trained unless the file is there."""
    config = runs.preset("watch-empf").model_copy(update={"seed": seed})
    if not path.exists():
        print(f"training {path} ...", flush=True)
        net, rule = runs.build_network(config, split), rules.build(config.rule)
        settings = config.model_dump(include={"epochs", "lr", "batch_size", "steps", "seed"})
        fit(net, split, rule, **settings, progress=False)
        net = quantize(net, **{"calibrate": split, "rule": rule, **(config.quantization or {}), "seed": seed})
        checkpoint.write(path, net.state_dict(), {"config": net.config})
    tensors, metadata = checkpoint.read(path)
    net = rebuild(metadata["config"])
    checkpoint.load_weights(net, tensors, str(path))
    return net.eval()


def spikes(net: QuantizedNetwork, split: Dataset, recordings: list[Recording]) -> list[Ints]:
    """Integer spikes [S, C] of the last hidden layer, each recording from a reset."""
    inputs = [frames(split.normalize(recording.rows), split.stream_frame) for recording in recordings]
    x = np.zeros((max(map(len, inputs)), len(inputs), *net.input_shape), np.float32)
    for i, values in enumerate(inputs):
        x[: len(values), i] = values
    neuron = net.layers["neuron2"]
    found: list[Ints] = []
    hook = neuron.register_forward_hook(
        lambda _module, _inputs, output: found.append(np.rint(output[0].numpy() / neuron.scale).astype(np.int64))
    )
    with torch.no_grad():
        net(torch.from_numpy(x))
    hook.remove()
    every = np.stack(found)
    return [every[: len(values), i] for i, values in enumerate(inputs)]


def trace(streams: list[Ints]) -> list[Ints]:
    """Running means of spikes, each stream from zero: x' = ((LEAK*x + 2^14) >> 15) + s*gain."""
    gain = round((2**15 - LEAK) * 2**TRACE_BITS / 2**15)
    s = np.zeros((max(map(len, streams)), len(streams), streams[0].shape[1]), np.int64)
    for i, values in enumerate(streams):
        s[: len(values), i] = values
    x, result = np.zeros_like(s[0]), np.empty_like(s)
    for t, now in enumerate(s):
        x = ((LEAK * x + 2**14) >> 15) + now * gain
        result[t] = x
    return [result[: len(values), i] for i, values in enumerate(streams)]


def prepare(folder: Path, name: str, split: Dataset, number: int, seed: int) -> tuple[Factory, Person]:
    """Factory from the training split, and the person of this number from the test split."""
    net = network(folder / f"{name}s{seed}.safetensors", split, seed)
    own = [recording for recording in streams_of(split.test) if recording.person == number]
    streams = stored_spikes(folder / f"{name}s{seed}.npz", net, split)
    train = streams_of(split.train)
    traces = trace([s for recording, s in streams if recording in train])
    full: list[list[Ints]] = [[] for _ in split.classes]
    for recording, x in zip(train, traces, strict=True):
        full[recording.label].append(x[WARM_UP:])
    unit = 2**-TRACE_BITS * net.layers["neuron2"].scale
    readout: Any = net.readout  # torch types the methods of Brevitas' layers as tensors
    weight = readout.quant_weight().value.detach().numpy().astype(np.float64) * unit
    factory = Factory(weight, readout.bias.detach().numpy().astype(np.float64), *statistics(full))
    rows = np.concatenate([recording.rows[: int(LEARN_UNTIL * len(recording.rows))] for recording in own])
    turned = replace(split, mean=rows.mean(axis=0), std=rows.std(axis=0))
    mine = [s for recording, s in streams if recording in own]
    labelled = [x[WARM_UP : int(LEARN_UNTIL * len(x))] for x in trace(mine)]
    scored = np.concatenate([np.arange(len(s)) >= int(SCORE_FROM * len(s)) for s in mine])
    labels = np.repeat([recording.label for recording in own], [len(s) for s in mine])[scored]
    endless, renormalized = (trace([np.concatenate(s)])[0][scored] for s in (mine, spikes(net, turned, own)))
    return factory, Person([(x, r.label) for x, r in zip(labelled, own, strict=True)], endless, labels, renormalized)


def stored_spikes(path: Path, net: QuantizedNetwork, split: Dataset) -> list[tuple[Recording, Ints]]:
    """Each recording of both splits with its spikes, computed unless the file is there."""
    recordings = [*streams_of(split.train), *streams_of(split.test)]
    if not path.exists():
        streams = spikes(net, split, recordings)
        np.savez_compressed(path, lengths=[len(s) for s in streams], spikes=np.concatenate(streams).astype(np.uint8))
    stored = np.load(path)
    streams = np.split(stored["spikes"].astype(np.int64), np.cumsum(stored["lengths"])[:-1])
    return list(zip(recordings, streams, strict=True))


def statistics(full: list[list[Ints]]) -> tuple[Float, list[Float], Float]:
    """Metric, means of recordings by class, and examples, from the training recordings' traces by class."""
    recordings = [np.stack([x.mean(axis=0) for x in group]) for group in full]
    within = np.mean([np.cov(x.T, bias=True) for group in full for x in group], axis=0)
    between = np.mean([np.cov(rows.T, bias=True) for rows in recordings], axis=0)
    scatter = within + BETWEEN * between
    scatter += RIDGE * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    random = np.random.default_rng(0)
    pools = [np.concatenate(group) for group in full]
    return (
        np.linalg.inv(scatter),
        recordings,
        np.stack([pool[random.integers(len(pool), size=EXAMPLES)] for pool in pools]),
    )


def nested(accuracy: Float) -> Ints:
    """For each person, the setting that is best on the mean of the others: accuracy [settings, seeds, people]."""
    mean = accuracy.mean(axis=1)
    return np.array([np.delete(mean, i, axis=1).mean(axis=1).argmax() for i in range(mean.shape[1])])


def main() -> None:
    parser = argparse.ArgumentParser(description="Learners on unseen people of the watch data; see docs/learning.md.")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder that keeps trained networks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--shift", choices=["person", "arm"], default="person")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    learners = LEARNERS | {f"{count} {prior}": means(count, prior) for count, prior in SETTINGS}
    arms = [None] if arguments.shift == "person" else ["right", "left"]
    repeats = [(seed, arm) for seed in arguments.seeds for arm in arms]
    accuracy = np.zeros((len(learners), len(repeats), len(PEOPLE)))
    for j, (seed, arm) in enumerate(repeats):
        for k, number in enumerate(PEOPLE):
            split = other_arm(arm) if arm else data.watch(test=(number,), validation=())
            factory, person = prepare(arguments.out, arm or f"p{number}", split, number, seed)
            for i, learner in enumerate(learners.values()):
                accuracy[i, j, k] = (learner(factory, person) == person.labels).mean()
    grid = accuracy[len(LEARNERS) :]
    chosen = nested(grid)
    rows = dict(zip(LEARNERS, accuracy[: len(LEARNERS)], strict=True))
    rows["means by nested choice"] = np.stack([grid[chosen[k], :, k] for k in range(len(PEOPLE))], axis=1)
    print(f"{'person':34s}" + "".join(f"{p:6d}" for p in PEOPLE) + "   mean | over fixed    | over nothing learned")
    delivered = rows["two means, nothing learned"]
    for name, values in rows.items():
        figures = "".join(f"{value:6.3f}" for value in values.mean(axis=0))
        gains = [f"{change.mean():+.4f} {change.min():+.3f}" for change in (values - rows["fixed"], values - delivered)]
        print(f"{name:34s}{figures} {values.mean():6.4f} | {' | '.join(gains)}")
    print("nested choice (means a class, prior) by person:", [SETTINGS[i] for i in chosen])


if __name__ == "__main__":
    main()
