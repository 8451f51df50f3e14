"""A training run: its configuration (TOML), and the folder that holds what came out of it.

RUN/config.toml         RunConfig
RUN/model.safetensors   weights; the network's configuration and the normalization in the metadata
RUN/history.json        loss and validation accuracy of each epoch
RUN/checkpoint.safetensors   training state, from which an interrupted run goes on
"""

import json
import math
import tomllib
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tomli_w
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from edgesnn import checkpoint as files
from edgesnn import data as datasets
from edgesnn import folders, models, rules
from edgesnn.data import Dataset
from edgesnn.errors import ConfigError, EdgesnnError, TrainingError
from edgesnn.models import Network
from edgesnn.run_folder import CHECKPOINT, CONFIG, EARLIER, HISTORY, LOGS, MODEL, replaced, settle
from edgesnn.training import History, fit
from edgesnn.training.processes import Processes
from edgesnn.training.settings import SEEDS
from edgesnn.training.structure import difference, structure

#: Leak of the readout by default. A stream never ends: what is decided must be forgotten, and 0.93 was chosen for the
#: watch stream by cross-validation. An image is one window of a few steps, all of which count.
STREAM_LEAK, IMAGE_LEAK = 0.93, 1.0


#: Argument of a constructor -> where a configuration has it instead of among the options.
_ELSEWHERE = {
    "model": "'kind' of [model]",
    "neuron": "'neuron' of [model]",
    "weights": "'weights' of [model]",
    "leak": "'leak' of [model]",
    "seed": "'seed' of the configuration",
    "classes": "the data",
    "inputs": "the data",
    "input_shape": "the data",
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelConfig(_Section):
    """What a constructor of `edgesnn.models` is called with; input shape and classes come from the data."""

    kind: str  # its name
    sizes: list[int] | None = None  # of an mlp's hidden layers or a convnet's channels
    options: dict[str, Any] = Field(default_factory=dict)  # its other arguments, such as block or width
    neuron: dict[str, Any] = Field(default_factory=lambda: {"kind": "empf"})
    weights: Literal["binary", "float"] = "binary"
    leak: float | None = Field(None, ge=0, le=1)  # of the readout; None: by the data, STREAM_LEAK or IMAGE_LEAK

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in models.CONSTRUCTORS:
            names = ", ".join(sorted(models.CONSTRUCTORS))
            raise PydanticCustomError("model", "expected one of {names}", {"names": names})
        return kind


class StreamConfig(_Section):
    """How a CSV file is read: rows a second (None: not known), and rows of a frame and between frames."""

    rate_hz: float | None = Field(None, gt=0, allow_inf_nan=False)
    frame: int = Field(16, ge=1)
    hop: int = Field(4, ge=1)


class NormalizationConfig(_Section):
    """What takes the place of the data's own mean and standard deviation: one number, or one for each channel."""

    mean: list[float] = Field(min_length=1)
    std: list[float] = Field(min_length=1)

    @field_validator("std")
    @classmethod
    def _positive(cls, std: list[float]) -> list[float]:
        if not all(0 < value < math.inf for value in std):
            raise PydanticCustomError("std", "expected numbers above 0")
        return std


class RunConfig(_Section):
    """Everything that decides the numbers of a run."""

    data: str  # a name, or the absolute path of a CSV or .npz file or of a folder of events
    stream: StreamConfig | None = None  # of a CSV file
    normalization: NormalizationConfig | None = None  # None: by mean and deviation of the training split
    model: ModelConfig
    rule: dict[str, Any] = Field(default_factory=lambda: {"kind": "sltt"})
    epochs: int = Field(10, ge=1)
    lr: float = Field(5e-3, gt=0, allow_inf_nan=False)
    batch_size: int = Field(64, ge=2)
    steps: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=SEEDS.start, lt=SEEDS.stop)
    patience: int | None = Field(None, ge=1)
    optimizer: dict[str, Any] | None = None  # see edgesnn.optimizers; None: Adam
    accumulate: int = Field(1, ge=1)  # parts that a batch is run in
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False  # torch.compile the step that makes a gradient
    tensorboard: bool = False  # logs in RUN/tensorboard
    merge_validation: bool = False  # train on the validation split too: settings are already chosen
    quantization: dict[str, Any] | None = None


