"""The report of an exported folder: what its graphs and, where it runs, its board tell without data."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edgesnn import boards, origin
from edgesnn.errors import BackendError, ConfigError, DataError, ModelError
from edgesnn.export.bounds import prove
from edgesnn.export.c_package import sources
from edgesnn.export.c_plan import Program, program
from edgesnn.report import energy
from edgesnn.report import work as where
from edgesnn.report.activity import watch
from edgesnn.report.files import load
from edgesnn.report.provenance import provenance
from edgesnn.report.schema import Report
from edgesnn.runtime import Model
from edgesnn.runtime.board import BoardSession
from edgesnn.runtime.firmware import check_packages
from edgesnn.runtime.model import Array
from edgesnn.runtime.package import exported_board, written_files
from edgesnn.runtime.prediction import predict
from edgesnn.runtime.profile import Profile, profile
from edgesnn.runtime.vectors import random_stream, seasoned

#: Steps over which instructions are counted; half of them are learned from where the model learns.
PROFILE_STEPS = 40
#: Training windows that a network and its integers are compared on.
_BATCHES, _BATCH = 4, 64


def collect(
    directory: str | Path,
    board: str | None = None,
    work: bool = False,
    source: str | None = None,
    quantization: bool = False,
    run: str | Path | None = None,
) -> Report:
    """Flash, RAM and multiply-accumulates by layer; for a microcontroller, what its firmware will take.

    With a board that is emulated, also what the linked firmware takes, and its instructions. What an earlier report in
    the folder knows of the same model stays, unless it is measured again.

    Args:
        directory: folder written by `edgesnn.export.onnx`. Where it holds no C package, nothing is linked nor run.
        board: an emulated board, or one that names an emulated board with the same core (default: the one that the
            package was exported for, which is predicted for and not run).
        work: also tell where the work of a step goes.
        source: sensor rows over which that is counted (default: a random stream).
        quantization: also compare the run that the folder was exported from, layer by layer.
        run: the folder of that run (default: the one that the folder knows).

    Raises:
        ModelError: the folder is not a valid export.
        ConfigError: work is asked for, and there is no board or no C package; or a source without work, or a run
            without quantization; or the run is not there.
        ExportError: the folder was not exported from the run.
        BoardError, BackendError: the board is unknown, or cannot run here.
    """
    if source is not None and not work:
        raise ConfigError(f"--source: expected it with --profile, got {source!r} alone; add --profile")
    if run is not None and not quantization:
        raise ConfigError(f"--run: expected it with --quantization, got {str(run)!r} alone; add --quantization")
    model = Model.load(directory)
    planned = program(model)
    packaged = written_files(model.path / "c") is not None
    content: dict[str, Any] = {
        "name": model.name,
        "size": {"float32_bytes": 4 * planned.weights, "packed_bytes": planned.flash_bytes},
        "proof": [asdict(bound) for bound in prove(model.step)],
    }
    if quantization:
        content["quantization"] = quantization_error(model, origin.read(model.path) if run is None else Path(run))
    if (predicted := _prediction(planned, board, packaged)) is not None:
        content["prediction"] = predicted
    counted = None
    if board is not None and packaged:
        frames, shares = _stream(planned, source) if work else (None, {})
        counted = measure(planned, board, frames)
        content["board"] = firmware_use(model, board) | {
            "id": board,
            "instructions_per_step": round(counted.instructions_per_step),
            "instructions_per_learn": round(counted.instructions_per_learn),
        }
        if work:
            content["work"] = {
                "id": board,
                "steps": counted.steps,
                "source": source or "a random stream over the whole input range",
                "energy_model": energy.MODEL,
                "layers": where.layers(planned, counted, shares),
                "learning": where.learning(counted),
            }
    elif work:
        raise ConfigError(
            f"{directory}: --profile: expected a board and a C package, got "
            f"{'no C package' if board else 'no board'}; give --board ID, and run `edgesnn export ... --format c` first"
        )
    content["layers"] = layers(planned, counted)
    command = "edgesnn report DIR" + (f" --board {board}" if board else "") + (" --profile" if work else "")
    content["provenance"] = provenance(command, model, board).model_dump()
    return Report.parse(_merged(_earlier(Path(directory), model), content), str(directory))


def quantization_error(model: Model, folder: Path) -> dict[str, Any]:
    """The run that a model was exported from, beside it: weights and spikes of each layer, on some training data.

    Raises:
        ExportError: the model was not exported from this run.
    """
    import torch

    from edgesnn import runs
    from edgesnn.export.onnx_graphs import check_origin
    from edgesnn.quant.error import spike_errors, weight_errors

    run = runs.load_run(folder)
    check_origin(run.net, model)
    windows = run.data.training_batches(run.data.steps, _BATCH, torch.Generator().manual_seed(0))
    batches = [x for x, _ in islice(windows, _BATCHES)]
    return {
        "frames": sum(x.shape[0] * x.shape[1] for x in batches),
        "weights": [asdict(error) for error in weight_errors(run.net)],
        "spikes": [asdict(error) for error in spike_errors(run.net, model, batches)],
    }


def _prediction(planned: Program, board: str | None, packaged: bool) -> dict[str, Any] | None:
    """What the firmware will take; None where no microcontroller is known, or no compiler to ask without being told."""
    package = planned.model.path / "c"
    name = board or (exported_board(package) if packaged else None)
    chosen = boards.load(name) if name else None
    if chosen is None or chosen.flash is None:
        return None
    try:
        check_packages()
    except BackendError:
        if board is None:
            return None
        raise
    has = {"id": chosen.id, "board_flash_bytes": chosen.flash_bytes, "board_ram_bytes": chosen.ram_bytes}
    if packaged:
        return has | asdict(predict(package, chosen))
    with TemporaryDirectory(prefix="edgesnn-") as scratch:
        for path, content in sources(planned).items():
            (Path(scratch) / "c" / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(scratch) / "c" / path).write_bytes(content)
        return has | asdict(predict(Path(scratch) / "c", chosen))


def _stream(planned: Program, source: str | None) -> tuple[Array, dict[str, float]]:
    """Frames to count over, and what was active in them."""
    frames, shares = watch(planned.model, where.watched(planned), PROFILE_STEPS, source)
    if len(frames) == 0:
        raise DataError(f"{source}: expected rows for at least one frame, got fewer; give a longer stream")
    return frames, shares


def _earlier(directory: Path, model: Model) -> dict[str, Any] | None:
    """The report in the folder, if there is one that can be read and that is of this very model."""
    try:
        found = load(directory)
    except ModelError:
        return None
    same = found.provenance is not None and found.provenance.source_hash == model.source_hash
    return found.model_dump(by_alias=True) if same else None


def _merged(earlier: dict[str, Any] | None, content: dict[str, Any]) -> dict[str, Any]:
    """New sections over earlier ones; without a new measurement the provenance stays that of the measured figures."""
    if earlier is None:
        return content
    before = {layer["name"]: layer for layer in earlier["layers"] or []}
    content["layers"] = [
        before.get(layer["name"], {}) | {key: value for key, value in layer.items() if value is not None}
        for layer in content["layers"]
    ]
    if "board" not in content:
        del content["provenance"]
    return earlier | content


def measure(planned: Program, board: str, frames: Array | None = None) -> Profile:
    """Instructions of a board by layer of the plan and function, over a stream in which every step is learned from.

    Without frames it is a random stream.

    Raises:
        ModelError: the C package has other layers than the plan of its graphs.
    """
    model, chosen = planned.model, boards.load(board)
    if frames is None:
        frames, _ = random_stream(model, PROFILE_STEPS, seed=3)
    labels = np.zeros(len(frames), int) if model.learn else np.full(len(frames), -1)
    emulated = boards.load(chosen.emulated_by) if chosen.emulated_by else chosen
    package = model.path / "c"
    counted = profile(package, emulated, frames, labels.tolist(), seasoned(model))
    if len(counted.layers) != len(planned.step_layers):
        raise ModelError(
            f"{package}: expected {len(planned.step_layers)} layers, as the graphs beside it have, got "
            f"{len(counted.layers)}; export the C again"
        )
    return counted


def firmware_use(model: Model, board: str) -> dict[str, int]:
    """Bytes of the linked firmware, and the deepest stack after a step and a learning step."""
    frames, _ = random_stream(model, 1, seed=3)
    with BoardSession(model, board=board) as session:
        session.step(frames[0])
        if model.learn is not None:
            session.learn(0)
        return use(session)


def use(session: BoardSession) -> dict[str, int]:
    """Bytes of the firmware of a session, and the deepest stack so far."""
    info = session.info()
    return {
        "flash_bytes": session.firmware.flash_bytes,
        "ram_bytes": session.firmware.ram_bytes,
        "arena_bytes": info.arena_bytes,
        "stack_bytes": info.stack_used_bytes,
    }


def layers(planned: Program, work: Profile | None) -> list[dict[str, Any]]:
    """Bytes, multiply-accumulates and, where counted, instructions of each layer."""
    counted = map(round, work.by_layer) if work else [None] * len(planned.step_layers)
    return [
        {
            "name": cost.name,
            "flash_bytes": cost.flash_bytes,
            "ram_bytes": cost.persistent_bytes + cost.scratch_bytes,
            "instructions": instructions,
            "macs": layer.macs,
        }
        for cost, layer, instructions in zip(planned.layers, planned.step_layers, counted, strict=True)
    ]
