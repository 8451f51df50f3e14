"""`edgesnn train` and `edgesnn quantize`: from data to a network that can be exported."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgesnn.cli.console import out, print_figures, table
from edgesnn.errors import ConfigError

if TYPE_CHECKING:
    from edgesnn.runs import RunConfig

#: Layer sizes where `--model` is given without `--sizes`.
SIZES = {"mlp": "128,128", "convnet": "16,32,32"}


def train(
    config: Annotated[
        str | None, typer.Argument(metavar="[CONFIG]", help="TOML file, or the name of a preset such as watch-empf.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="M", help="mlp or convnet, instead of CONFIG.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="D", help="watch, mnist5k, digits or a labelled CSV file.")
    ] = None,
    rule: Annotated[str | None, typer.Option(metavar="R", help="Learning rule: bptt, sltt, or sltt:K.")] = None,
    sizes: Annotated[str | None, typer.Option(metavar="N,N", help="Widths or channels of --model.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the configuration's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the configuration's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's checkpoint.")] = False,
    folder: Annotated[Path, typer.Option("-o", "--out", metavar="RUN", help="Run folder.")] = Path("runs/latest"),
) -> None:
    """Train a spiking network and write a run folder."""
    from edgesnn import runs

    settings = _from_flags(model, data, rule, sizes) if config is None else _from_file(config, model, data, rule, sizes)
    given = {key: value for key, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    run = runs.train(settings.model_copy(update=given), folder, resume=resume)
    validation = [epoch.validation for epoch in run.history.epochs if epoch.validation is not None]
    figures = {"epochs": len(run.history.epochs), "seconds": run.history.seconds}
    if validation:
        figures["best validation accuracy"] = max(validation)
    print_figures(figures, f"trained {settings.model.kind} on {settings.data}")
    out.print(f"wrote {folder}; next: edgesnn quantize {folder}")


def quantize(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by `edgesnn train`.")],
    weights: Annotated[int | None, typer.Option(metavar="1|2|4|8", help="Bits of a hidden weight.")] = None,
    spikes: Annotated[int | None, typer.Option(metavar="1|2|4|8", help="Bits of a spike.")] = None,
    folder: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="RUN", help="Run folder to write; RUN-quantized if not given.")
    ] = None,
) -> None:
    """Quantize weights and spikes of a trained network, and tell what it cost."""
    from edgesnn import quantize as quantized
    from edgesnn import rules, runs

    source = runs.load_run(run)
    flags = {key: value for key, value in (("weights", weights), ("spikes", spikes)) if value is not None}
    settings: dict[str, Any] = {**(source.config.quantization or {}), **flags}
    unknown = settings.keys() - inspect.signature(quantized).parameters.keys()
    if unknown:
        raise ConfigError(f"{run}: [quantization] has {', '.join(sorted(unknown))}, which nothing reads; remove it")
    net = quantized(source.net, calibrate=source.data, rule=rules.build(source.config.rule), progress=True, **settings)
    target = folder or run.with_name(f"{run.name}-quantized")
    config = source.config.model_copy(update={"quantization": settings})
    runs.save_run(replace(source, net=net, config=config), target)
    if net.report is not None:
        report = net.report
        stages = (
            ("float", report.accuracy_float),
            ("calibrated", report.accuracy_calibrated),
            ("tuned", report.accuracy_tuned),
        )
        print_figures({name: value for name, value in stages if value is not None}, "validation accuracy")
        rows = [[str(value) for value in _flat(layer)] for layer in report.to_json()["layers"]]
        if rows:
            out.print(table(report.to_json()["layers"][0], rows, "spikes by layer", numbers=len(rows[0]) - 1))
    out.print(f"wrote {target}; next: edgesnn export {target} -o out/model")


def _flat(layer: dict[str, Any]) -> list[str]:
    return [f"{value:.3g}" if isinstance(value, float) else str(value) for value in layer.values()]


def _from_file(config: str, *flags: str | None) -> RunConfig:
    from edgesnn import runs

    if any(flag is not None for flag in flags):
        raise ConfigError(
            "train: expected either CONFIG or --model, --data, --rule and --sizes, got both; leave one out"
        )
    is_file = config.endswith(".toml") or "/" in config
    return runs.read_config(Path(config)) if is_file else runs.preset(config)


def _from_flags(model: str | None, data: str | None, rule: str | None, sizes: str | None) -> RunConfig:
    from edgesnn import runs

    if model is None or data is None or rule is None:
        raise ConfigError(
            "train: expected CONFIG, or all of --model, --data and --rule, got less; see edgesnn train --help"
        )
    if model not in SIZES:
        raise ConfigError(f"--model: expected one of {', '.join(SIZES)}, got {model!r}; choose one of them")
    kind, _, steps = rule.partition(":")
    return runs.RunConfig.model_validate(
        {
            "data": data,
            "model": {"kind": model, "sizes": _numbers("--sizes", sizes or SIZES[model])},
            "rule": {"kind": kind} | ({"k": _numbers("--rule", steps)[0]} if steps else {}),
        }
    )


def _numbers(flag: str, text: str) -> list[int]:
    """The whole numbers of a list such as "128,128"."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigError(f"{flag}: expected whole numbers above 0, joined by commas, got {text!r}; write e.g. 128,128")
    return [int(part) for part in parts]
