"""Serial lines: whatever comes, back in step at the next newline."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import make_model

from edgesnn.errors import DataError
from edgesnn.runtime.model import Model
from edgesnn.runtime.sources import Item, Label, Lost, Row
from edgesnn.runtime.sources.serial_lines import MAX_HOPELESS_LINES, MAX_LINE_BYTES, TELL_GARBAGE, LineParser, lines_of


@pytest.fixture
def model() -> Model:
    model = make_model({"length": 3, "hop": 2, "channels": 2}, (6,))
    model.channels = ("x", "y")
    return model


def parsed(model: Model, data: bytes, *columns: str) -> list[Item]:
    return list(LineParser(model, columns, "port").items(lines_of([data])))


@given(st.binary(max_size=60), st.lists(st.integers(0, 60)))
def test_chunks_of_any_size_give_the_same_lines(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(data)]
    chunks = [data[start:end] for start, end in pairwise(edges)]
    assert list(lines_of(chunks)) == data.split(b"\n")[:-1]


@pytest.mark.parametrize("chunk", [1000, 10**6])
def test_a_line_that_never_ends_is_one_piece_of_garbage(chunk: int) -> None:
    data = b"ok\n" + b"x" * (5 * MAX_LINE_BYTES) + b"\nagain\n"
    assert list(lines_of(data[at : at + chunk] for at in range(0, len(data), chunk))) == [b"ok", None, b"again"]


def test_without_a_header_the_first_line_may_be_half_a_line(model: Model) -> None:
    assert parsed(model, b"3.5,2\n13.5,2\n1,2\n") == [Row([13.5, 2.0]), Row([1.0, 2.0])]


def test_a_header_names_the_columns_at_any_time(model: Model) -> None:
    data = b"t,x,y\r\n0.5,1,2\r\nt,x,y\r\nx,y,label\r\n3,4,walk\r\n"
    assert parsed(model, data) == [Row([1.0, 2.0], None, 0.5), Row([3.0, 4.0], 1)]


def test_text_is_no_header_of_a_model_without_names_once_there_was_a_row(model: Model) -> None:
    model.channels = ()
    data = b"a,b\n1,2\nboot,ok\na,b\n3,4\n"
    assert parsed(model, data) == [Row([1.0, 2.0]), Lost(1, "garbage"), Row([3.0, 4.0])]


def test_columns_may_be_given(model: Model) -> None:
    data = b"half\n1,2,9,run,0.5\n,,9,run,2\n"
    assert parsed(model, data, "x", "y", "t", "label", "label_seconds") == [
        Row([1.0, 2.0], None, 9.0), Label(2, 0.5, 9.0), Label(2, 2.0, 9.0)
    ]  # fmt: skip


def test_columns_that_are_not_those_of_the_model_are_refused(model: Model) -> None:
    with pytest.raises(DataError, match="port: expected the channels x, y, in this order, got y, x"):
        LineParser(model, ("y", "x"), "port")


@pytest.mark.parametrize("garbage", [b"\xff\xfe\x00,1", b"1", b"1,2,3", b"one,two", b"1,2,", b'"1,2', b"x" * 5000])
def test_garbage_is_dropped_to_the_next_newline_and_counted(model: Model, garbage: bytes) -> None:
    data = b"x,y\n1,2\n" + garbage + b"\n" + garbage + b"\n\n3,4\n"
    assert parsed(model, data) == [Row([1.0, 2.0]), Lost(2, "garbage"), Row([3.0, 4.0])]


def test_a_missing_value_is_no_garbage(model: Model) -> None:
    _, row = parsed(model, b"x,y\n1,2\n,3\n")
    assert isinstance(row, Row)
    assert row.values[1] == 3


def test_endless_garbage_is_told_from_time_to_time(model: Model) -> None:
    data = b"x,y\n1,2\n" + (2 * TELL_GARBAGE + 5) * b"noise\n"
    assert parsed(model, data)[1:] == [Lost(TELL_GARBAGE, "garbage")] * 2


def test_a_port_that_never_says_a_row_is_given_up(model: Model) -> None:
    with pytest.raises(DataError, match=r"^port: expected lines of 2 channels, got 100 other lines") as caught:
        parsed(model, (MAX_HOPELESS_LINES + 1) * b"\x80\xff\n")
    assert "\n" not in str(caught.value)
    assert "baud" in str(caught.value)
