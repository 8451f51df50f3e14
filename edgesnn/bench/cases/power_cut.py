"""The power is cut at every moment of a save, on an emulated flash and in a state file: what does a load find?"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edgesnn.bench.disk import Disk, PowerCutError
from edgesnn.bench.registry import Measured, benchmark
from edgesnn.errors import StateError
from edgesnn.runtime import state
from edgesnn.runtime.model import Array, Model
from edgesnn.runtime.nor import Geometry, NorFlash

#: Partitions as one would cut them on parts with such a flash, and torn patterns tried at each cut.
_PARTITIONS = {
    "serial_nor": (Geometry(4096, 4, 1), 2),
    "nrf52": (Geometry(4096, 4, 4), 8),
    "stm32g4": (Geometry(2048, 8, 8, ecc=True), 16),
    "stm32f4": (Geometry(16384, 2, 4), 8),
    "stm32h7": (Geometry(131072, 2, 32, ecc=True), 16),
    "rp2040": (Geometry(4096, 3, 256), 64),
}
_WALK_SAVES = 5_000  # a partition
_FLIPPED_IMAGES = 20_000  # a partition
_SAVES = 5  # consecutive, of different states
_REFUSED = b""


@benchmark("power-cut", "saves cut at every program, erase and byte: what a load finds", packages=("torch", "brevitas"))
def power_cut() -> Measured:
    from edgesnn.bench.stand_in import export_stand_in

    with TemporaryDirectory(prefix="edgesnn-") as folder:
        model = export_stand_in(Path(folder))
        return measure(model, learned_states(model, _SAVES), Path(folder))


def learned_states(model: Model, count: int) -> Array:
    """uint8 [count, snapshot_bytes]: snapshots along a random stream, each after some steps and labels."""
    from edgesnn.runtime.native import NativeSession
    from edgesnn.runtime.vectors import random_stream

    with NativeSession(model) as session:
        states = []
        for seed in range(count):
            session.run(*random_stream(model, 50, seed))
            states.append(np.frombuffer(session.snapshot(), np.uint8))
    return np.array(states)


def measure(model: Model, states: Array, folder: Path, thin: int = 1) -> Measured:
    """Cut saves of `states` on every partition and in a state file.

    Args:
        model: whose states they are.
        states: uint8 [count, snapshot_bytes], no two the same.
        folder: scratch.
        thin: take one torn pattern, random save, flipped image and byte of a file in so many.
    """
    rows = [
        _flash(name, geometry, max(1, patterns // thin), model.model_id, states, folder, thin)
        for name, (geometry, patterns) in _PARTITIONS.items()
    ]
    rows.append(_file(model.model_id, states[:3], folder / "cut.state", thin))
    total: Counter[str] = Counter()
    for row in rows:
        total.update({key: value for key, value in row.items() if isinstance(value, int)})
    keys = ("cuts", "torn", "lost_older", "stuck", "flips", "undetected", "violations")
    figures = {key: float(total[key]) for key in keys} | {"state_bytes": float(model.snapshot_bytes)}
    wear = {f"saves_per_erase.{row['memory']}": row["saves_per_erase"] for row in rows[:-1]}
    return Measured(figures | wear, rows)


def _flash(
    name: str, geometry: Geometry, patterns: int, model_id: int, states: Array, folder: Path, thin: int
) -> dict[str, Any]:
    flash = NorFlash(geometry, model_id, states, folder)
    flash.cut_everywhere(patterns)
    flash.walk(_WALK_SAVES // thin)
    flash.flip(_FLIPPED_IMAGES // thin)
    counts = flash.counts
    return {
        "memory": name,
        "geometry": asdict(geometry),
        "cuts": counts.cuts,
        "torn": counts.torn,
        "lost_older": counts.lost_older,
        "stuck": counts.stuck,
        "flips": counts.flips,
        "undetected": counts.undetected,
        "violations": flash.violations,
        "saves_per_erase": _saves_per_erase(geometry, model_id, states, folder),
    }


def _saves_per_erase(geometry: Geometry, model_id: int, states: Array, folder: Path) -> float:
    """Measured over two times round the ring: saves, by the erases of the block that is worn most."""
    flash = NorFlash(geometry, model_id, states, folder)
    saves = 2 * flash.saves_per_erase
    for i in range(saves):
        flash.save(states[i % len(states)].tobytes())
    return saves / float(flash.erases.max())


def _file(model_id: int, states: Array, path: Path, thin: int) -> dict[str, Any]:
    """Cut `state.save` after every byte that it writes, with the file as it was before each save."""
    payloads = [row.tobytes() for row in states]
    counts = dict.fromkeys(("cuts", "torn", "lost_older", "stuck"), 0)
    before, older = None, None
    for newer in payloads:
        for power in range(0, state.HEADER_BYTES + len(newer) + 1, thin):  # one more than a slot: the first save's size
            path.unlink(missing_ok=True) if before is None else path.write_bytes(before)
            cut = False
            try:
                with Disk(power):
                    state.save(path, model_id, newer)
            except PowerCutError:
                cut = True
            except StateError:
                pass  # after a save that went wrong, and was counted
            if cut:
                counts["cuts"] += 1
                found = _load(path, model_id, len(newer))
                counts["torn"] += found not in (None, _REFUSED, *payloads)
                counts["lost_older"] += found not in (older, newer)
            with suppress(StateError):
                state.save(path, model_id, newer)
            counts["stuck"] += _load(path, model_id, len(newer)) != newer
        before, older = path.read_bytes(), newer
    return {"memory": "state_file", **counts}


def _load(path: Path, model_id: int, payload_bytes: int) -> bytes | None:
    """The state in a file; None where there is none yet, `_REFUSED` where there should be one."""
    try:
        return state.load(path, model_id, payload_bytes).payload
    except state.NoStateError:
        return None
    except StateError:
        return _REFUSED
