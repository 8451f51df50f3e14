from dataclasses import replace

import pytest

import edgesnn as es
from edgesnn.bench.cases import ottt


@pytest.fixture(scope="module")
def data():
    digits = es.data.digits()
    return replace(digits.merged(), validation=digits.test)


def test_a_small_table_is_trained_and_gone_on_with(data, tmp_path):
    cells = [(method, seed) for method in ottt.PAPER for seed in (3, 4)]
    runs = {cell: ottt.train(cell[0], data, tmp_path, cell[1], hidden=8, epochs=2) for cell in cells}
    measured = ottt.published(runs)
    assert set(measured.figures) == {key for method in ottt.PAPER for key in (method, f"{method}_spread")}
    rows = [(row["method"], row["seed"], row["epoch"]) for row in measured.rows]
    assert rows == [(*cell, epoch) for cell in cells for epoch in (1, 2)]
    last = [row["test_percent"] for row in measured.rows if row["method"] == "ottt_o" and row["epoch"] == 2]
    assert measured.figures["ottt_o"] == pytest.approx(sum(last) / 2)
    assert measured.figures["ottt_o_spread"] == pytest.approx(abs(last[0] - last[1]) / 2**0.5)
    assert all(20 < measured.figures[method] <= 100 for method in ottt.PAPER)
    again = {cell: ottt.train(cell[0], data, tmp_path, cell[1], hidden=8, epochs=2) for cell in cells}
    assert again == runs  # read, not trained again: the seconds are the same


def test_the_rules_are_those_of_the_paper():
    assert [ottt.rule(method).config() for method in ottt.PAPER] == [
        {"kind": "bptt", "mse": 0.05},
        {"kind": "ottt", "update": "accumulate", "mse": 0.05},
        {"kind": "ottt", "update": "online", "mse": 0.05},
    ]
