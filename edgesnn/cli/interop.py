"""`edgesnn import`: from another framework's network to a run that can be quantized and exported."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgesnn.cli.console import print_figures, print_line
from edgesnn.cli.training import STREAM_FLAGS
from edgesnn.errors import ConfigError

if TYPE_CHECKING:
    from edgesnn.models import Network


def import_network(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="NIR file that the framework wrote.")],
    convention: Annotated[
        str, typer.Option(metavar="NAME", help="Framework: snntorch, norse, sinabs, spikingjelly; or edgesnn.")
    ],
    data: Annotated[
        str, typer.Option(metavar="D", help="What it was trained on: as for train, to calibrate and to measure.")
    ],
    folder: Annotated[Path, typer.Option("-o", "--out", metavar="RUN", help="Run folder to write.")],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Where it differs from the framework's default, such as reset=zero."
        ),
    ] = None,
    leak: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="L", help="What the readout keeps each step; 1 if not given.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Time steps of a window; the data's if not given.")] = None,
    mean: Annotated[
        str | None, typer.Option(metavar="M,M", help="Subtracted from inputs; by the data if not given.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="S,S", help="Inputs are divided by it; by the data if not given.")
    ] = None,
    rate: Annotated[float | None, typer.Option(metavar="HZ", help="Rows a second of a CSV file.")] = None,
    frame: Annotated[int | None, typer.Option(min=1, metavar="ROWS", help="Rows of a frame of a CSV file.")] = None,
    hop: Annotated[int | None, typer.Option(min=1, metavar="ROWS", help="Rows from frame to frame.")] = None,
) -> None:
    """Take over a spiking network that another framework wrote as NIR."""
    from edgesnn import data as datasets
    from edgesnn import runs
    from edgesnn.evaluation import evaluate
    from edgesnn.interop import from_nir
    from edgesnn.training import History

    flags = {"--rate": rate, "--frame": frame, "--hop": hop}
    stream = {key: flags[flag] for key, flag in STREAM_FLAGS.items() if flags[flag] is not None}
    if (mean is None) != (std is None):
        raise ConfigError("import: expected both of --mean and --std, got one; give the other")
    net = from_nir(file, convention, leak=leak, **_fields(changes or []))
    values: dict[str, Any] = {
        "data": datasets.absolute(data),
        "stream": stream or None,
        "model": {"kind": "sequence", "options": {"layers": net.config["layers"]}, "weights": net.config["weights"],
                  "leak": net.readout.leak},
        "steps": steps,
        "quantization": {"weights": 8 if net.config["weights"] == "float" else 1, "spikes": _spike_bits(net)},
    }  # fmt: skip
    if mean is not None and std is not None:
        values["normalization"] = {"mean": _numbers("--mean", mean), "std": _numbers("--std", std)}
    config = runs.validated(values, "import")
    loaded = runs.load_data(config)
    sizes = {
        "inputs": (math.prod(loaded.input_shape), math.prod(net.input_shape)),
        "classes": (len(loaded.classes), net.classes),
    }
    for what, (expected, got) in sizes.items():
        if expected != got:
            raise ConfigError(
                f"{file}: expected {expected} {what}, as '{data}' has, got {got}; name the data that it was trained on"
            )
    runs.save_run(runs.Run(net, loaded, config, History()), folder)
    if len(getattr(loaded.validation, "labels", loaded.validation)):
        print_figures({"validation accuracy": evaluate(net, loaded, "validation").accuracy}, f"{convention}, {file}")
    print_line(f"wrote {folder}; next: edgesnn quantize {folder}")


def _spike_bits(net: Network) -> int | dict[str, int]:
    """Bits of spikes, of all layers of neurons or of each: what they emit by themselves; 4 for EM-PF."""
    from edgesnn.neurons import LIF, Neuron

    bits = {
        name: 1 if isinstance(layer, LIF) else getattr(layer, "bits", 4)
        for name, layer in net.layers.items()
        if isinstance(layer, Neuron)
    }
    return next(iter(bits.values())) if len(set(bits.values())) == 1 else bits


def _fields(changes: list[str]) -> dict[str, Any]:
    """{"reset": "zero", "dt": 0.001, "strict": True} from "reset=zero", "dt=0.001", "strict=true"."""
    found: dict[str, Any] = {}
    for change in changes:
        field, separator, value = change.partition("=")
        if not separator:
            raise ConfigError(f"--set: expected FIELD=VALUE, got {change!r}; write e.g. reset=zero")
        found[field] = {"true": True, "false": False}.get(value, value)
        if field == "dt":
            (found[field],) = _numbers("--set dt", value)
    return found


def _numbers(flag: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{flag}: expected numbers, joined by commas, got {text!r}; write e.g. 0.13,0.31") from None
