"""`export.onnx`: write the step, window and learning graphs of a quantized network, and its test vectors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, cast

import onnx as onnx_format

from edgesnn.errors import ExportError
from edgesnn.export.bounds import prove
from edgesnn.export.learning import Learner, LearnerSettings, add_learner
from edgesnn.export.lower import Lowered, lower
from edgesnn.export.vectors import write_vectors
from edgesnn.export.window import window as window_graph
from edgesnn.models import Network
from edgesnn.quant import QuantReadout, check_calibrated
from edgesnn.runtime.content import CONTENT_HASH
from edgesnn.runtime.model import FORMAT, LearnSpec, Model

#: Names of files that stand beside NAME.c and NAME.h in a C package.
_RESERVED = ("main", "esnn")
_DEFAULTS = LearnerSettings()
#: The window of any number of steps.
DYNAMIC = "dynamic"
_STEP = "One time step: input and states -> decision values and new states."


def onnx(
    qnet: Network,
    directory: str | Path,
    window: int | Literal["dynamic"] | None = None,
    learn: str | None = None,
    *,
    constant_input: bool = False,
    name: str | None = None,
    rule: str = "",
    learning_rate: float | None = None,
    seed: int = _DEFAULTS.seed,
    prior: int | None = None,
) -> Model:
    """Write `step.onnx`, `window.onnx`, `learn.onnx` (with `learn`) and `vectors.json` into a folder.

    Args:
        qnet: a calibrated network from `edgesnn.quantize`.
        directory: created if missing; graphs in it are replaced.
        window: time steps of the parallel-time-step graph (default: those it was quantized with), or `dynamic`:
            any number.
        learn: what the device may learn: None, `means` (class means behind a guard), or by gradient descent `readout`,
            `readout+thresholds`, `last:N` (hidden layers) or `all`.
        constant_input: the window takes one frame that stands still for all its steps, as images do; what only reads
            the frame is computed once.
        name: identifier of the model in generated C (default: the data's name).
        rule: the rule it was trained with, recorded in the metadata.
        learning_rate: of the real-valued weights; for the readout rounded to a power of two in integer units. None:
            3e-4, or the nearest to it that the readout's integers can follow.
        seed: of the stochastic rounding on the device.
        prior: labels that a class mean of the factory is worth, a power of two (default: 128);
            `adaptation.prior.choose_prior` asks the training people.

    Returns:
        The exported folder.

    Raises:
        QuantizationError: the network is not quantized or not calibrated.
        ExportError: a layer without an integer form, or an integer that could overflow.
    """
    check_calibrated(qnet)
    steps = window if isinstance(window, int) else qnet.config["data"]["steps"]
    if window not in (None, DYNAMIC, steps):
        raise ExportError(f"window: expected a number of time steps or '{DYNAMIC}', got {window!r}; choose one")
    if steps < 1:
        raise ExportError(f"window: expected at least 1 time step, got {steps}; choose 1 or more")
    if constant_input and qnet.config["data"]["frame"] is not None:
        raise ExportError(
            "constant_input: expected images, which may stand still, got frames of a stream; leave it out"
        )
    if prior is not None and learn != "means":
        raise ExportError(f"prior: expected it with learn='means', got learn={learn!r}; leave it out")
    settings = LearnerSettings(learning_rate, seed, _DEFAULTS.prior if prior is None else prior)
    lowered, learner = _nodes(qnet, learn, steps)
    learning = learner.step(settings) if learner else None
    name = _identifier(qnet.config["data"]["name"]) if name is None else name
    metadata = _metadata(qnet, lowered, name, rule, steps, learning.spec if learning else None)
    step = lowered.builder.build("step", metadata, _STEP)
    prove(step)
    sealed = {entry.key: entry.value for entry in step.metadata_props}
    graphs = {"step": step, "window": window_graph(step, None if window == DYNAMIC else steps, held=constant_input)}
    if learning is not None:
        graphs["learn"] = learning.graph(sealed)

    out = Path(directory)
    out.mkdir(parents=True, exist_ok=True)
    (out / "learn.onnx").unlink(missing_ok=True)
    for graph, proto in graphs.items():
        onnx_format.save_model(proto, out / f"{graph}.onnx")
    model = Model.load(out)
    write_vectors(model)
    return model


def learner_of(qnet: Network, model: Model) -> Learner:
    """The learner of a model that was exported from this network.

    Raises:
        ExportError: it does not learn; or as `check_origin`.
    """
    learner = _exported_again(qnet, model)
    if learner is None:
        raise ExportError(f"{model.path}: expected a model that learns, got one that does not; export it with learn=")
    return learner


def check_origin(qnet: Network, model: Model) -> None:
    """That a model was exported from this network: made once more, it has the same integers.

    Raises:
        QuantizationError: the network is not quantized or not calibrated.
        ExportError: the model was not exported from this network, or not by this version.
    """
    _exported_again(qnet, model)


def _exported_again(qnet: Network, model: Model) -> Learner | None:
    """What a model learns with, made from the network that it was exported from; checks that it was."""
    check_calibrated(qnet)
    lowered, learner = _nodes(qnet, model.learn.scope if model.learn else None, model.time_steps)
    step = lowered.builder.build("step", model.metadata, _STEP)
    found = {entry.key: entry.value for entry in step.metadata_props}[CONTENT_HASH]
    if found != model.source_hash:
        raise ExportError(
            f"{model.path}: expected a model exported from this network, {found[:16]}, got "
            f"{model.source_hash[:16]}; name the run it was exported from, and use the edgesnn that did it"
        )
    return learner


def _nodes(qnet: Network, learn: str | None, steps: int) -> tuple[Lowered, Learner | None]:
    """The step graph's nodes, those of the learner included."""
    lowered, readout = lower(qnet, learn), cast(QuantReadout, qnet.readout)
    return lowered, add_learner(learn, lowered, readout, steps) if learn else None


def _identifier(name: str) -> str:
    """A C identifier from a data name."""
    cleaned = re.sub(r"\W+", "_", Path(name).stem, flags=re.ASCII).strip("_").lower()
    return cleaned if cleaned and not cleaned[0].isdigit() else f"model_{cleaned}"


def _flattened(data: dict[str, Any], key: str, values: int) -> list[float]:
    """Mean or spread of each channel; of each value where images of several channels enter a network as one row."""
    channels: list[float] = data[key]
    if data["frame"] is not None or len(channels) in (1, values):
        return channels
    return [number for number in channels for _ in range(values // len(channels))]


def _metadata(
    qnet: Network, lowered: Lowered, name: str, rule: str, steps: int, spec: LearnSpec | None
) -> dict[str, str]:
    if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is None or name in _RESERVED:
        raise ExportError(
            f"name: expected a C identifier other than {', '.join(_RESERVED)}, got {name!r}; use letters, "
            "digits and underscores"
        )
    data = qnet.config["data"]
    entry = {
        "shape": list(lowered.input.shape),
        "dtype": "int8" if lowered.input.low < 0 else "uint8",
        "scale": lowered.input.unit,
        "zero_point": 0,
        **{key: _flattened(data, key, lowered.input.shape[0]) for key in ("mean", "std")},
    }
    values = {
        "format": FORMAT,
        "name": name,
        "rule": rule,
        "time_steps": str(steps),
        "input": json.dumps(entry),
        "frame": json.dumps(data["frame"]),
        "rate_hz": str(data["rate_hz"] or 0),
        "classes": json.dumps(data["classes"]),
        "channels": json.dumps(data["channels"]),
        "tensors": json.dumps(lowered.builder.tensors),
        "learn": json.dumps(spec.to_json() if spec else None),
    }
    return {f"edgesnn.{key}": value for key, value in values.items()}
