"""Rows, frames and decisions, against a session whose arithmetic can be done by hand."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import CLASSES, ToySession, make_model

from edgesnn.errors import DataError, StateError
from edgesnn.runtime import state, stream
from edgesnn.runtime.model import Array


@pytest.fixture
def session() -> ToySession:
    return ToySession(make_model({"length": 3, "hop": 2, "channels": 2}, (6,)))


def saved_bias(session: ToySession, path: Path) -> list[int]:
    payload = state.load(path, session.model.model_id, session.model.snapshot_bytes).payload
    return [int(value) for value in session.model.unpack(payload)["bias"]]


def no_rows() -> Iterator[stream.Row]:
    raise AssertionError("a row was read")
    yield


def read(text: str, channels: int = 2) -> list[stream.Row]:
    return list(stream.csv_rows(io.StringIO(text), channels, CLASSES))


def test_csv_reads_names_indices_and_blanks_with_the_label_column_anywhere() -> None:
    rows = read("x,Label,y\n1,walk,2\n\n-3.5,2,4e1\n5, ,6\n")
    assert rows == [stream.Row([1.0, 2.0], 1), stream.Row([-3.5, 40.0], 2), stream.Row([5.0, 6.0], None)]


def test_a_file_with_a_byte_order_mark_reads_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbflabel,x,y\r\nrun,1,2\r\n")
    assert list(stream.csv_file_rows(tmp_path / "a.csv", 2, CLASSES)) == [stream.Row([1.0, 2.0], 2)]


@pytest.mark.parametrize(
    ("text", "place", "expected", "got"),
    [
        ("", "line 1", "header", "nothing"),
        ("1,2\n3,4\n", "line 1", "header", "1,2"),
        ("x,y,z\n", "line 1", "2 channels", "3"),
        ("x,y,label,label\n", "line 1", "distinct column names, one of them 'label' or none", "x, y, label, label"),
        ("x,y\n1,2\n1\n", "line 3", "2 columns", "1"),
        ("x,y\n1,2,3\n", "line 2", "2 columns", "3"),
        ("x,y\n1,2\n3,nan\n", "line 3", "finite number in column 'y'", "nan"),
        ("x,y\n1,-inf\n", "line 2", "finite number in column 'y'", "-inf"),
        ("x,y\n1,2\n3,4\nfive,6\n", "line 4", "a number in column 'x'", "'five'"),
        ("x,y\n1,1e300\n", "line 2", "a value within float32 in column 'y'", "1e300"),
        ("x,y\n-3.5e38,1\n", "line 2", "a value within float32 in column 'x'", "-3.5e38"),
        ("x,y\n1,1_0\n", "line 2", "a number in column 'y'", "'1_0'"),
        ("x,y\n1,\u0661\n", "line 2", "a number in column 'y'", "'\u0661'"),
        ("x,y\n1,\n", "line 2", "a number in column 'y'", "''"),
        ("x,y,label\n1,2,3\n", "line 2", "label 0 to 2", "'3'"),
        ("x,y,label\n1,2,-1\n", "line 2", "label 0 to 2", "'-1'"),
        ("x,y,label\n1,2,swim\n", "line 2", "rest, walk, run", "'swim'"),
    ],
)
def test_a_malformed_line_is_named_in_one_line(text: str, place: str, expected: str, got: str) -> None:
    with pytest.raises(DataError) as caught:
        read(text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"stream, {place}: expected ")
    assert expected in message
    assert f"got {got}" in message or f"got '{got}'" in message


@pytest.mark.parametrize("header", ["y,x", "x,z", "X,y"])
def test_channels_must_have_the_names_and_the_order_of_the_model(header: str) -> None:
    """A swapped axis gives no error in numbers, only wrong decisions."""
    with pytest.raises(
        DataError, match=f"line 1: expected the channels x, y, in this order, got {header.replace(',', ', ')};"
    ):
        list(stream.csv_rows(io.StringIO(f"{header}\n1,2\n"), 2, CLASSES, names=("x", "y")))
    assert len(list(stream.csv_rows(io.StringIO("x,label,y\n1,,2\n"), 2, CLASSES, names=("x", "y")))) == 1


def test_rows_before_a_malformed_line_are_delivered() -> None:
    rows = stream.csv_rows(io.StringIO("x,y\n1,2\nbad\n"), 2, CLASSES)
    assert next(rows).values == [1.0, 2.0]
    with pytest.raises(DataError, match="line 3"):
        next(rows)


@pytest.mark.parametrize("content", [b"x,y\n1,\xff\xfe\n", b"x,y\n1,2\x00\n"])
def test_a_file_that_is_not_text_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.csv, line 2: expected") as caught:
        list(stream.csv_file_rows(tmp_path / "a.csv", 2, CLASSES))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_a_file_that_cannot_be_opened_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="expected a readable CSV file"):
        next(stream.csv_file_rows(tmp_path / name, 2, CLASSES))


def test_array_rows_carry_labels_and_treat_minus_one_as_unknown() -> None:
    rows = list(stream.array_rows(np.arange(4.0).reshape(2, 2), [-1, 2]))
    assert [(list(row.values), row.label) for row in rows] == [([0.0, 1.0], None), ([2.0, 3.0], 2)]
    assert [row.label for row in stream.array_rows(np.zeros((3, 2)))] == [None] * 3


@pytest.mark.parametrize(("values", "labels"), [(np.zeros(4), None), (np.zeros((4, 2)), [0, 1])])
def test_array_rows_refuse_wrong_shapes(values: Array, labels: list[int] | None) -> None:
    with pytest.raises(DataError, match="stream: expected"):
        list(stream.array_rows(values, labels))


@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 3), st.integers(0, 40))
def test_a_frame_is_the_last_rows_flattened_one_every_hop(length: int, hop: int, channels: int, count: int) -> None:
    model = make_model({"length": length, "hop": hop, "channels": channels}, (length * channels,))
    rows = np.arange(count * channels, dtype=float).reshape(count, channels)
    framer = stream.Framer(model)
    frames = [frame for frame in map(framer.push, rows) if frame is not None]
    expected = [rows[end - length : end].ravel() for end in range(length, count + 1, hop)]
    assert [frame.tolist() for frame in frames] == [frame.tolist() for frame in expected]


def test_the_framer_refuses_a_row_of_another_width(session: ToySession) -> None:
    with pytest.raises(DataError, match="expected 2 channels"):
        stream.Framer(session.model).push([1.0, 2.0, 3.0])


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
