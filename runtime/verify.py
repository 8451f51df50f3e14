"""Every backend against the reference evaluator, bit for bit, over streams with learning in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np

from edgesnn import boards
from edgesnn.errors import BackendError, BoardError
from edgesnn.runtime import vector_file
from edgesnn.runtime.backends import BACKENDS, check_machine, open_session
from edgesnn.runtime.graph import GraphSession
from edgesnn.runtime.locate import Run, locate
from edgesnn.runtime.model import Array, Model
from edgesnn.runtime.package import exported_board
from edgesnn.runtime.session import Session
from edgesnn.runtime.vector_file import Vectors
from edgesnn.runtime.vectors import random_stream, seasoned

#: Steps of each random stream; about half of them are learned from.
STEPS, SEEDS = 300, (1, 2)


@dataclass(frozen=True)
class Check:
    """One backend running one graph: how much was compared, and the first difference (None where there is none).

    `location` names the node where that difference begins (`edgesnn.runtime.locate`). Where this machine lacks what a
    backend needs, `not_run` says what; nothing was compared then.
    """

    backend: str
    graph: str  # "step", "learn" or "window"; "vectors" for those of the folder; "all" where it was not run
    compared: int
    difference: str | None
    not_run: str | None = None
    location: str | None = None

    @property
    def equal(self) -> bool:
        return self.difference is None and self.not_run is None


@dataclass
class _Tally:
    """Steps of one graph that were compared so far, and the first difference with the run that made it."""

    compared: int = 0
    difference: str | None = None
    run: Run | None = None

    def differs(self, steps: int, place: str, found: str | None, run: Run) -> bool:
        """Count a comparison; whether it found a difference."""
        self.compared += steps
        if found and self.difference is None:
            self.difference, self.run = f"{place}: {found}", run
        return found is not None


@dataclass(frozen=True)
class Window:
    """T steps without learning from a state in the middle of a stream: y [T, K] and the snapshot after them."""

    start: int
    before: bytes
    frames: Array
    y: Array
    after: bytes


@dataclass(frozen=True)
class Expected:
    """What the reference did with a stream, from the snapshot `start`: y [S, K] and the snapshots after each step and
    after its learning.
    """

    start: bytes
    frames: Array
    labels: Array
    y: Array
    after_step: list[bytes]
    after_learn: list[bytes]
    windows: list[Window]


def verify(
    directory: str | Path, backends: list[str] | None = None, board: str | None = None, steps: int = STEPS
) -> list[Check]:
    """Compare outputs and all persistent tensors after every step and every learning step, and replay the folder's own
    test vectors, on the reference too.

    Args:
        directory: an exported folder.
        backends: names to compare (default: all whose files are in the folder, and `board` where one is named; one that
            cannot run on this machine gives a check that says so).
        board: board of the `board` backend (default: the one the C package was exported for).
        steps: steps of each of the random streams; at least one window, so that no graph goes without comparison.

    Raises:
        BackendError: a named backend is unknown or cannot run here.
        ModelError: the folder is not a valid export.
    """
    model = Model.load(directory)
    names = backends if backends is not None else available(model, board)
    if board is not None and "board" not in names and boards.load(board).kind != "host":
        raise BackendError(
            f"board: expected the backend board among {', '.join(names)} for {board!r}, got none; add it, or leave the "
            "board out"
        )
    unknown = [name for name in names if name not in BACKENDS]
    if unknown:
        raise BackendError(
            f"backends: expected some of {', '.join(BACKENDS)}, got {', '.join(unknown)}; drop or correct it"
        )
    missing = {} if backends is not None else _missing(model, names, board)
    starts = (model.pack(model.factory), seasoned(model))
    streams = [
        _expected(model, start, max(steps, model.time_steps), seed) for start, seed in zip(starts, SEEDS, strict=True)
    ]
    vectors = vector_file.read(model) if (model.path / vector_file.FILE).is_file() else None
    checks: list[Check] = []
    for name in names:
        if name in missing:
            checks.append(Check(name, "all", 0, None, missing[name]))
        else:
            checks += _checks(model, name, board, streams, vectors)
    return checks


def available(model: Model, board: str | None = None) -> list[str]:
    """The backends an exported folder has files for; `board` too if one is named, or it was exported for one."""
    names = ["reference", "ort"]
    names += ["tvm"] if (model.path / "tvm").is_dir() else []
    packaged = (model.path / "c").is_dir()
    names += ["native"] if packaged else []
    target = board or (exported_board(model.path / "c") if packaged else None)
    return names + (["board"] if target is not None and boards.load(target).kind != "host" else [])


def _missing(model: Model, names: list[str], board: str | None) -> dict[str, str]:
    """What keeps backends from running on this machine, by backend; a board that was named must be known."""
    target = board or (exported_board(model.path / "c") if "board" in names else "")
    if target:
        boards.load(target)
    found = {}
    for name in names:
        try:
            check_machine(name, target)
        except (BackendError, BoardError) as error:
            found[name] = str(error)
    return found


def _checks(
    model: Model, backend: str, board: str | None, streams: list[Expected], vectors: Vectors | None
) -> Iterator[Check]:
    options = {"board": board} if backend == "board" and board else {}
    yardstick = backend == "reference"  # its steps are what the others are compared with; its windows are not
    with open_session(model.path, backend, **options) as session:
        windowed = isinstance(session, GraphSession)
        tallies = {graph: _Tally() for graph in ("step", "learn", "window")}
        for stream in streams:
            session.restore(stream.start)
            if not yardstick:
                _follow(session, stream, tallies["step"], tallies["learn"])
            if isinstance(session, GraphSession):
                _follow_windows(session, stream, tallies["window"])
        replayed = _replay(session, vectors) if vectors else None
        locations = {graph: locate(session, tally.run) if tally.run else None for graph, tally in tallies.items()}
    asked = {"step": not yardstick, "learn": not yardstick and model.learn is not None, "window": windowed}
    for graph, tally in tallies.items():
        if asked[graph]:
            yield Check(backend, graph, tally.compared, tally.difference, location=locations[graph])
    if vectors:
        yield Check(backend, "vectors", len(vectors.y), replayed)


def _replay(session: Session, vectors: Vectors) -> str | None:
    """The first difference from the test vectors, from the factory state on."""
    model = session.model
    session.restore(model.pack(model.factory))
    for t, y in enumerate(session.run(vectors.x, vectors.labels)):
        if found := _first("y", vectors.y[t], y):
            return f"step {t}: {found}"
    found = _first_tensor(model, model.pack(vectors.tensors), session.snapshot())
    return f"after the last step: {found}" if found else None


def _expected(model: Model, start: bytes, steps: int, seed: int) -> Expected:
    frames, labels = random_stream(model, steps, seed)
    y, after_step, after_learn = [], [], []
    with open_session(model.path, "reference") as session:
        session.restore(start)
        for frame, label in zip(frames, labels, strict=True):
            y.append(session.step(frame))
            after_step.append(session.snapshot())
            if label >= 0:
                session.learn(int(label))
            after_learn.append(session.snapshot())
        before = [start, *after_learn]
        windows = [
            _window(session, first, before[first], _shown(model, frames[first : first + size]))
            for first, size in _windows(model, steps)
        ]
    return Expected(start, frames, labels, np.array(y), after_step, after_learn, windows)


def _window(session: Session, start: int, before: bytes, frames: Array) -> Window:
    session.restore(before)
    return Window(start, before, frames, np.array([session.step(frame) for frame in frames]), session.snapshot())


def _windows(model: Model, steps: int) -> Iterator[tuple[int, int]]:
    """First step and number of steps of each window: those of the model; where any number goes, others too."""
    usual = model.time_steps
    sizes = cycle((usual,) if model.window.steps else (usual, 1, usual + 3))
    first = 0
    while first + (size := next(sizes)) <= steps:
        yield first, size
        first += size


def _shown(model: Model, frames: Array) -> Array:
    """What the window sees of a stream's frames: of one that holds its x, the first of them at every step."""
    return np.repeat(frames[:1], len(frames), axis=0) if model.window.held else frames


