"""CSV as a stream: rows, labels of their own or of the seconds before, time stamps, missing values."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from toy import CLASSES

from edgesnn.errors import DataError
from edgesnn.runtime.model import Array
from edgesnn.runtime.sources import Label, Row, array_rows, csv_file_rows, csv_rows


def read(text: str, channels: int = 2) -> list[Row | Label]:
    return list(csv_rows(io.StringIO(text), channels, CLASSES))


def test_csv_reads_names_indices_and_blanks_with_the_label_column_anywhere() -> None:
    rows = read("x,Label,y\n1,walk,2\n\n-3.5,2,4e1\n5, ,6\n")
    assert rows == [Row([1.0, 2.0], 1), Row([-3.5, 40.0], 2), Row([5.0, 6.0], None)]


def test_a_file_with_a_byte_order_mark_reads_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbflabel,x,y\r\nrun,1,2\r\n")
    assert list(csv_file_rows(tmp_path / "a.csv", 2, CLASSES)) == [Row([1.0, 2.0], 2)]


@pytest.mark.parametrize(
    ("text", "place", "expected", "got"),
    [
        ("", "line 1", "header", "nothing"),
        ("1,2\n3,4\n", "line 1", "header", "1,2"),
        ("x,y,z\n", "line 1", "2 channels", "3"),
        ("x,y,label,label\n", "line 1", "distinct column names, one of them 'label' or none", "x, y, label, label"),
        ("x,y\n1,2\n1\n", "line 3", "2 columns", "1"),
        ("x,y\n1,2,3\n", "line 2", "2 columns", "3"),
        ("x,y\n1,2\n3,4\nfive,6\n", "line 4", "a number in column 'x'", "'five'"),
        ("x,y\n1,1_0\n", "line 2", "a number in column 'y'", "'1_0'"),
        ("x,y\n1,\u0661\n", "line 2", "a number in column 'y'", "'\u0661'"),
        ("x,y,label\n1,2,3\n", "line 2", "label 0 to 2", "'3'"),
        ("x,y,label\n1,2,-1\n", "line 2", "label 0 to 2", "'-1'"),
        ("x,y,label\n1,2,swim\n", "line 2", "rest, walk, run", "'swim'"),
        ("t,time,x,y\n", "line 1", "distinct column names", "t, time, x, y"),
        ("x,y,label_seconds\n", "line 1", "a column 'label' beside 'label_seconds'", "none"),
        ("t,x,y\n0,1,2\nnan,1,2\n", "line 3", "finite number in column 't'", "nan"),
        ("t,x,y\nnoon,1,2\n", "line 2", "a number in column 't'", "'noon'"),
        ("x,y,label,label_seconds\n1,2,walk,-3\n", "line 2", "0 or more in column 'label_seconds'", "-3"),
        ("x,y,label,label_seconds\n1,2,walk,inf\n", "line 2", "finite number in column 'label_seconds'", "inf"),
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
        list(csv_rows(io.StringIO(f"{header}\n1,2\n"), 2, CLASSES, names=("x", "y")))
    assert len(list(csv_rows(io.StringIO("x,label,y\n1,,2\n"), 2, CLASSES, names=("x", "y")))) == 1


def test_rows_before_a_malformed_line_are_delivered() -> None:
    rows = csv_rows(io.StringIO("x,y\n1,2\nbad\n"), 2, CLASSES)
    assert next(rows).values == [1.0, 2.0]
    with pytest.raises(DataError, match="line 3"):
        next(rows)


@pytest.mark.parametrize("content", [b"x,y\n1,\xff\xfe\n", b"x,y\n1,2\x00\n"])
def test_a_file_that_is_not_text_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.csv, line 2: expected") as caught:
        list(csv_file_rows(tmp_path / "a.csv", 2, CLASSES))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_a_file_that_cannot_be_opened_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="expected a readable CSV file"):
        next(csv_file_rows(tmp_path / name, 2, CLASSES))


def test_array_rows_carry_labels_and_treat_minus_one_as_unknown() -> None:
    rows = list(array_rows(np.arange(4.0).reshape(2, 2), [-1, 2]))
    assert [(list(row.values), row.label) for row in rows] == [([0.0, 1.0], None), ([2.0, 3.0], 2)]
    assert [row.label for row in array_rows(np.zeros((3, 2)))] == [None] * 3


@pytest.mark.parametrize(("values", "labels"), [(np.zeros(4), None), (np.zeros((4, 2)), [0, 1])])
def test_array_rows_refuse_wrong_shapes(values: Array, labels: list[int] | None) -> None:
    with pytest.raises(DataError, match="stream: expected"):
        list(array_rows(values, labels))


@pytest.mark.parametrize("cell", ["", "nan", "-inf", "1e300", " "])
def test_a_cell_without_a_usable_number_is_a_missing_value(cell: str) -> None:
    [row] = read(f"x,y\n{cell},2\n")
    assert isinstance(row, Row)
    assert math.isnan(row.values[0])
    assert row.values[1] == 2


@pytest.mark.parametrize("header", ["Time,x,y", "x,T,y", "x,y,t"])
def test_a_column_of_time_stamps_stands_anywhere_and_may_be_empty(header: str) -> None:
    at = [name.lower()[0] == "t" for name in header.split(",")].index(True)
    lines = [["1", "2"], ["3", "4"]]
    for cells, stamp in zip(lines, ["1.5", ""], strict=True):
        cells.insert(at, stamp)
    rows = read("\n".join([header, *map(",".join, lines)]))
    assert rows == [Row([1.0, 2.0], None, 1.5), Row([3.0, 4.0], None, None)]


def test_a_channel_of_the_model_is_never_taken_for_a_time_or_a_label() -> None:
    rows = list(csv_rows(io.StringIO("t,label\n1,2\n"), 2, CLASSES, names=("t", "label")))
    assert rows == [Row([1.0, 2.0])]


def test_a_label_of_the_last_seconds_follows_its_row_or_stands_alone() -> None:
    rows = read("t,x,y,label,label_seconds\n1,1,2,walk,2.5\n2,,,run,4\n3,1,2,rest,0\n4,1,2,rest,\n5,1,2,,9\n")
    assert rows == [
        Row([1.0, 2.0], None, 1.0), Label(1, 2.5, 1.0), Label(2, 4.0, 2.0),
        Row([1.0, 2.0], 0, 3.0), Row([1.0, 2.0], 0, 4.0), Row([1.0, 2.0], None, 5.0),
    ]  # fmt: skip


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_a_label_of_no_span_is_refused(seconds: float) -> None:
    with pytest.raises(DataError, match="span of more than 0 seconds"):
        Label(1, seconds)
