"""The report of an exported folder: what its graphs and, where it runs, its board tell without data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgesnn import boards
from edgesnn.errors import ModelError
from edgesnn.export.c_plan import Program, program
from edgesnn.report.files import load
from edgesnn.report.provenance import provenance
from edgesnn.report.schema import Report
from edgesnn.runtime import Model
from edgesnn.runtime.board import BoardSession
from edgesnn.runtime.profile import Profile, profile
from edgesnn.runtime.vectors import random_stream, seasoned

#: Steps over which instructions are counted; half of them are learned from where the model learns.
PROFILE_STEPS = 40


def collect(directory: str | Path, board: str | None = None) -> Report:
    """Flash, RAM and multiply-accumulates by layer; with a board that is emulated, also its firmware and instructions.

    What an earlier report in the folder knows of the same model stays, unless it is measured again.

    Args:
        directory: folder written by `edgesnn.export.onnx`; for a board, also by `edgesnn.export.c`.
        board: an emulated board, or one that names an emulated board with the same core.

    Raises:
        ModelError: the folder is not a valid export.
        BoardError, BackendError: the board is unknown, or cannot run here.
    """
    model = Model.load(directory)
    planned = program(model)
    content: dict[str, Any] = {
        "name": model.name,
        "size": {"float32_bytes": 4 * planned.weights, "packed_bytes": planned.flash_bytes},
    }
    work = None
    if board is not None:
        work = measure(model, board)
        content["board"] = firmware_use(model, board) | {
            "id": board,
            "instructions_per_step": round(work.instructions_per_step),
            "instructions_per_learn": round(work.instructions_per_learn),
        }
    content["layers"] = layers(planned, work)
    command = "edgesnn report DIR" + (f" --board {board}" if board else "")
    content["provenance"] = provenance(command, model, board).model_dump()
    return Report.parse(_merged(_earlier(Path(directory), model), content), str(directory))


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


def measure(model: Model, board: str) -> Profile:
    """Instructions of a board by layer and function, over a random stream in which every step is learned from."""
    chosen = boards.load(board)
    frames, _ = random_stream(model, PROFILE_STEPS, seed=3)
    labels = np.zeros(len(frames), int) if model.learn else np.full(len(frames), -1)
    emulated = boards.load(chosen.emulated_by) if chosen.emulated_by else chosen
    return profile(model.path / "c", emulated, frames, labels.tolist(), seasoned(model))


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
    return [
        {
            "name": cost.name,
            "flash_bytes": cost.flash_bytes,
            "ram_bytes": cost.persistent_bytes + cost.scratch_bytes,
            "instructions": round(work.by_layer[cost.name]) if work else None,
            "macs": layer.macs,
        }
        for cost, layer in zip(planned.layers, planned.step_layers, strict=True)
    ]