@dataclass(frozen=True)
class Run:
    """A trained network with what it was trained on and how."""

    net: Network
    data: Dataset
    config: RunConfig
    history: History


def preset(name: str) -> RunConfig:
    """A tuned configuration by name: "watch-empf", "watch-sltt", "mnist-empf" (edgesnn/presets/NAME.toml)."""
    folder = resources.files("edgesnn") / "presets"
    names = sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    if name not in names:
        raise ConfigError(f"preset: expected {', '.join(names)} or a file that ends in .toml, got '{name}'; choose one")
    return parse_config((folder / f"{name}.toml").read_text(encoding="utf-8"), f"preset {name}")


def read_config(path: Path) -> RunConfig:
    """A configuration from a TOML file; ConfigError names the file, the key and what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected TOML in UTF-8, got other bytes") from None
    return parse_config(text, str(path))


def read_run_config(folder: Path) -> RunConfig:
    """The configuration of a run folder."""
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"{folder}: expected a run folder written by edgesnn train, found no {CONFIG} there")
    return read_config(folder / CONFIG)


def parse_config(text: str, place: str) -> RunConfig:
    """`read_config` from text; `place` names it in errors."""
    try:
        return validated(tomllib.loads(text), place)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{place}: not valid TOML: {error}") from None


def validated(values: dict[str, Any], place: str) -> RunConfig:
    """A configuration from its values; ConfigError names the place and the first key that is wrong."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{place}: '{key}': {first['msg']}, got {first['input']!r}") from None


def write_config(path: Path, config: RunConfig) -> None:
    folders.write_text(path, tomli_w.dumps(config.model_dump(exclude_none=True)))


def build_network(config: RunConfig, data: Dataset) -> Network:
    """The untrained network of a configuration, with the input and the classes of the data."""
    model = config.model
    arguments = dict(model.options)
    sizes = "hidden" if model.kind == "mlp" else "channels"
    elsewhere = _ELSEWHERE if model.sizes is None else {**_ELSEWHERE, sizes: "'sizes' of [model]"}
    for key in sorted(arguments.keys() & elsewhere.keys()):
        raise ConfigError(f"model.options: '{key}' is not read here but from {elsewhere[key]}; take it out")
    if model.sizes is not None:
        arguments[sizes] = model.sizes
    if models.takes_images(model.kind):
        arguments["input_shape"] = list(data.input_shape)
    else:
        arguments["inputs"] = math.prod(data.input_shape)
    leak = model.leak
    if leak is None:
        leak = IMAGE_LEAK if data.frame is None else STREAM_LEAK
    common = {"classes": len(data.classes), "neuron": model.neuron, "weights": model.weights}
    return models.build({**arguments, **common, "model": model.kind, "seed": config.seed, "leak": leak})


def load_data(config: RunConfig) -> Dataset:
    """The data of a configuration, with its time steps; ConfigError for a [stream] of data that is not a CSV file."""
    stream = config.stream
    if stream is None:
        data = datasets.load(config.data)
    elif Path(config.data).suffix == ".csv":
        data = datasets.from_csv(Path(config.data), stream.frame, stream.hop, stream.rate_hz)
    else:
        raise ConfigError(
            f"stream: rate, frame and hop are those of a CSV file, got data '{config.data}'; leave them out"
        )
    data = data.merged() if config.merge_validation else data
    data = data if config.steps is None else replace(data, steps=config.steps)
    return data if config.normalization is None else _normalized(data, config.normalization)


def _normalized(data: Dataset, normalization: NormalizationConfig) -> Dataset:
    channels = len(data.mean)
    for key, values in (("mean", normalization.mean), ("std", normalization.std)):
        if len(values) not in (1, channels):
            raise ConfigError(
                f"normalization: expected one {key} or {channels}, one for each channel of '{data.name}', got "
                f"{len(values)}; give one"
            )
    mean, std = (
        np.broadcast_to(values, channels).astype(np.float64) for values in (normalization.mean, normalization.std)
    )
    return replace(data, mean=mean, std=std)


