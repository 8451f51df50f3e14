"""`edgesnn train` and `edgesnn quantize`: from data to a network that can be exported."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgesnn.cli.console import number, out, print_figures, print_line, table
from edgesnn.errors import ConfigError

if TYPE_CHECKING:
    from edgesnn.data import Dataset
    from edgesnn.models import Network
    from edgesnn.runs import RunConfig

#: Layer sizes where `--model` is given without `--sizes`.
SIZES = {"mlp": "128,128", "convnet": "16,32,32"}
#: Key of the section [stream] -> flag.
STREAM_FLAGS = {"rate_hz": "--rate", "frame": "--frame", "hop": "--hop"}


def train(
    config: Annotated[
        str | None, typer.Argument(metavar="[CONFIG]", help="TOML file, or the name of a preset such as watch-empf.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="M", help="mlp or convnet, instead of CONFIG.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="D", help="A data set's name, such as watch, a labelled CSV or .npz file, or a folder of events."
        ),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            metavar="R", help="bptt, sltt, sltt:K, ottt, ottt:online or ttlbp:K,N; dsr needs LIF neurons, by a CONFIG."
        ),
    ] = None,
    sizes: Annotated[str | None, typer.Option(metavar="N,N", help="Widths or channels of --model.")] = None,
    leak: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="L",
            help="What the readout keeps each step; 0.93 for streams, 1 for images if not given.",
        ),
    ] = None,
    rate: Annotated[float | None, typer.Option(metavar="HZ", help="Rows a second of a CSV file.")] = None,
    frame: Annotated[
        int | None, typer.Option(min=1, metavar="ROWS", help="Rows of a frame of a CSV file; 16 if not given.")
    ] = None,
    hop: Annotated[
        int | None, typer.Option(min=1, metavar="ROWS", help="Rows from frame to frame of a CSV file; 4 if not given.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the configuration's.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Time steps of a training window, instead of the configuration's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the configuration's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's checkpoint.")] = False,
    folder: Annotated[Path, typer.Option("-o", "--out", metavar="RUN", help="Run folder.")] = Path("runs/latest"),
) -> None:
    """Train a spiking network and write a run folder."""
    from edgesnn import runs

    flags = {"--model": model, "--data": data, "--rule": rule, "--sizes": sizes, "--leak": leak}
    flags |= {"--rate": rate, "--frame": frame, "--hop": hop}
    given = {flag: value for flag, value in flags.items() if value is not None}
    settings = _settings(config, given, folder, resume)
    instead = {"epochs": epochs, "steps": steps, "seed": seed}
    changes = {key: value for key, value in instead.items() if value is not None}
    run = runs.train(runs.validated(settings.model_dump() | changes, "train"), folder, resume=resume)
    validation = [epoch.validation for epoch in run.history.epochs if epoch.validation is not None]
    figures = {"epochs": len(run.history.epochs), "seconds": run.history.seconds}
    if validation:
        figures["best validation accuracy"] = max(validation)
    print_figures(figures | _continuous(run.net, run.data), f"trained {settings.model.kind} on {settings.data}")
    print_line(f"wrote {folder}; next: edgesnn quantize {folder}")


def _continuous(net: Network, data: Dataset) -> dict[str, float]:
    """Accuracy where the recordings of the validation split are one stream that is never reset; the shorter they are,
    the more of it is spent on noticing the next, so their mean length is named.
    """
    from edgesnn.data import Images
    from edgesnn.evaluation import evaluate

    recordings = data.validation
    if isinstance(recordings, Images) or not recordings:
        return {}
    rows = sum(len(recording.rows) for recording in recordings) / len(recordings)
    accuracy = evaluate(net, data, "validation", continuous=True).accuracy
    return {f"never reset, a new label every {rows:,.0f} rows": accuracy}


def quantize(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by `edgesnn train`.")],
    weights: Annotated[
        str | None,
        typer.Option(metavar="BITS", help="Of a hidden weight, 1, 2, 4 or 8; or by layer, such as conv2=4,rest=1."),
    ] = None,
    spikes: Annotated[
        str | None,
        typer.Option(metavar="BITS", help="Of a spike, 1, 2, 4 or 8; or by layer, such as neuron1=8,rest=4."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="RUN", help="Run folder to write; RUN-quantized if not given.")
    ] = None,
) -> None:
    """Quantize weights and spikes of a trained network, and tell what it cost."""
    from edgesnn import folders, rules, runs
    from edgesnn import quantize as quantized

    texts = (("weights", weights), ("spikes", spikes))
    flags = {key: _bits(f"--{key}", text) for key, text in texts if text is not None}
    if folder is not None and folder.resolve() == run.resolve():
        raise ConfigError(f"{folder}: expected another folder than the run itself, which is kept; choose another -o")
    source = runs.load_run(run)
    target = folders.make(folder or run.with_name(f"{run.name}-quantized"))
    settings: dict[str, Any] = {**(source.config.quantization or {}), **flags}
    unknown = settings.keys() - inspect.signature(quantized).parameters.keys()
    if unknown:
        raise ConfigError(f"{run}: [quantization] has {', '.join(sorted(unknown))}, which nothing reads; remove it")
    rule = rules.build(source.config.rule)
    net = quantized(source.net, calibrate=source.data, rule=rule, progress=True, **settings)
    config = source.config.model_copy(update={"quantization": settings})
    runs.save_run(replace(source, net=net, config=config), target)
    if net.report is not None:
        report = net.report
        stages = (
            ("float", report.accuracy_float),
            ("calibrated", report.accuracy_calibrated),
            ("tuned", report.accuracy_tuned),
        )
        measured = {name: value for name, value in stages if value is not None}
        if measured:
            print_figures(measured | _continuous(net, source.data), "validation accuracy")
        layers = report.to_json()["layers"]
        if layers:
            rows = ([v if isinstance(v, str) else number(v) for v in layer.values()] for layer in layers)
            out.print(table(layers[0], rows, "spikes by layer", numbers=len(layers[0]) - 1))
    print_line(f"wrote {target}; next: edgesnn export {target} -o out/model")


def _settings(config: str | None, flags: dict[str, Any], folder: Path, resume: bool) -> RunConfig:
    """From CONFIG, or from flags by name, or, to go on, from the run folder."""
    from edgesnn import runs

    if config is None:
        return _from_flags(flags) if flags or not resume else runs.read_run_config(folder)
    if flags:
        raise ConfigError(f"train: expected either CONFIG or flags, got both; leave out {', '.join(flags)} or CONFIG")
    is_file = config.endswith(".toml") or "/" in config
    return runs.read_config(Path(config)) if is_file else runs.preset(config)


def _from_flags(flags: dict[str, Any]) -> RunConfig:
    from edgesnn import rules, runs

    missing = [flag for flag in ("--model", "--data", "--rule") if flag not in flags]
    if missing:
        raise ConfigError(
            f"train: expected CONFIG, or all of --model, --data and --rule, got no {', '.join(missing)}; "
            "see edgesnn train --help"
        )
    model = flags["--model"]
    if model not in SIZES:
        raise ConfigError(f"--model: expected one of {', '.join(SIZES)}, got {model!r}; choose one of them")
    sizes = _numbers("--sizes", flags.get("--sizes", SIZES[model]))
    stream = {key: flags[flag] for key, flag in STREAM_FLAGS.items() if flag in flags}
    return runs.validated(
        {
            "data": flags["--data"],
            "stream": stream or None,
            "model": {"kind": model, "sizes": sizes, "leak": flags.get("--leak")},
            "rule": rules.parse(flags["--rule"]),
        },
        "train",
    )


def _numbers(flag: str, text: str) -> list[int]:
    """The whole numbers of a list such as "128,128"."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigError(f"{flag}: expected whole numbers above 0, joined by commas, got {text!r}; write e.g. 128,128")
    return [int(part) for part in parts]


def _bits(flag: str, text: str) -> int | dict[str, int]:
    """4 from "4"; {"conv2": 4, "rest": 1} from "conv2=4,rest=1"."""
    if text.isdecimal():
        return int(text)
    pairs = [tuple(side.strip() for side in part.split("=")) for part in text.split(",")]
    if not all(len(pair) == 2 and pair[0] and pair[1].isdecimal() for pair in pairs):
        raise ConfigError(f"{flag}: expected a number, or LAYER=BITS joined by commas, got {text!r}; write e.g. rest=4")
    bits = {name: int(number) for name, number in pairs}
    if len(bits) < len(pairs):
        raise ConfigError(f"{flag}: expected each layer once, got {text!r}; leave out what is not meant")
    return bits
