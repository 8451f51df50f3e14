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

_HARNESS, _STEP, _LEARN = "harness", "step", "learn"


@dataclass(frozen=True)
class Profile:
    """Executed instructions of `steps` calls of `esnn_step` and `learns` of `esnn_learn`; the harness is left out.

    `counts[region][function]` are totals. A region is a layer's name, `step` for what `esnn_step` does between the
    layers, or `learn`; a function counts to the region it was called from, so a kernel shows up in every layer.
    """

    board: str
    steps: int
    learns: int
    counts: dict[str, Counter[str]]

    def _total(self, region: str) -> int:
        return sum(self.counts.get(region, {}).values())

    @property
    def instructions_per_step(self) -> float:
        """Mean over the steps."""
        return sum(self.by_layer.values())

    @property
    def instructions_per_learn(self) -> float:
        """Mean over the learning steps; 0 if there were none."""
        return self._total(_LEARN) / self.learns if self.learns else 0.0

    @property
    def by_layer(self) -> dict[str, float]:
        """Mean instructions per step of each layer, in order, and of `step` itself."""
        return {region: self._total(region) / self.steps for region in self.counts if region != _LEARN}

    @property
    def by_function(self) -> dict[str, float]:
        """Mean instructions per step of each function, largest first."""
        totals: Counter[str] = Counter()
        for region, functions in self.counts.items():
            if region != _LEARN:
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
    return Profile(board.id, len(frames), learns, counts)


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
        model = firmware.model_name
        fixed = {
            "Reset_Handler": _HARNESS,
            "main": _HARNESS,
            "esnn_step": _STEP,
            "step": _STEP,
            "esnn_learn": _LEARN,
            "learn": _LEARN,  # the last of each: generated
        }
        layer = re.compile(rf"{re.escape(model)}_layer_(\d+)_(.+)")
        layers = {f.name: match for f in firmware.functions if (match := layer.fullmatch(f.name))}
        ordered = sorted(layers, key=lambda name: int(layers[name][1]))
        self._functions: tuple[Symbol, ...] = firmware.functions
        self._names = [_HARNESS, *(layers[name][2] for name in ordered), _STEP, _LEARN]
        self._opens = fixed | {name: layers[name][2] for name in ordered}

    def map(self) -> str:
        """A line "START END REGION" for each function; -1 where it counts to its caller's region."""
        return "".join(
            f"{f.address:x} {f.address + f.nbytes:x} "
            f"{self._names.index(self._opens[f.name]) if f.name in self._opens else -1}\n"
            for f in self._functions
        )

    def read(self, output: str) -> dict[str, Counter[str]]:
        """The plugin's output as counts[region][function], regions in order, without the harness."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in self._names if name != _HARNESS}
        for line in output.splitlines():
            region, function, count = map(int, line.split())
            if self._names[region] != _HARNESS:
                counts[self._names[region]][self._functions[function].name] += count
        return counts
