"""Serial ports over a pseudo-terminal, and the names of sources."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from toy import ToySession, make_model

from edgesnn.errors import ConfigError, DataError
from edgesnn.runtime import stream
from edgesnn.runtime.sources import LiveQueue, Row, open_source
from edgesnn.runtime.sources.serial_port import SerialPort, SerialSpec

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")


@pytest.fixture
def line() -> Iterator[tuple[int, str]]:
    """The end of a device, and the name of the port at the other end."""
    device, port = os.openpty()
    name = os.ttyname(port)
    os.close(port)
    yield device, name
    os.close(device)


def test_a_port_gives_bytes_until_it_is_closed(line: tuple[int, str]) -> None:
    device, name = line
    port = SerialPort(SerialSpec(name))
    chunks = port.chunks()
    for sent in (b"abc\n", b"\x00\xff\r\n"):  # a raw line: nothing is translated
        os.write(device, sent)
        got = b""
        while len(got) < len(sent):
            got += next(chunks)
        assert got == sent
    port.close()
    assert list(chunks) == []


def test_a_stream_over_a_port_is_the_stream_of_a_file(line: tuple[int, str], tmp_path: Path) -> None:
    device, name = line
    values = np.random.default_rng(5).integers(-40, 40, (60, 2))
    text = "x,y,label\n" + "".join(f"{x},{y},{at % 3}\n" for at, (x, y) in enumerate(values))
    (tmp_path / "s.csv").write_text(text)
    told = []
    for source in (f"serial:{name}?baud=9600&queue=60", str(tmp_path / "s.csv")):
        session = ToySession(make_model({"length": 3, "hop": 2, "channels": 2}, (6,)))
        items = open_source(source, session.model)
        if isinstance(items, LiveQueue):
            for at in range(0, len(text), 37):  # in pieces that end within lines and numbers
                os.write(device, text[at : at + 37].encode())
        decisions = stream.adapt(session, items)
        told.append([next(decisions).as_json() for _ in range(29)])
        decisions.close()
        items.close()
    assert told[0] == told[1]


def test_closing_a_queue_on_a_port_takes_a_moment_and_frees_it(line: tuple[int, str]) -> None:
    device, name = line
    for _ in range(2):  # the second opening finds it free
        source = open_source(f"serial:{name}", make_model({"length": 1, "hop": 1, "channels": 1}, (1,)))
        os.write(device, b"x\n1\n")
        assert next(iter(source)) == Row([1.0])
        began = time.monotonic()
        source.close()
        assert time.monotonic() - began < 2
        assert list(source) == []


def test_a_port_of_another_process_is_refused(line: tuple[int, str]) -> None:
    _, name = line
    port = SerialPort(SerialSpec(name))
    with pytest.raises(DataError, match=f"serial:{name}: expected a serial port at 115200 baud, got: .*lock"):
        SerialPort(SerialSpec(name))
    port.close()


def test_a_port_that_is_not_there_is_one_line() -> None:
    with pytest.raises(DataError, match="serial:/dev/none: expected a serial port at 300 baud") as caught:
        SerialPort(SerialSpec("/dev/none", 300))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("serial:/dev/ttyUSB0", SerialSpec("/dev/ttyUSB0")),
        ("serial:COM3?baud=9600", SerialSpec("COM3", 9600)),
        ("serial:/dev/x?columns=t,%20a,b&queue=0.5", SerialSpec("/dev/x", columns=("t", "a", "b"), queue=0.5)),
    ],
)
def test_a_source_says_port_speed_columns_and_queue(text: str, spec: SerialSpec) -> None:
    assert SerialSpec.parse(text) == spec


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("serial:", "expected serial:PORT"),
        ("serial:/dev/x?bits=7", "got bits"),
        ("serial:/dev/x?baud=1&baud=2", "expected serial:PORT"),
        ("serial:/dev/x?baud=fast", "expected baud to be a number above 0, got 'fast'"),
        ("serial:/dev/x?baud=96.5", "expected baud to be a number above 0, got '96.5'"),
        ("serial:/dev/x?queue=-1", "expected queue to be a number above 0, got '-1'"),
        ("serial:/dev/x?queue=nan", "expected queue to be a number above 0, got 'nan'"),
    ],
)
def test_a_source_that_cannot_be_is_one_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"^--source: expected") as caught:
        SerialSpec.parse(text)
    assert words in str(caught.value)


def test_columns_that_the_model_has_not_are_found_before_the_port_is_opened() -> None:
    with pytest.raises(DataError, match="expected 1 channels"):
        open_source("serial:/dev/none?columns=a,b", make_model({"length": 1, "hop": 1, "channels": 1}, (1,)))
