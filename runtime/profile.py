"""Work on an emulated core, counted in executed instructions: by layer, by function, the same on every run.

Instructions are not cycles: caches, flash wait states and dual issue are not modelled.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edgesnn.boards import SUPPORT, Board
from edgesnn.errors import DataError
from edgesnn.runtime.board import Harness
from edgesnn.runtime.build import shared_library
from edgesnn.runtime.firmware import Firmware, Symbol, build
from edgesnn.runtime.model import Array

_HARNESS, _BETWEEN, _LEARNING, _FIRST_LAYER = range(4)  # numbers of regions


@dataclass(frozen=True)
class Profile:
    """Executed instructions of `steps` calls of `esnn_step` and `learns` of `esnn_learn`; the harness is left out.

    Each counter holds totals by function, of what was called from there, so a kernel shows up in every layer.

    layers: in the order of the plan that the package was generated from (`export.c_plan`), which has their names.
    between: what `esnn_step` does between the layers.
    learning: `esnn_learn`.
    """

    board: str
    steps: int
    learns: int
    layers: tuple[Counter[str], ...]
    between: Counter[str]
    learning: Counter[str]

    @property
    def by_layer(self) -> tuple[float, ...]:
        """Mean instructions per step of each layer."""
        return tuple(layer.total() / self.steps for layer in self.layers)

    @property
    def instructions_per_step(self) -> float:
        """Mean over the steps."""
        return sum(self.by_layer) + self.between.total() / self.steps

    @property
    def instructions_per_learn(self) -> float:
        """Mean over the learning steps; 0 if there were none."""
        return self.learning.total() / self.learns if self.learns else 0.0

    @property
    def by_function(self) -> dict[str, float]:
        """Mean instructions per step of each function, largest first."""
        totals: Counter[str] = Counter()
        for functions in (*self.layers, self.between):
            totals += functions
        return {name: totals[name] / self.steps for name in sorted(totals, key=lambda name: (-totals[name], name))}


def profile(
    model_c_dir: str | Path,
    board: Board,
    frames: Sequence[Array] | Array,
    labels: Sequence[int] | None = None,
    start: bytes | None = None,
) -> Profile:
    """Run frames through the firmware of a model, and count.

    Args:
        model_c_dir: the folder `c/` written by `edgesnn.export.c`.
        board: an emulated board.
        frames: T integer frames in the model's input dtype.
        labels: T labels: after frame t the firmware learns `labels[t]`, or nothing where it is negative.
        start: the snapshot to start from (default: that of the factory).

    Raises:
        DataError: no frame, a frame of another size, or another number of labels than frames.
        BoardError, ModelError, BackendError: the firmware cannot be built or run.
    """
    if len(frames) == 0 or (labels is not None and len(labels) != len(frames)):
        raise DataError(
            f"profile: expected at least one frame and as many labels, got {len(frames)} frames and "
            f"{'no' if labels is None else len(labels)} labels; pass a label, or -1, for each frame"
        )
    firmware = build(model_c_dir, board)
    plugin = shared_library("count", [SUPPORT / "plugin" / "count.c"], [], firmware.elf.parent.parent)
    regions = _Regions(firmware)
    with TemporaryDirectory(prefix="edgesnn-") as scratch:
        table, out = Path(scratch) / "map", Path(scratch) / "counts"
        table.write_text(regions.map(), encoding="ascii")
        path = str(plugin.resolve()).replace(",", ",,")  # a comma ends an option of the emulator
        harness = Harness(firmware, ["-plugin", f"{path},map={table},out={out}"])
        try:
            if start is not None:
                harness.restore(start)
            learns = _drive(harness, frames, labels)
        finally:
            harness.close()
        counts = regions.read(out.read_text(encoding="ascii"))
    return Profile(
        board.id, len(frames), learns, tuple(counts[_FIRST_LAYER:]), counts[_BETWEEN], counts[_LEARNING]
    )  # fmt: skip


def _drive(harness: Harness, frames: Sequence[Array] | Array, labels: Sequence[int] | None) -> int:
    learns = 0
    for t, frame in enumerate(frames):
        x = frame.tobytes()
        if len(x) != harness.about.input_bytes:
            raise DataError(
                f"profile: frame {t}: expected {harness.about.input_bytes} bytes, got {len(x)}; pass "
                "integer frames in the model's input dtype"
            )
        harness.step(x)
        if labels is not None and labels[t] >= 0:
            harness.learn(int(labels[t]))
            learns += 1
    return learns


class _Regions:
    """Which functions of a firmware open a region; the plugin's map and output in these terms."""

    def __init__(self, firmware: Firmware) -> None:
        fixed = {
            "Reset_Handler": _HARNESS,
            "main": _HARNESS,
            "esnn_step": _BETWEEN,
            "step": _BETWEEN,
            "esnn_learn": _LEARNING,
            "learn": _LEARNING,  # the last of each: generated
        }
        # The number of a layer, for its name may be the identifier of another name as well.
        layer = re.compile(rf"{re.escape(firmware.model_name)}_layer_(\d+)_.+")
        matches = {f.name: match for f in firmware.functions if (match := layer.fullmatch(f.name))}
        layers = {name: _FIRST_LAYER + int(match[1]) for name, match in matches.items()}
        self._functions: tuple[Symbol, ...] = firmware.functions
        self._opens = fixed | layers
        self._count = max(self._opens.values()) + 1

    def map(self) -> str:
        """A line "START END REGION" for each function; -1 where it counts to its caller's region."""
        return "".join(
            f"{f.address:x} {f.address + f.nbytes:x} {self._opens.get(f.name, -1)}\n" for f in self._functions
        )

    def read(self, output: str) -> list[Counter[str]]:
        """The plugin's output: what was counted in each region, by function."""
        counts: list[Counter[str]] = [Counter() for _ in range(self._count)]
        for line in output.splitlines():
            region, function, count = map(int, line.split())
            counts[region][self._functions[function].name] += count
        return counts
