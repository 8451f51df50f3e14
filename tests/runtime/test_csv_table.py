"""CSV as numbers where every value must be there, as for training."""

from __future__ import annotations

import pytest

from edgesnn.errors import DataError
from edgesnn.runtime.csv_table import CsvTable


@pytest.mark.parametrize(
    ("cells", "expected", "got"),
    [
        ("3,nan", "a finite number in column 'y'", "nan"),
        ("-inf,3", "a finite number in column 'x'", "-inf"),
        ("1,1e300", "a value within float32 in column 'y'", "1e300"),
        ("-3.5e38,1", "a value within float32 in column 'x'", "-3.5e38"),
        ("1,", "a number in column 'y'", "''"),
    ],
)
def test_a_missing_value_is_refused_by_line(cells: str, expected: str, got: str) -> None:
    with pytest.raises(DataError, match=f"^table, line 3: expected {expected}, got {got};"):
        list(CsvTable(["x,y\n", "1,2\n", f"{cells}\n"], "table"))


def test_time_is_no_channel() -> None:
    table = CsvTable(["t,x,label\n", "0.5,2,walk\n"], "table")
    assert table.channels == ("x",)
    [row] = table
    assert (row.values, row.label, row.time) == ([2.0], "walk", 0.5)
