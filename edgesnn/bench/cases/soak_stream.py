"""An endless stream on the native runtime: resets, labels, saves, restarts and kills, and no integer is ever wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from edgesnn.bench.process import resident_bytes
from edgesnn.bench.registry import Measured, benchmark
from edgesnn.runtime import state
from edgesnn.runtime.model import Array, Model
from edgesnn.runtime.native import NativeSession
from edgesnn.runtime.reference import ReferenceSession
from edgesnn.runtime.vectors import random_stream

_POOL_FRAMES = 4096
_RESET, _SAVE, _RESTART = 1 / 500, 1 / 4, 1 / 20  # a step; a batch; a batch
_SEED = 6


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Args:
        steps: of the stream.
        batch: steps a call.
        windows: samples that the reference evaluator replays.
        window: steps of one.
        kills: of a process that learns and saves.
    """

    steps: int = 10_000_000
    batch: int = 2000
    windows: int = 250
    window: int = 16
    kills: int = 20


@benchmark(
    "soak-stream", "ten million native steps with resets, labels, saves and kills", packages=("torch", "brevitas")
)
def soak_stream() -> Measured:
    from edgesnn.bench.stand_in import export_stand_in

    with TemporaryDirectory(prefix="edgesnn-") as folder:
        return measure(export_stand_in(Path(folder)), Plan(), Path(folder))


def measure(model: Model, plan: Plan, folder: Path) -> Measured:
    """Soak an exported model with its C; `folder` takes the state files."""
    figures = _soak(model, plan, folder / "soak.state")
    figures.update(_kill(model, plan, folder / "kill.state"))
    return Measured({key: float(value) for key, value in figures.items()})


class _Events(NamedTuple):
    """What happens in one batch: frames [S, ...], labels [S], resets [S], and what follows it."""

    frames: Array
    labels: Array
    resets: Array
    save: bool
    restart: bool


class _Stream:
    """Random events; those of a batch depend on its number alone, so that any process can go on with any batch."""

    def __init__(self, model: Model) -> None:
        self.frames, self.labels = random_stream(model, _POOL_FRAMES, _SEED)

    def batch(self, number: int, steps: int) -> _Events:
        generator = np.random.default_rng((_SEED, number))
        at = (generator.integers(_POOL_FRAMES) + np.arange(steps)) % _POOL_FRAMES
        labels, resets = np.roll(self.labels, number)[at], generator.random(steps) < _RESET
        save, restart = generator.random(2) < (_SAVE, _RESTART)
        return _Events(self.frames[at], labels, resets, bool(save), bool(restart))


class _Windows:
    """Samples of the stream, kept in memory that is there from the start, for the reference to replay."""

    def __init__(self, model: Model, count: int, steps: int) -> None:
        def room(dtype: str, *shape: int) -> Array:
            return np.full((count, *shape), 1, dtype)  # not zeros, which take memory only when written

        self.frames = room(model.input.dtype, steps, *model.input.shape)
        self.labels, self.resets = room("int32", steps), room("bool", steps)
        self.before, self.after = room("uint8", model.snapshot_bytes), room("uint8", model.snapshot_bytes)
        self.y = room("int32", steps, len(model.classes))
        self.count = 0

    def record(self, session: NativeSession, events: _Events) -> None:
        """Run the first steps of these events and keep what went in and came out."""
        at, steps = self.count, self.labels.shape[1]
        self.frames[at], self.labels[at], self.resets[at] = (part[:steps] for part in events[:3])
        self.before[at] = np.frombuffer(session.snapshot(), np.uint8)
        self.y[at] = session.run(self.frames[at], self.labels[at], self.resets[at])
        self.after[at] = np.frombuffer(session.snapshot(), np.uint8)
        self.count += 1

    def differences(self, reference: ReferenceSession) -> int:
        """Steps whose logits, and windows whose final state, are not the reference's."""
        found = 0
        for at in range(self.count):
            reference.restore(self.before[at].tobytes())
            for frame, label, reset, y in zip(
                self.frames[at], self.labels[at], self.resets[at], self.y[at], strict=True
            ):
                if reset:
                    reference.reset()
                found += not np.array_equal(reference.step(frame), y)
                if label >= 0:
                    reference.learn(int(label))
            found += reference.snapshot() != self.after[at].tobytes()
        return found


def _soak(model: Model, plan: Plan, path: Path) -> Counter[str]:
    stream, windows = _Stream(model), _Windows(model, plan.windows, plan.window)
    batches = -(-plan.steps // plan.batch)
    recorded = set(np.linspace(0, batches - 1, plan.windows).astype(int).tolist())
    session, count, saved = NativeSession(model), Counter[str](), b""
    resident = 0
    for number in range(batches):
        if number == batches // 10:
            resident = resident_bytes()
        events = stream.batch(number, plan.batch)
        if number in recorded:
            windows.record(session, events)
            count["steps"] += plan.window
        session.run(*events[:3])
        count.update(steps=plan.batch, resets=int(events.resets.sum()), labels=int((events.labels >= 0).sum()))
        if events.save or not saved:
            session.save(path)
            saved = session.snapshot()
            count["saves"] += 1
        if events.restart:
            session.close()
            session = NativeSession(model)
            session.load(path)
            count["differences"] += session.snapshot() != saved
            count["restarts"] += 1
    count["rss_growth_bytes"] = max(0, resident_bytes() - resident)
    count["differences"] += windows.differences(ReferenceSession(model))
    count["windows"] = windows.count
    return count


_KILL_BATCH = 100
_LAST_BATCHES = 20


def work(folder: str, path: str, until: str) -> None:
    """Learn from the stream and save after every batch, from where the state file ends to batch `until`."""
    model, at = Model.load(folder), Path(path)
    stream, session, number = _Stream(model), NativeSession(model), _saves(model, at)
    if number > 0:
        session.load(at)
    for batch in range(number, int(until)):
        session.run(*stream.batch(batch, _KILL_BATCH)[:3])
        session.save(at)


def _saves(model: Model, path: Path) -> int:
    """How many saves the state in this file has seen; each is one batch."""
    try:
        return state.load(path, model.model_id, model.snapshot_bytes).sequence
    except state.NoStateError:
        return 0


def _kill(model: Model, plan: Plan, path: Path) -> Counter[str]:
    """Kill a process that learns and saves, again and again; what the last one saves is as if there had been one."""
    generator = np.random.default_rng(_SEED)
    kills = lost = 0
    while kills < plan.kills:
        before = _saves(model, path)
        with _start(model, path, sys.maxsize) as process:
            while _saves(model, path) == before and process.poll() is None:
                time.sleep(0.01)
            time.sleep(generator.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            process.wait()
        kills += process.returncode == -signal.SIGKILL
        lost += _saves(model, path) <= before
    batches = _saves(model, path) + _LAST_BATCHES
    with _start(model, path, batches) as process:
        process.wait()
    session, stream = NativeSession(model), _Stream(model)
    for number in range(batches):
        session.run(*stream.batch(number, _KILL_BATCH)[:3])
    found = state.load(path, model.model_id, model.snapshot_bytes)
    differences = (found.payload != session.snapshot()) + (found.sequence != batches) + lost
    return Counter(kills=kills, saves=batches, steps=batches * _KILL_BATCH, differences=differences)


def _start(model: Model, path: Path, until: int) -> subprocess.Popen[bytes]:
    code = f"import sys; from {__name__} import work; work(*sys.argv[1:])"
    return subprocess.Popen([sys.executable, "-P", "-c", code, str(model.path), str(path), str(until)])
