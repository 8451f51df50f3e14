"""`edgesnn run` and `edgesnn adapt` as processes between pipes: signals, readers that leave, files that are wrong."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Command
from random_models import RandomModel, Shape

from edgesnn.cli.termination import Termination
from edgesnn.runtime import state
from edgesnn.runtime.model import Model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes of POSIX")

HEADER, ROW = b"a,b,c,label\n", b"0.5,-1.5,2,1\n"
Process = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A random network that reads one row of three channels as one image."""
    folder = tmp_path_factory.mktemp("streams")
    return RandomModel(Shape((3,), hidden=(("BinaryLinear", 4),), classes=3), seed=5).write(folder, vectors=False)


def command(name: str, model: Model, *flags: object) -> list[str]:
    return [sys.executable, "-c", "from edgesnn.cli import main; main()", name, str(model.path),
            "--backend", "reference", *map(str, flags)]  # fmt: skip


@contextmanager
def piped(*arguments: str) -> Iterator[Process]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, pipesize=4096)  # soon full
    with process:
        try:
            yield process
        finally:
            process.kill()


def feed(process: Process, rows: int, header: bytes = HEADER) -> None:
    """Write rows and read the decision on each."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(header + rows * ROW)
    process.stdin.flush()
    for _ in range(rows):
        assert process.stdout.readline().startswith(b"{")


def learned(model: Model, path: Path) -> int:
    """How many learning steps a saved state has behind it."""
    saved = state.load(path, model.model_id, model.snapshot_bytes).payload
    return int(model.unpack(saved)["learn.count"][0])


def test_term_interrupts_waiting_and_nothing_else() -> None:
    with Termination() as termination:
        items = termination.each([1, 2, 3])
        assert next(items) == 1
        signal.raise_signal(signal.SIGTERM)  # at work on 1: remembered
        with pytest.raises(SystemExit) as ended:
            next(items)
        assert ended.value.code == 143
        signal.raise_signal(signal.SIGTERM)  # on the way out: nothing
    with Termination() as termination, pytest.raises(SystemExit), termination.may_interrupt():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_what_was_learned(model: Model, tmp_path: Path, number: signal.Signals, status: int) -> None:
    path = tmp_path / "user.state"
    with piped(*command("adapt", model, "--state", path)) as process:
        feed(process, 3)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == status
    assert b"Traceback" not in errors
    assert learned(model, path) == 3


def test_a_second_term_changes_nothing_and_a_stopped_reader_does_not_hold_it_up(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "user.state"
    (tmp_path / "s.csv").write_bytes(HEADER + 5000 * ROW)
    with piped(*command("adapt", model, "--state", path, "--save-every", 0, "--source", tmp_path / "s.csv")) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(1)  # the pipe fills, and the process waits in a write
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert state.load(path, model.model_id, model.snapshot_bytes).notice is None


def test_a_kill_costs_no_more_than_the_steps_since_the_last_save(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "user.state"
    with piped(*command("adapt", model, "--state", path)) as process:
        feed(process, 103)
        process.kill()
    assert learned(model, path) == 100


def test_two_processes_do_not_adapt_with_one_file(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "user.state"
    with piped(*command("adapt", model, "--state", path)) as process:
        feed(process, 1)
        second = subprocess.run(command("adapt", model, "--state", path), input=HEADER + ROW, capture_output=True)
        assert second.returncode == 2
        assert second.stdout == b""
        assert second.stderr.count(b"\n") == 1
        assert b"another process" in second.stderr
        feed(process, 1, header=b"")
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert learned(model, path) == 2


def test_a_reader_that_leaves_is_a_normal_end(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "user.state"
    with piped(*command("adapt", model, "--state", path)) as process:
        feed(process, 2)
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(ROW)
        process.stdin.flush()
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == b""
    assert learned(model, path) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("name", ["run", "adapt"])
def test_an_output_that_is_full_is_one_line(model: Model, name: str) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(command(name, model), input=HEADER + ROW, stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 2
    assert ended.stderr.count(b"\n") == 1
    assert ended.stderr.startswith(b"edgesnn: standard output: expected")


def damaged(model: Model) -> bytes:
    slot = state.HEADER_BYTES + model.snapshot_bytes
    return state.encode(model.model_id, 1, model.pack(model.factory)) + b"torn".ljust(slot, b"\0")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda _: b"", b"factory model"),
        (lambda model: damaged(model)[:-1], b"slot 1 is damaged"),
        (damaged, b"slot 1"),
    ],
)
def test_what_was_lost_is_told_and_the_stream_goes_on(
    model: Model, tmp_path: Path, content: Callable[[Model], bytes], words: bytes
) -> None:
    path = tmp_path / "user.state"
    path.write_bytes(content(model))
    ended = subprocess.run(command("adapt", model, "--state", path), input=HEADER + ROW, capture_output=True)
    assert (ended.returncode, ended.stdout.count(b"\n"), ended.stderr.count(b"\n")) == (0, 1, 1)
    assert ended.stderr.startswith(b"edgesnn: ")
    assert words in ended.stderr
    assert learned(model, path) == 1


def test_the_users_data_given_as_a_state_is_refused_before_the_first_row(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "motion.csv"
    path.write_bytes(HEADER + 3 * ROW)
    with piped(*command("adapt", model, "--state", path)) as process:  # nothing is fed
        assert process.wait(timeout=30) == 2
        assert process.stderr is not None
        text = process.stderr.read()
    assert text.count(b"\n") == 1
    assert b"not a state file" in text
    assert b"delete" not in text
    assert path.read_bytes() == HEADER + 3 * ROW


@contextmanager
def serial_line() -> Iterator[tuple[int, str]]:
    """A pseudo-terminal: the end of the device, and the port at the other end as a source."""
    device, port = os.openpty()
    name = os.ttyname(port)
    os.close(port)  # a port that nobody has open hangs up, which shows when somebody opens it
    try:
        yield device, f"serial:{name}"
    finally:
        os.close(device)


def wait_until_opened(device: int) -> None:
    poll = select.poll()
    poll.register(device, 0)
    deadline = time.monotonic() + 30
    while poll.poll(0):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)  # opening ends with dropping what came before


def next_line(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    fields: dict[str, Any] = json.loads(process.stdout.readline())
    return fields


def test_a_serial_port_is_read_past_garbage_until_a_signal(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "user.state"
    with serial_line() as (device, port), piped(*command("adapt", model, "--source", port, "--state", path)) as process:
        wait_until_opened(device)
        os.write(device, HEADER + ROW)
        assert next_line(process)["step"] == 0
        os.write(device, b"\xff\x00,,half a l\n0.5,-1.5\n" + ROW)
        event = next_line(process)
        assert (event["event"], event["rows"]) == ("garbage", 2)
        assert next_line(process)["step"] == 1
        process.send_signal(signal.SIGTERM)  # while it waits for the line
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert re.fullmatch(
        rb"edgesnn: 2 rows, 2 decisions, accuracy [01.50]+ of 2 labelled, 2 learning steps; lines of garbage 2\n",
        errors,
    )
    assert learned(model, path) == 2


def test_a_port_that_goes_away_is_one_line_after_what_it_said(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "user.state"
    with serial_line() as (device, port):
        process = subprocess.Popen(
            command("adapt", model, "--source", port, "--state", path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        wait_until_opened(device)
        os.write(device, HEADER + 3 * ROW)
        for step in range(3):
            assert next_line(process)["step"] == step
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert errors.count(b"\n") == 1
    assert b"expected a port that stays" in errors
    assert learned(model, path) == 3


@pytest.mark.parametrize(
    "flags", [("--on-gap", "jump"), ("--gap-periods", "-1"), ("--late-seconds", "nan"), ("--stuck-seconds", "-2")]
)
def test_a_policy_that_cannot_be_is_one_line_before_anything_is_opened(
    edgesnn: Command, flags: tuple[str, str]
) -> None:
    for command in ("run", "adapt"):
        outcome = edgesnn(command, "no-such-model", *flags)
        assert outcome.status == 2
        assert outcome.err.startswith(f"edgesnn: {flags[0][2:].replace('-', '_')}: expected ")
        assert outcome.err.count("\n") == 1


def test_a_slow_reader_of_a_serial_port_costs_rows_that_are_counted(model: Model) -> None:
    rows = 3000
    with serial_line() as (device, port), piped(*command("run", model, "--source", f"{port}?queue=1")) as process:
        wait_until_opened(device)
        os.write(device, HEADER)
        for _ in range(rows // 100):  # nobody takes the decisions: the pipe fills, then the queue
            os.write(device, 100 * ROW)
            time.sleep(0.005)
        time.sleep(1)
        lines = []
        while not lines or sum(line.get("rows", 1) for line in lines) < rows:
            lines.append(next_line(process))
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    dropped = [line for line in lines if line.get("event") == "dropped"]
    assert dropped
    total = dropped[-1]["total"]
    assert total == sum(line["rows"] for line in dropped)
    assert sum("decision" in line for line in lines) == rows - total
    assert f"rows dropped {total:,}".encode() in errors


def test_after_a_kill_the_rest_of_the_stream_gives_the_state_of_one_run(model: Model, tmp_path: Path) -> None:
    rows = [b"%.2f,%.2f,%.2f,%d\n" % (*np.sin([at, 2 * at, 3 * at]), at % 3) for at in range(30)]
    whole, broken = tmp_path / "whole.state", tmp_path / "broken.state"
    (tmp_path / "all.csv").write_bytes(HEADER + b"".join(rows))
    source = ("--source", tmp_path / "all.csv")
    subprocess.run(command("adapt", model, "--state", whole, *source), check=True, capture_output=True)
    with serial_line() as (device, port):
        line = command("adapt", model, "--source", port, "--state", broken, "--save-every", 10)
        with piped(*line) as process:
            wait_until_opened(device)
            os.write(device, HEADER + b"".join(rows[:25]))
            for _ in range(25):
                next_line(process)
            process.kill()
    saved = learned(model, broken)
    assert saved == 20
    (tmp_path / "rest.csv").write_bytes(HEADER + b"".join(rows[saved:]))
    rest = ("--source", tmp_path / "rest.csv")
    subprocess.run(command("adapt", model, "--state", broken, *rest), check=True, capture_output=True)
    payloads = [state.load(path, model.model_id, model.snapshot_bytes).payload for path in (whole, broken)]
    assert payloads[0] == payloads[1]


def test_the_live_view_is_drawn_where_it_is_asked_for(model: Model, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes(HEADER + 5 * ROW)
    flags = ("--source", tmp_path / "s.csv")
    quiet, drawn = (
        subprocess.run(command("run", model, *flags, *more), capture_output=True, text=True)
        for more in ((), ("--live",))
    )
    assert quiet.stderr == ""
    assert quiet.stdout == drawn.stdout
    assert "margin" in drawn.stderr
    assert "5 rows" in drawn.stderr
