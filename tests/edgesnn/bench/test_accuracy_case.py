"""The table of accuracies: its rows, and that finished cells are kept."""

import json

import pytest

from edgesnn.bench.cases import accuracy

TASKS = (accuracy.Task("digits", (4,), steps=2, epochs=1, lr=1e-2, images=64),)
RULES = {name: accuracy.RULES[name] for name in ("SLTT-1", "DSR")}


def test_a_table_of_cells_that_are_kept(tmp_path, monkeypatch):
    table = accuracy.measure(tmp_path, TASKS, RULES, (0, 1))
    rows = {(row["rule"], row["kind"]): row for row in table}
    assert len(rows) == 4
    row = rows["SLTT-1", "EM-PF binary"]
    assert row["percent_mean"] == pytest.approx(sum(row["percents"]) / 2)
    assert row["percent_spread"] == pytest.approx(abs(row["percents"][0] - row["percents"][1]) / 2**0.5)
    assert "expected LIF or IF" in rows["DSR", "EM-PF binary"]["refused"]
    files = sorted(tmp_path.iterdir())
    assert len(files) == 8
    assert json.loads(files[0].read_text())["settings"]["data"] == "digits"
    monkeypatch.setattr(accuracy, "_cell", None)  # nothing is trained again
    assert accuracy.measure(tmp_path, TASKS, RULES, (0, 1)) == table


def test_every_cell_of_the_published_table_has_a_network():
    for name in accuracy.RULES:
        assert accuracy.RULES[name]["kind"] in ("bptt", "sltt", "ottt", "dsr", "ttlbp")
    settings = {"data": "digits", "sizes": [4, 4], "kind": accuracy.KINDS["EM-PF binary"], "seed": 0}
    net = accuracy.network(settings, accuracy.load_data(TASKS[0]))
    assert net.config["weights"] == "binary"
