"""The live view, drawn on a console that records."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from edgesnn.cli.live_view import REFRESH_SECONDS, LiveView, confidence
from edgesnn.cli.stream_output import summary, troubles
from edgesnn.runtime.stream import Counts, Decision


class Clock:
    """Seconds that pass when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def decision(step: int, logits: list[int]) -> Decision:
    return Decision(step=step, seconds=step / 10, decision=0, name="walk", logits=logits)


def recorded(view: LiveView, shown: Decision) -> str:
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(view.render(shown))
    return console.export_text()


def test_confidence_is_the_softmax_and_its_lead() -> None:
    sure, lead = confidence([0, 2048, 1024])
    weights = [math.exp(-2), 1.0, math.exp(-1)]
    assert sure == pytest.approx(1 / sum(weights))
    assert lead == pytest.approx((1 - weights[2]) / sum(weights))
    assert confidence([-(2**23), 2**23 - 1]) == (1.0, 1.0)
    assert confidence([5]) == (1.0, 1.0)


def test_the_view_says_class_confidence_accuracy_and_what_went_wrong() -> None:
    counts = Counts(rows=1234, labelled=10, correct=9, gaps=2, missing=3)
    counts.lost["dropped"] = 40
    text = recorded(LiveView(Console(), counts), decision(12, [3000, 0, 0]))
    for part in (
        "walk",
        "90%",
        "margin 86%",
        "1.2 s",
        "1,234 rows",
        "accuracy 0.900 of 10",
        "2 gaps",
        "40 rows dropped",
    ):
        assert part in text


def test_a_stream_without_labels_and_troubles_says_so() -> None:
    text = recorded(LiveView(Console(), Counts(rows=5)), decision(1, [1, 0]))
    assert "accuracy" not in text
    assert "no drops, no gaps" in text


def test_the_view_is_drawn_a_few_times_a_second_however_fast_the_stream() -> None:
    counts, clock = Counts(), Clock()
    console = Console(force_terminal=True, width=100)
    with console.capture() as capture, LiveView(console, counts, clock) as view:
        for step in range(100):
            clock.now += REFRESH_SECONDS / 10
            counts.rows += 1
            view.show(decision(step, [step, 0]))
    drawn = capture.get()
    assert 10 <= drawn.count("margin") <= 12
    assert "40.0 rows/s" in drawn  # ten rows each quarter of a second
    assert "100 rows" in drawn  # the last state stays


def test_the_summary_is_one_line_of_what_happened() -> None:
    counts = Counts(rows=2000, decisions=500, labelled=4, correct=3, learned=4, short=1)
    counts.lost["silence"] = 9
    assert summary(counts) == (
        "2,000 rows, 500 decisions, accuracy 0.750 of 4 labelled, 4 learning steps; "
        "1 late labels beyond the steps kept, 9 rows of silence"
    )
    assert troubles(Counts(rows=10)) == []
    assert summary(Counts(rows=10, decisions=2)) == "10 rows, 2 decisions"
