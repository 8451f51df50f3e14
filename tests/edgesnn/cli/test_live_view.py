"""The live view, drawn on a console that records."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from edgesnn.cli.live_view import LiveView, confidence
from edgesnn.cli.stream_output import summary, troubles
from edgesnn.runtime.guard import Guard
from edgesnn.runtime.stream import Counts, Decision


class Clock:
    """Seconds that pass when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def decision(step: int, logits: list[int]) -> Decision:
    return Decision(step=step, seconds=step / 10, decision=0, name="walk", logits=logits)


def recorded(counts: Counts, shown: Decision | None) -> str:
    console = Console(record=True, width=100, file=io.StringIO())
    view = LiveView(console, counts, Clock())
    if shown:
        view.show(shown)
    console.print(view.render())
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
    text = recorded(counts, decision(12, [3000, 0, 0]))
    said = ("walk", "90%", "margin 86%", "1.2 s", "1,234 rows", "accuracy 0.900 of 10", "gaps 2", "rows dropped 40")
    for part in said:
        assert part in text


def test_the_view_and_the_summary_say_what_the_guard_saw() -> None:
    words = "guard: factory 0.750, learned 0.900 of 80 steps compared, the learned model decides"
    counts = Counts(rows=9, decisions=4, guard=Guard(80, 20, 8, True))
    assert words in recorded(counts, decision(1, [1, 0]))
    assert summary(counts) == f"9 rows, 4 decisions; {words}"


def test_a_stream_without_labels_and_troubles_says_so() -> None:
    text = recorded(Counts(rows=5), decision(1, [1, 0]))
    assert "accuracy" not in text
    assert "no drops, no gaps" in text


def test_before_the_first_frame_the_view_counts_rows() -> None:
    text = recorded(Counts(rows=5), None)
    assert "waiting for the first frame" in text
    assert "5 rows" in text


def test_rows_a_second_are_those_of_the_last_seconds_and_none_in_a_silence() -> None:
    counts, clock = Counts(), Clock()
    console = Console(record=True, width=100, file=io.StringIO())
    view = LiveView(console, counts, clock)
    for rows, seconds in ((50, 1.0), (90, 2.0), (99, 0.5), (99, 0.5), (99, 4.0)):
        counts.rows = rows
        clock.now += seconds
        console.print(view.render())
    rates = [line.split("rows")[1].strip() for line in console.export_text().splitlines() if "rows/s" in line]
    assert rates == ["50.0", "20.0", "20.0", "9.0", "0.0"]


def test_the_last_state_stays_on_a_terminal_and_in_a_file() -> None:
    for terminal in (True, False):
        console = Console(force_terminal=terminal, width=100, file=io.StringIO())
        counts = Counts()
        with LiveView(console, counts) as view:
            counts.rows = 100
            view.show(decision(7, [5, 0]))
        assert isinstance(console.file, io.StringIO)
        drawn = console.file.getvalue()
        assert "100 rows" in drawn
        assert "walk" in drawn
        assert drawn.replace("\x1b[?25h", "").endswith("\n")


def test_the_summary_is_one_line_of_what_happened() -> None:
    counts = Counts(rows=2000, decisions=500, labelled=4, correct=3, learned=4, short=1)
    counts.lost["silence"] = 9
    assert summary(counts) == (
        "2,000 rows, 500 decisions, accuracy 0.750 of 4 labelled, 4 learning steps; "
        "late labels beyond the steps kept 1, rows of silence 9"
    )
    assert troubles(Counts(rows=10)) == []
    assert summary(Counts(rows=10, decisions=2)) == "10 rows, 2 decisions"
