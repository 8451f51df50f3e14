"""`edgesnn adapt` and `edgesnn run` of a model that learns class means behind a guard."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import Command
from tiny_run import exported, movements, write_stream

from edgesnn.runtime import state


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stream(tmp_path_factory.mktemp("guarded") / "user.csv", movements(4, rounds=2))


def test_adapt_says_what_the_guard_saw_and_run_decides_by_it(edgesnn: Command, labelled: Path, tmp_path: Path) -> None:
    model, path = exported("means").path, tmp_path / "user.state"
    adapted = edgesnn("adapt", model, "--source", labelled, "--state", path)
    said = re.fullmatch(
        r"edgesnn: 960 rows, 479 decisions, accuracy 0\.\d+ of 479 labelled, 479 learning steps; guard: factory "
        r"(0\.\d+), learned (0\.\d+) of (\d+) steps compared, the learned model decides\n",
        adapted.err,
    )
    assert said is not None
    events = [line for line in map(json.loads, adapted.out.splitlines()) if "event" in line]
    assert [(event["event"], event["decides"]) for event in events] == [("guard", "learned")]
    learned, factory = (
        json.loads(edgesnn("run", model, "--source", labelled, *flags).out.splitlines()[-1])["accuracy"]
        for flags in (("--state", path), ())
    )
    assert learned > factory


def test_before_anything_is_compared_adapt_says_so(edgesnn: Command, labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "short.csv").write_text("".join(labelled.read_text().splitlines(keepends=True)[:20]))
    outcome = edgesnn("adapt", exported("means").path, "--source", tmp_path / "short.csv")
    assert outcome.err.endswith("; guard: no steps compared, the factory model decides\n")


def test_the_live_view_shows_the_guard(edgesnn: Command, labelled: Path) -> None:
    drawn = edgesnn("adapt", exported("means").path, "--source", labelled, "--live").err
    shown = " ".join(drawn.split())  # lines of the view may be broken
    assert shown.count("steps compared, the learned model decides") == 2  # the view, and the line of totals


@pytest.mark.parametrize("content", [None, b"", b"something else"])
def test_run_with_a_state_that_holds_none_is_one_line(
    edgesnn: Command, labelled: Path, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "s").write_bytes(content)
    outcome = edgesnn("run", exported("means").path, "--source", labelled, "--state", tmp_path / "s")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)


def test_run_tells_of_a_damaged_slot(edgesnn: Command, labelled: Path, tmp_path: Path) -> None:
    model = exported("means")
    for _ in range(2):
        state.save(tmp_path / "s", model.model_id, model.pack(model.factory))
    (tmp_path / "s").write_bytes((tmp_path / "s").read_bytes()[:-1])
    outcome = edgesnn("run", model.path, "--source", labelled, "--state", tmp_path / "s")
    assert outcome.status == 0
    assert "slot 1 is damaged" in outcome.err
