"""`edgesnn export`: from a quantized run to what a device runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgesnn.cli.console import out, print_line, size, table
from edgesnn.errors import ConfigError

if TYPE_CHECKING:
    from edgesnn.runs import Run


class Format(StrEnum):
    """What is written beside the ONNX graphs, which every other format is made from."""

    ONNX = "onnx"
    TVM = "tvm"
    C = "c"


#: The board of a C package, and TVM's target, where none is given.
_HOST, _THIS_MACHINE = "host", "llvm"
#: What a device that learns nothing is exported with.
_NOTHING = "none"
#: Asks the training people for the prior.
_CHOOSE = "choose"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by `edgesnn quantize`.")],
    folder: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write.")],
    kind: Annotated[Format, typer.Option("--format", help="What to write beside the ONNX graphs.")] = Format.ONNX,
    board: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Board of the C package (host), or what TVM compiles for: a Linux board or a triple such as "
            "riscv64-linux-gnu (this machine); see `edgesnn boards`.",
        ),
    ] = None,
    learn: Annotated[
        str,
        typer.Option(
            metavar="SCOPE",
            help="What the device may learn: none, means, readout, readout+thresholds, last:N hidden layers, or all.",
        ),
    ] = "readout",
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            metavar="RATE",
            help="Of gradient descent on the device, where it does not learn means; 3e-4, or the nearest that its "
            "integers can follow, if not given.",
        ),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            metavar="N|choose",
            help="With means: labels that a class mean of the factory is worth, a power of two up to 2048 (128); "
            "choose asks the people of the run's training data.",
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="T|dynamic",
            help="Time steps of window.onnx; those of a training window if not given. dynamic: any number.",
        ),
    ] = None,
    constant_input: Annotated[
        bool,
        typer.Option(
            "--constant-input",
            help="Let window.onnx take one frame for all steps, as still images are; what reads it alone runs once.",
        ),
    ] = False,
) -> None:
    """Export integer ONNX graphs and, where asked for, compiled libraries or a C package that fits a board."""
    from edgesnn import export as exporter
    from edgesnn import folders, origin, runs

    _check_board(kind, board)
    folders.make(folder)
    source = runs.load_run(run)
    scope = None if learn == _NOTHING else learn
    rule = ":".join(str(part) for part in source.config.rule.values())  # as `--rule` of train takes it: sltt:4
    exporter.onnx(
        source.net, folder, window=_window(window), learn=scope, constant_input=constant_input, rule=rule,
        learning_rate=learning_rate, prior=_prior(prior, source),
    )  # fmt: skip
    origin.write(folder, run)
    if kind is Format.TVM:
        exporter.tvm(folder, target=board or _THIS_MACHINE)
    elif kind is Format.C:
        exporter.c(folder, board=board or _HOST)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    out.print(table(("file", "size"), ((str(p.relative_to(folder)), size(p.stat().st_size)) for p in files), numbers=1))
    print_line(f"wrote {folder}; next: edgesnn verify {folder}")


def _check_board(kind: Format, board: str | None) -> None:
    """What cannot be compiled for is told now, not after the graphs are written."""
    if board is None:
        return
    if kind is Format.ONNX:
        raise ConfigError(
            f"--board: expected --format c or tvm beside it, got {board!r} for graphs alone; leave it out"
        )
    if kind is Format.C:
        from edgesnn import boards

        boards.load(board)
    else:
        from edgesnn.export.tvm_targets import resolve
        from edgesnn.runtime.tvm import import_tvm

        resolve(board, import_tvm())


def _window(text: str | None) -> int | Literal["dynamic"] | None:
    """The number of time steps that was given, or any."""
    if text is None:
        return None
    if text == "dynamic":
        return "dynamic"
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(
            f"--window: expected 1 or more time steps, or dynamic, got {text!r}; leave it out for the run's"
        )
    return int(text)


def _prior(text: str | None, source: Run) -> int | None:
    """The number that was given, or that the training people choose."""
    if text is None:
        return None
    if text == _CHOOSE:
        from edgesnn.adaptation.prior import choose_prior

        found = choose_prior(source.net, source.data).prior
        print_line(f"a class mean of the factory is worth {found} labels")
        return found
    if not text.isdecimal():
        raise ConfigError(f"--prior: expected a number of labels or {_CHOOSE}, got {text!r}; leave it out for 128")
    return int(text)
