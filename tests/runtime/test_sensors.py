"""Values that are missing, saturated or do not move."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import make_model

from edgesnn.errors import DataError
from edgesnn.runtime.model import Model
from edgesnn.runtime.sensors import Checked, Sensors

NAN = math.nan


@pytest.fixture
def model() -> Model:
    """Channels `a` and `b` of mean 10 and 20, deviation 2 and 4; one unit of the integers is half a deviation."""
    model = make_model({"length": 3, "hop": 2, "channels": 2}, (6,))
    model.channels = ("a", "b")
    model.input = dataclasses.replace(model.input, mean=(10.0, 20.0), std=(2.0, 4.0), scale=0.5)
    return model


def test_a_missing_value_is_the_last_one_or_the_mean_before_there_is_one(model: Model) -> None:
    sensors = Sensors(model, gap_rows=5, stuck_rows=0)
    rows = [[NAN, 1.0], [3.0, math.inf], [NAN, 2.0], [-1e39, 4.0]]
    checked = [sensors.check(row) for row in rows]
    assert [row.values.tolist() for row in checked if row.values is not None] == [
        [10.0, 1.0], [3.0, 1.0], [3.0, 2.0], [3.0, 4.0]
    ]  # fmt: skip
    assert [row.missing for row in checked] == [1, 1, 1, 1]


def test_a_row_without_any_value_is_none(model: Model) -> None:
    assert Sensors(model, 5, 0).check([NAN, -math.inf]) == Checked(None, missing=2, saturated=0)


def test_a_silent_channel_goes_to_its_mean_and_comes_back(model: Model) -> None:
    sensors = Sensors(model, gap_rows=2, stuck_rows=0)
    told, seen = [], []
    for at, first in enumerate([3.0, NAN, NAN, NAN, NAN, 4.0]):
        row = sensors.check([first, float(at)])
        assert row.values is not None
        seen.append(row.values[0])
        told.append((list(sensors.changes()), sensors.healthy))
    assert seen == [3.0, 3.0, 3.0, 10.0, 10.0, 4.0]
    assert told == [
        ([], True), ([], True), ([], True), ([("a", "silent")], False), ([], False), ([("a", "recovered")], True)
    ]  # fmt: skip


def test_a_stuck_channel_is_told_once_and_until_it_moves(model: Model) -> None:
    sensors = Sensors(model, 5, stuck_rows=2)
    buffer = np.zeros(2)  # which a driver fills again and again
    told = []
    for at, second in enumerate([7.0, 7.0, 7.0, 7.0, 8.0]):
        buffer[:] = at, second
        sensors.check(buffer)
        told.append((list(sensors.changes()), sensors.healthy))
    assert told == [
        ([], True), ([], True), ([], True), ([("b", "stuck")], False), ([("b", "recovered")], True)
    ]  # fmt: skip


def test_a_channel_may_be_constant_where_nothing_is_ever_stuck(model: Model) -> None:
    sensors = Sensors(model, 5, stuck_rows=0)
    for _ in range(1000):
        sensors.check([1.0, 2.0])
        assert not list(sensors.changes())


@given(st.integers(-528, 528), st.sampled_from([-(2**20), -516, -515, -514, -513, 507, 508, 509, 510, 511, 2**20]))
def test_saturated_is_what_the_integers_of_the_input_cannot_say(first: int, second: int) -> None:
    """Values at every quarter of an integer, among them those that are rounded up and down at both ends."""
    model = make_model({"length": 1, "hop": 1, "channels": 2}, (2,))
    model.input = dataclasses.replace(model.input, mean=(10.0, 20.0), std=(2.0, 4.0), scale=0.25)
    values = np.array([10, 20]) + np.array([2, 4]) * 0.25 * np.array([first, second]) / 4
    wanted = np.rint((values - [10, 20]) / [2, 4] / 0.25)
    clipped = int(np.count_nonzero(wanted != model.quantize(values)))
    assert Sensors(model, 5, 0).check(values).saturated == clipped


def test_statistics_of_an_image_are_those_of_its_first_axis() -> None:
    model = make_model(None, (2, 1, 2))
    model.input = dataclasses.replace(model.input, mean=(0.0, 1000.0), std=(1.0, 1.0), scale=1.0)
    checked = Sensors(model, 5, 0).check([NAN, 500.0, 1000.0, 0.0])
    assert checked.values is not None
    assert checked.values.tolist() == [0.0, 500.0, 1000.0, 0.0]
    assert checked.saturated == 2


@pytest.mark.parametrize("row", [[1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]]])
def test_a_row_of_another_width_is_refused(model: Model, row: list[float]) -> None:
    with pytest.raises(DataError, match="expected 2 channels, got shape"):
        Sensors(model, 5, 0).check(row)
