from dataclasses import replace

import pytest

import edgesnn as es
from edgesnn.bench.cases import ottt


@pytest.fixture(scope="module")
def data():
    digits = es.data.digits()
    return replace(digits.merged(), validation=digits.test)


def test_a_small_table_is_trained_and_gone_on_with(data, tmp_path):
    runs = {method: ottt.train(method, data, tmp_path, hidden=8, epochs=2) for method in ottt.PAPER}
    measured = ottt.published(runs)
    assert set(measured.figures) == {"bptt", "ottt_a", "ottt_o"}
    assert [(row["method"], row["epoch"]) for row in measured.rows][:3] == [("bptt", 1), ("bptt", 2), ("ottt_a", 1)]
    assert measured.figures["ottt_o"] == pytest.approx(measured.rows[-1]["test_percent"])
    assert all(20 < figure <= 100 for figure in measured.figures.values())
    again = {method: ottt.train(method, data, tmp_path, hidden=8, epochs=2) for method in ottt.PAPER}
    assert again == runs  # read, not trained again: the seconds are the same


def test_the_rules_are_those_of_the_paper():
    assert [ottt.rule(method).config() for method in ottt.PAPER] == [
        {"kind": "bptt", "mse": 0.05},
        {"kind": "ottt", "update": "accumulate", "mse": 0.05},
        {"kind": "ottt", "update": "online", "mse": 0.05},
    ]
