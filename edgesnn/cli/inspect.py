"""`edgesnn verify` and `edgesnn report`: what is known about an exported model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgesnn.cli.console import number, out, print_figures, print_line, table

if TYPE_CHECKING:
    from edgesnn.report.schema import QuantizationError, Work
    from edgesnn.runtime.verify import Check


def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder written by `edgesnn export`.")],
    backends: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Backends to compare; all that the folder was exported for.")
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Compare on this board too, or on its emulation; the one it was exported for."),
    ] = None,
) -> None:
    """Compare every backend with the reference, bit for bit; exit with status 1 if one differs.

    Without --backends, those that cannot run on this machine are shown as not run.
    """
    from edgesnn.runtime.verify import verify as compare

    names = [name.strip() for name in backends.split(",")] if backends else None
    checks = compare(directory, backends=names, board=board)
    rows = ((check.backend, check.graph, f"{check.compared:,}", _outcome(check)) for check in checks)
    out.print(table(("backend", "graph", "compared", "against the reference"), rows))
    left_out = [check.backend for check in checks if check.not_run]
    if left_out:
        out.print(f"not run on this machine: {', '.join(left_out)}; nothing is known about them")
    for check in checks:
        if check.location:
            print_line(f"{check.backend} {check.graph}: {check.difference}\n  first at {check.location}")
    if any(check.difference for check in checks):
        raise typer.Exit(1)


def _outcome(check: Check) -> str:
    return f"not run: {check.not_run}" if check.not_run else check.difference or "equal"


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an export, or one with a report.json.")],
    board: Annotated[
        str | None, typer.Option(metavar="ID", help="Also link for this board, run it, and count instructions.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="With --board: where the work of a step goes, by layer and kernel.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(metavar="FILE", help="With --profile: sensor rows to count over, instead of noise.")
    ] = None,
    quantization: Annotated[
        bool, typer.Option("--quantization", help="Also compare it, layer by layer, with the run it was exported from.")
    ] = False,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="With --quantization: the run that DIR was exported from, if it doesn't know."
        ),
    ] = None,
) -> None:
    """Print what is known about a model, and write it as report.json and report.html.

    What a firmware will take of its board is told before anything is linked.
    """
    from edgesnn import report as reports

    if (directory / "step.onnx").is_file():
        from edgesnn.report.collect import collect  # reads graphs, which showing a report does not need

        content = collect(directory, board, profile, source, quantization, run)
    else:
        content = reports.load(directory)
    layers = [layer.model_dump() for layer in content.layers or []]
    if layers:
        names = [name for name in layers[0] if any(layer[name] is not None for layer in layers)]
        rows = ([_cell(layer[name]) for name in names] for layer in layers)
        out.print(table(names, rows, "layers", numbers=len(names) - 1))
    for section in ("accuracy", "bit_exact", "prediction", "board", "size", "training"):
        values = getattr(content, section)
        if values is not None:
            fields = values.model_dump(by_alias=True).items()
            figures = {key: value for key, value in fields if type(value) in (int, float)}
            print_figures(figures, section)
    if content.prediction is not None:
        if content.prediction.overflow:
            print_line(content.prediction.overflow)
        print_figures(content.prediction.call_stack_bytes, "prediction, bytes of stack of each call")
    if content.work is not None:
        _print_work(content.work)
    if content.quantization is not None:
        _print_quantization(content.quantization)
    if content.proof is not None:
        bounds = ((b.node, b.function, *map(number, (b.low, b.high, b.limit))) for b in content.proof)
        columns = ("node", "function", "lowest", "highest", "limit")
        out.print(table(columns, bounds, "no integer can overflow: ranges by interval arithmetic", numbers=3))
    print_line(f"wrote {reports.write(content, directory)}")


def _print_work(work: Work) -> None:
    """The work of a step by layer, then by kernel."""
    columns = {
        "layer": "name", "instructions": "instructions", "MACs": "macs", "synops": "synaptic_operations",
        "bytes": "bytes_moved", "in": "input_rate", "fired": "spike_rate",
        "op nJ": "operations_nj", "core nJ": "core_nj",
    }  # fmt: skip
    rows = ([_short(getattr(layer, name)) for name in columns.values()] for layer in work.layers)
    title = f"work of a step on {work.id}, over {work.steps} frames of {work.source}"
    out.print(table(columns, rows, title, len(columns) - 1))
    parts = [(layer.name, layer.kernels) for layer in work.layers]
    parts += [("(learning)", work.learning.kernels)] if work.learning else []
    kernels = ((part, name, number(count)) for part, counts in parts for name, count in counts.items())
    out.print(table(("layer", "kernel", "instructions"), kernels, "instructions by kernel", numbers=1))
    print_line(f"energy is an {work.energy_model}")


def _print_quantization(found: QuantizationError) -> None:
    """Weights, then spikes, by layer."""
    for title, layers in (
        ("weights, against their latent values", found.weights),
        (f"spikes of the integer model, beside Brevitas', over {found.frames:,} frames", found.spikes),
    ):
        rows = [layer.model_dump() for layer in layers]
        if rows:
            cells = ([_short(value) for value in row.values()] for row in rows)
            out.print(table(rows[0], cells, title, numbers=len(rows[0]) - 1))


def _short(value: str | float | None) -> str:
    return f"{value:.3g}" if isinstance(value, float) and value < 1000 else _cell(value)


def _cell(value: str | float | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else number(value)
