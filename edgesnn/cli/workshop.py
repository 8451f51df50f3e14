"""`edgesnn pull` and `edgesnn merge`: what devices learned, back in the workshop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgesnn.cli.console import print_line
from edgesnn.cli.stream_output import guard_words, warn
from edgesnn.errors import ConfigError, StateError

if TYPE_CHECKING:
    from edgesnn.runtime.model import Model

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder written by `edgesnn export`.")]


def pull(
    directory: Folder,
    state: Annotated[
        Path, typer.Option(metavar="FILE", help="What a device learned: a state file, or a dump of its flash.")
    ],
    folder: Annotated[Path, typer.Option("-o", "--out", metavar="RUN", help="Run folder to write.")],
    run: Annotated[
        Path | None, typer.Option(metavar="RUN", help="The run that DIR was exported from, if DIR does not know.")
    ] = None,
) -> None:
    """Put what a device learned into the Python model, as a run folder to export again."""
    from edgesnn import folders, origin, runs, workshop
    from edgesnn.runtime.guard import read_guard
    from edgesnn.runtime.model import Model

    model = Model.load(directory)
    (payload,) = _payloads(model, [state])
    source = origin.read(directory) if run is None else run
    if folder.resolve() == source.resolve():
        raise ConfigError(f"{folder}: expected another folder than the run itself, which is kept; choose another -o")
    if (folder / "step.onnx").exists():
        raise ConfigError(f"{folder}: expected a folder for a run, got one with an exported model; choose another -o")
    trained = runs.load_run(source)
    pulled = workshop.pull(trained.net, model, payload)
    runs.save_run(replace(trained, net=pulled), folders.make(folder))
    guard = read_guard(model.unpack(payload))
    if guard:
        print_line(guard_words(guard))
    scope = model.learn.scope if model.learn else "none"
    print_line(f"wrote {folder}; next: edgesnn export {folder} -o out/pulled --learn {scope}")


def merge(
    directory: Folder,
    states: Annotated[list[Path], typer.Argument(metavar="STATE...", help="State files, or dumps of flash.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="STATE", help="State file to write.")],
    check: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Labelled stream of nobody who taught: is the merged model better?"),
    ] = None,
) -> None:
    """Make one state of several devices' states; with --check, compare it with the factory's model first."""
    from edgesnn.runtime import held_out, sources, state
    from edgesnn.runtime.guard import read_guard
    from edgesnn.runtime.merge import merge as merged_state
    from edgesnn.runtime.model import Model

    model = Model.load(directory)
    if out.resolve() in {path.resolve() for path in states}:
        raise ConfigError(f"{out}: expected another file than the states that are merged; choose another -o")
    merged = merged_state(model, _payloads(model, states))
    found = held_out.check(model, merged, lambda: sources.open_source(str(check), model)) if check else None
    if found:
        merged = found.snapshot
    with state.hold(out):
        state.save(out, model.model_id, merged)
    guard = read_guard(model.unpack(merged))
    if guard:
        print_line(guard_words(guard))
    elif found:
        accuracies = f"factory {found.factory_accuracy:.3f}, merged {found.learned_accuracy:.3f}"
        print_line(f"held out: {accuracies} of {found.steps:,} labelled steps")
    print_line(f"wrote {out} (states merged: {len(states)}); next: edgesnn run {directory} --state {out}")


def _payloads(model: Model, paths: Sequence[Path]) -> list[bytes]:
    """The newest payload of each file; every file that is refused is told in a line of its own."""
    from edgesnn.runtime import state

    named = [path.resolve() for path in paths]
    for path in paths:
        if named.count(path.resolve()) > 1:
            raise ConfigError(f"{path}: expected each state once, got it twice; leave one out")
    payloads, refused = list[bytes](), list[StateError]()
    for path in paths:
        try:
            loaded = state.load(path, model.model_id, model.snapshot_bytes)
        except StateError as error:
            refused.append(error)
            continue
        if loaded.notice:
            warn(loaded.notice)
        if loaded.payload in payloads:
            twin = paths[payloads.index(loaded.payload)]
            raise ConfigError(f"{path}: expected each state once, got the content of {twin} again; leave one out")
        payloads.append(loaded.payload)
    for earlier in refused[:-1]:
        warn(str(earlier))
    if refused:
        raise refused[-1]
    return payloads