def train(config: RunConfig, out: str | Path, resume: bool = False, progress: bool = True) -> Run:
    """Trains as configured and writes the run folder; with `resume`, goes on from the folder's checkpoint. Under
    torchrun the first process writes it.

    Refused settings and a refused checkpoint leave the folder as it was. A training from the start takes the place of
    an earlier one with its first checkpoint, and an interrupted run never holds another one's weights.
    """
    config = config.model_copy(update={"data": datasets.absolute(config.data)})  # for use from another folder
    data = load_data(config)
    net = build_network(config, data)
    rule = rules.build(config.rule)
    folder = folders.make(out)
    first = Processes.of_this_run().first
    over = first and not resume
    with replaced(folder) if over else nullcontext():
        if over:
            write_config(folder / CONFIG, config)
        history = fit(
            net,
            data,
            rule,
            epochs=config.epochs,
            lr=config.lr,
            batch_size=config.batch_size,
            seed=config.seed,
            checkpoint=folder / CHECKPOINT,
            resume=resume,
            patience=config.patience,
            progress=progress,
            optimizer=config.optimizer,
            accumulate=config.accumulate,
            precision=config.precision,
            compile=config.compile,
            logdir=folder / LOGS if config.tensorboard else None,
        )
    run = Run(net, data, config, history)
    if first:
        _write(run, folder)
        settle(folder)  # where what is finished here was killed on its way
    return run


def save_run(run: Run, folder: str | Path) -> None:
    """Writes the folder of a run that is finished. One of an earlier run is replaced, its checkpoint included, when all
    files are written. ConfigError for a network that `load_run` would not make again.
    """
    folder = folders.make(folder)
    _check_made_again(run.net, folder)
    with replaced(folder):
        _write(run, folder)


def _check_made_again(net: Network, folder: Path) -> None:
    """ConfigError for a network that its config does not describe, such as one whose neurons were exchanged."""
    try:
        with torch.random.fork_rng(devices=[]):
            again = _build(net.config)
        files.load_weights(again, net.state_dict(), "weights")
        found = difference(structure(net), structure(again))
        reason = "{} is {!r}, made again {!r}".format(*found) if found else None
    except EdgesnnError as error:
        reason = str(error)
    if reason:
        raise ConfigError(
            f"{folder}: expected a network that its config makes again, got another one: {reason}; build it by a "
            "constructor of edgesnn.models, or keep its state_dict() in a file of your own"
        )


def _write(run: Run, folder: Path) -> None:
    """Writes config.toml, history.json and, last, model.safetensors, with which a run is finished."""
    write_config(folder / CONFIG, run.config)
    metadata = {
        "config": run.net.config,
        "mean": run.data.mean.tolist(),
        "std": run.data.std.tolist(),
        "classes": list(run.data.classes),
    }
    folders.write_text(folder / HISTORY, json.dumps(run.history.to_json(), indent=1) + "\n")
    files.write(folder / MODEL, run.net.state_dict(), metadata)


def _build(config: dict[str, Any]) -> Network:
    """A float or, after `edgesnn quantize`, a quantized network; Brevitas is imported only for the latter."""
    if "quantization" not in config:
        return models.build(config)
    from edgesnn.quant import rebuild

    return rebuild(config)


def load_run(folder: str | Path) -> Run:
    """The run that `train` or `edgesnn quantize` wrote; ConfigError or TrainingError for a folder that is not one."""
    folder = Path(folder)
    config = read_run_config(folder)
    if not (folder / MODEL).is_file() and (folder / CHECKPOINT).is_file():
        raise TrainingError(
            f"{folder}: expected a finished run, got one that was interrupted; run `edgesnn train --resume -o {folder}`"
        )
    if not (folder / MODEL).is_file() and (folder / EARLIER).is_dir():
        raise TrainingError(
            f"{folder}: expected a finished run, got one killed before its first checkpoint; write it again, or "
            f"take the run of before from {folder / EARLIER}"
        )
    data = load_data(config)
    tensors, metadata = files.read(folder / MODEL)
    net = _build(metadata["config"])
    files.load_weights(net, tensors, str(folder / MODEL))
    net.eval()
    try:
        history = History.from_json(json.loads((folder / HISTORY).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        again = "train the run again"
        if (folder / CHECKPOINT).is_file():
            again = f"run `edgesnn train --resume -o {folder}`"
        raise ConfigError(f"{folder / HISTORY}: missing or damaged; {again}") from None
    return Run(net, data, config, history)
