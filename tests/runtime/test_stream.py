"""Rows, frames and decisions, against a session whose arithmetic can be done by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from toy import ToySession, make_model

from edgesnn.errors import DataError, StateError
from edgesnn.runtime import state, stream


@pytest.fixture
def session() -> ToySession:
    return ToySession(make_model({"length": 3, "hop": 2, "channels": 2}, (6,)))


def saved_bias(session: ToySession, path: Path) -> list[int]:
    payload = state.load(path, session.model.model_id, session.model.snapshot_bytes).payload
    return [int(value) for value in session.model.unpack(payload)["bias"]]


def no_rows() -> Iterator[stream.Row]:
    raise AssertionError("a row was read")
    yield


def test_run_decides_once_a_frame_and_never_learns(session: ToySession) -> None:
    rows = stream.array_rows(np.arange(12.0).reshape(6, 2), [0, 0, 1, 1, 0, 0])
    decisions = list(stream.run(session, rows))
    assert session.frames == [[0, 1, 2, 3, 4, 5], [4, 5, 6, 7, 8, 9]]
    assert [d.as_json() for d in decisions] == [
        {"step": 0, "seconds": 0.04, "decision": 0, "name": "rest", "logits": [15, 0, 0], "label": 1, "accuracy": 0.0},
        {"step": 1, "seconds": 0.08, "decision": 0, "name": "rest", "logits": [54, 0, 0], "label": 0, "accuracy": 0.5},
    ]
    assert session.bias.tolist() == [0, 0, 0]


def test_adapt_predicts_before_it_learns_and_skips_rows_without_label(session: ToySession) -> None:
    rows = stream.array_rows(np.zeros((9, 2)), [-1, -1, 2, -1, -1, -1, 2, -1, 2])
    decisions = list(stream.adapt(session, rows))
    assert [(d.decision, d.label, d.accuracy) for d in decisions] == [
        (0, 2, 0.0), (2, None, 0.0), (2, 2, 0.5), (2, 2, 2 / 3)
    ]  # fmt: skip
    assert session.bias.tolist() == [0, 0, 3000]


def test_adapt_continues_from_its_state_file_with_membranes_at_rest(session: ToySession, tmp_path: Path) -> None:
    path = tmp_path / "user.state"
    list(stream.adapt(session, stream.array_rows(np.ones((3, 2)), [1, 1, 1]), path))
    again = ToySession(session.model)
    (decision,) = stream.adapt(again, stream.array_rows(np.zeros((3, 2))), path)
    assert decision.logits == [0, 1000, 0]


@pytest.mark.parametrize("stop", [lambda steps: steps.close(), lambda steps: list(steps)])
def test_what_was_learned_before_a_stream_broke_off_is_saved(
    session: ToySession, tmp_path: Path, stop: Callable[..., object]
) -> None:
    def broken() -> Iterator[stream.Row]:
        yield from stream.array_rows(np.zeros((3, 2)), [1, 1, 1])
        raise DataError("line 5: bad")

    steps = stream.adapt(session, broken(), tmp_path / "s")
    next(steps)
    with contextlib.suppress(DataError):
        stop(steps)
    assert saved_bias(session, tmp_path / "s") == [0, 1000, 0]


def test_save_every_saves_while_the_stream_goes_on(session: ToySession, tmp_path: Path) -> None:
    steps = stream.adapt(session, stream.array_rows(np.zeros((9, 2)), [1] * 9), tmp_path / "s", save_every=2)
    next(steps), next(steps)
    assert (tmp_path / "s").read_bytes() == b""
    next(steps)
    assert saved_bias(session, tmp_path / "s") == [0, 2000, 0]
    steps.close()


def test_a_state_file_of_something_else_is_refused_before_the_first_row_and_kept(
    session: ToySession, tmp_path: Path
) -> None:
    (tmp_path / "s").write_bytes(b"precious")
    with pytest.raises(StateError, match="choose another path"):
        list(stream.adapt(session, no_rows(), tmp_path / "s"))
    assert (tmp_path / "s").read_bytes() == b"precious"


@pytest.mark.parametrize("place", ["none/s", ".", "file/s"])
def test_a_path_that_takes_no_state_is_refused_before_the_first_row(
    session: ToySession, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="choose another path"):
        list(stream.adapt(session, no_rows(), tmp_path / place))


def test_the_state_file_is_held_until_the_stream_ends(session: ToySession, tmp_path: Path) -> None:
    steps = stream.adapt(session, stream.array_rows(np.zeros((9, 2)), [1] * 9), tmp_path / "s")
    next(steps)
    with pytest.raises(StateError, match="another process"):
        list(stream.adapt(session, no_rows(), tmp_path / "s"))
    steps.close()
    assert saved_bias(session, tmp_path / "s") == [0, 1000, 0]
    assert list(stream.adapt(session, stream.array_rows(np.zeros((3, 2))), tmp_path / "s"))


@pytest.mark.parametrize("content", [b"", bytes(2 * (state.HEADER_BYTES + 16))])
def test_after_a_first_save_that_was_cut_the_factory_model_goes_on(
    session: ToySession, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "s").write_bytes(content)
    lines: list[str] = []
    list(stream.adapt(session, stream.array_rows(np.zeros((3, 2)), [1] * 3), tmp_path / "s", warn=lines.append))
    assert len(lines) == 1
    assert "factory model" in lines[0]
    assert saved_bias(session, tmp_path / "s") == [0, 1000, 0]


def test_a_damaged_slot_is_told(session: ToySession, tmp_path: Path) -> None:
    path = tmp_path / "s"
    for _ in range(2):
        list(stream.adapt(session, stream.array_rows(np.zeros((3, 2)), [1] * 3), path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="slot 1 is damaged"):
        list(stream.adapt(session, stream.array_rows(np.zeros((3, 2))), path))
    assert saved_bias(session, path) == [0, 1000, 0]


@pytest.mark.parametrize("count", [0, 2])
def test_a_stream_shorter_than_a_frame_is_an_error(session: ToySession, count: int) -> None:
    with pytest.raises(DataError, match=f"at least 3 rows for a first frame, got {count}"):
        list(stream.run(session, stream.array_rows(np.zeros((count, 2)))))


def test_an_image_is_shown_for_all_time_steps_from_rest() -> None:
    session = ToySession(make_model(None, (1, 2, 2), time_steps=4, rate_hz=0.0))
    decisions = list(stream.run(session, stream.array_rows(np.ones((2, 4)))))
    assert [d.logits for d in decisions] == [[16, 0, 0]] * 2
    assert decisions[0].as_json() == {"step": 0, "decision": 0, "name": "rest", "logits": [16, 0, 0]}
    assert len(session.frames) == 8
