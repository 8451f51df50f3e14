"""Figures of papers that our shapes reproduce."""

import pytest

from edgesnn.bench.cases.paper import paper_macs, paper_params


def test_parameters_of_empf_table_2():
    measured = paper_params()
    assert set(measured.figures) == {"max_error", "ours_over_paper"}
    assert measured.figures["max_error"] < 0.01
    assert measured.figures["ours_over_paper"] == pytest.approx(0.57, abs=0.01)
    assert len(measured.rows) == 7


def test_multiply_accumulates_of_ttlbp():
    measured = paper_macs()
    assert set(measured.figures) == {"lenet1", "lenet2", "alexnet"}
    assert measured.figures["lenet1"] == pytest.approx(0.72, abs=0.005)
    assert int(100 * measured.figures["lenet2"]) == int(100 * measured.figures["alexnet"]) == 99
