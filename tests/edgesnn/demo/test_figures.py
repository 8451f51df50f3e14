"""The figures of the demo's report, on outcomes made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from toy import make_model

from edgesnn.adaptation.protocol import Outcome, Segment, User
from edgesnn.demo import figures
from edgesnn.quant.health import LayerHealth
from edgesnn.report.schema import BitExact, Confusion, Person, Timeline
from edgesnn.runtime.guard import Guard
from edgesnn.runtime.verify import Check


def outcome(person, labels, before, learned, guard=None):
    """Recordings of one frame each, all of them scored."""
    before, learned = np.array(before), np.array(learned)
    user = User(person, [Segment(np.zeros((1, 1), np.int8), int(label)) for label in labels])
    return Outcome(user, before, learned, before if guard and not guard.used else learned, guard, 0.5)


#: Person 9 gets better and keeps it (3 of 6 -> 5 of 6); person 10 gets worse and is rolled back (3 of 4 -> 1 of 4).
OUTCOMES = [
    outcome(9, [0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 0], [0, 0, 1, 1, 2, 1], Guard(8, 6, 2, True)),
    outcome(10, [2, 2, 0, 0], [2, 2, 0, 1], [1, 2, 1, 1], Guard(8, 2, 4, False)),
]


def test_accuracy_counts_every_scored_step_alike():
    assert figures.device_accuracy(OUTCOMES, "before") == 6 / 10
    assert figures.device_accuracy(OUTCOMES, "learned") == 6 / 10
    assert figures.device_accuracy(OUTCOMES, "after") == 8 / 10


def test_the_majority_is_the_best_constant_decision():
    """Labels 0 0 1 1 2 2 and 2 2 0 0: class 0 and class 2 four times each."""
    assert figures.majority(OUTCOMES) == 4 / 10
    assert figures.majority(OUTCOMES[:1]) == 2 / 6


def test_people():
    assert figures.people(OUTCOMES) == [
        {"person": 9, "steps": 6, "before": 3 / 6, "learned": 5 / 6, "after": 5 / 6, "check_fixed": 0.25,
         "check_learned": 0.75, "kept": True},
        {"person": 10, "steps": 4, "before": 3 / 4, "learned": 1 / 4, "after": 3 / 4, "check_fixed": 0.75,
         "check_learned": 0.5, "kept": False},
    ]  # fmt: skip
    assert [Person.model_validate(row).kept for row in figures.people(OUTCOMES)] == [True, False]


def test_confusion_is_of_what_was_kept():
    found = figures.confusion(OUTCOMES, ["a", "b", "c"])
    assert found == {"labels": ["a", "b", "c"], "matrix": [[3, 1, 0], [0, 2, 0], [0, 1, 3]]}
    assert np.sum(Confusion.model_validate(found).matrix) == 10


def test_a_class_that_never_comes_has_its_row():
    assert figures.confusion(OUTCOMES, list("abcd"))["matrix"][3] == [0, 0, 0, 0]


def test_the_timeline_is_a_mean_over_the_last_minute():
    """A step every 20 s: three steps a minute, over both people, from the first whole minute on."""
    found = figures.timeline(OUTCOMES, step_seconds=20.0)
    right = {
        "before": [1, 0, 1, 0, 1, 0, 1, 1, 1, 0],
        "after": [1, 1, 1, 1, 1, 0, 1, 1, 1, 0],
    }
    assert found["seconds"] == [20.0 * i for i in range(2, 10)]
    for which, values in right.items():
        assert found[which] == pytest.approx([sum(values[i - 2 : i + 1]) / 3 for i in range(2, 10)])
    Timeline.model_validate(found)


def test_the_timeline_has_at_most_so_many_points_and_both_ends():
    labels = np.zeros(5000, int)
    right = outcome(1, labels, labels, labels)
    found = figures.timeline([right], step_seconds=0.08, points=50)
    assert len(found["seconds"]) == 50
    assert found["seconds"][0] == pytest.approx((60 / 0.08 - 1) * 0.08)
    assert found["seconds"][-1] == pytest.approx(4999 * 0.08)
    assert set(found["before"]) == {1.0}


def test_the_timeline_of_a_stream_shorter_than_a_minute_is_its_mean():
    found = figures.timeline(OUTCOMES, step_seconds=1.0)
    assert found == {"seconds": [9.0], "before": [0.6], "after": [0.8]}


def test_bit_exact_tells_the_shortest_comparison_and_what_differed():
    checks = [
        Check("reference", "window", 600, None), Check("ort", "step", 600, None), Check("ort", "learn", 282, None),
        Check("ort", "window", 596, None), Check("native", "step", 17, "step 9: y[1]: expected 3, got 4"),
        Check("native", "learn", 8, None),
    ]  # fmt: skip
    found = figures.bit_exact(checks)
    assert found == {
        "backends": ["reference", "ort", "native"], "steps": 17, "learn_steps": 8, "window_steps": 596, "equal": False,
        "checks": [
            {"backend": "reference", "graph": "window", "compared": 600, "equal": True},
            {"backend": "ort", "graph": "step", "compared": 600, "equal": True},
            {"backend": "ort", "graph": "learn", "compared": 282, "equal": True},
            {"backend": "ort", "graph": "window", "compared": 596, "equal": True},
            {"backend": "native", "graph": "step", "compared": 17, "equal": False},
            {"backend": "native", "graph": "learn", "compared": 8, "equal": True},
        ],
        "differences": ["native step: step 9: y[1]: expected 3, got 4"],
    }  # fmt: skip
    assert not BitExact.model_validate(found).equal
    assert figures.bit_exact(checks[:4])["equal"]
    assert figures.bit_exact(checks[:4])["differences"] == []


def test_spike_rates_belong_to_the_layers_in_order(monkeypatch):
    plain = [{"name": name, "macs": 1} for name in ("linear1", "linear2", "readout")]
    monkeypatch.setattr(figures.collect, "layers", lambda program, work: plain)
    health = [LayerHealth("neuron1", 0.0, 0.0, 0.25), LayerHealth("neuron2", 0.1, 0.0, 0.5)]
    assert figures.layers(None, None, health) == [
        {"name": "linear1", "macs": 1, "spike_rate": 0.25},
        {"name": "linear2", "macs": 1, "spike_rate": 0.5},
        {"name": "readout", "macs": 1, "spike_rate": None},
    ]
    assert [row["spike_rate"] for row in figures.layers(None, None, [])] == [None, None, None]


def test_seconds_of_a_step():
    assert figures.step_seconds(make_model({"length": 16, "hop": 4, "channels": 6}, (96,), rate_hz=50.0)) == 0.08
    assert figures.step_seconds(make_model(None, (3,), rate_hz=10.0)) == 0.1