def _follow(session: Session, stream: Expected, step: _Tally, learn: _Tally) -> None:
    """Step and learn along a stream until the first difference."""
    before = [stream.start, *stream.after_learn]
    for t, (frame, label) in enumerate(zip(stream.frames, stream.labels, strict=True)):
        y = session.step(frame)
        found = _first("y", stream.y[t], y) or _first_tensor(session.model, stream.after_step[t], session.snapshot())
        if step.differs(1, f"step {t}", found, Run("step", before[t], frame[None])):
            return
        if label >= 0:
            session.learn(int(label))
            found = _first_tensor(session.model, stream.after_learn[t], session.snapshot())
            if learn.differs(1, f"step {t}", found, Run("learn", stream.after_step[t], frame[:0], int(label))):
                return


def _follow_windows(session: GraphSession, stream: Expected, tally: _Tally) -> None:
    taken = session.window_spec
    for window in (window for window in stream.windows if taken.takes(len(window.y))):
        session.restore(window.before)
        frames = window.frames
        y = session.window(frames[0], len(frames)) if taken.held else session.window(frames)
        found = _first("y", window.y, y) or _first_tensor(session.model, window.after, session.snapshot())
        if tally.differs(len(y), f"window at step {window.start}", found, Run("window", window.before, frames)):
            return


def _first_tensor(model: Model, expected: bytes, got: bytes) -> str | None:
    if expected == got:
        return None
    left, right = model.unpack(expected), model.unpack(got)
    return next(filter(None, (_first(name, left[name], right[name]) for name in left)), "padding between tensors")


def _first(name: str, expected: Array, got: Array) -> str | None:
    """Where two arrays differ first, and how."""
    if expected.shape != got.shape:
        return f"{name}: expected shape {expected.shape}, got {got.shape}"
    where = np.argwhere(expected != got)
    if not len(where):
        return None
    index = tuple(int(i) for i in where[0])
    return f"{name}{list(index)}: expected {expected[index]}, got {got[index]} ({len(where)} of {expected.size} differ)"
