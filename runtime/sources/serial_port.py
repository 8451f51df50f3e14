"""A serial port as a source: `serial:/dev/ttyUSB0?baud=115200&columns=t,ax,ay,az&queue=5`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event, Lock
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from edgesnn.errors import ConfigError, DataError

SCHEME = "serial"
_POLL_SECONDS = 0.2  # how long a read may wait: as long a closed port goes on


@dataclass(frozen=True)
class SerialSpec:
    """What to open, and how: baud, names of the columns (none: those of the model), seconds that may queue."""

    port: str
    baud: int = 115200
    columns: tuple[str, ...] = ()
    queue: float = 5.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `serial:PORT?baud=N&columns=a,b,...&queue=SECONDS`; all after PORT is optional.

        Raises:
            ConfigError: no port, an unknown key, or a value that cannot be.
        """
        url = urlsplit(text)
        settings = parse_qsl(url.query, keep_blank_values=True)
        values = dict(settings)
        port = url.netloc + url.path
        unknown = sorted(values.keys() - {"baud", "columns", "queue"})
        if not port or unknown or len(values) < len(settings) or url.fragment:
            got = f"{', '.join(unknown)}" if unknown else text
            raise ConfigError(
                f"--source: expected {SCHEME}:PORT?baud=N&columns=a,b,...&queue=SECONDS, got {got}; "
                "all after PORT may be left out"
            )
        return cls(
            port=port,
            baud=int(_number(values, "baud", cls.baud)),
            columns=tuple(name.strip() for name in values["columns"].split(",")) if "columns" in values else (),
            queue=_number(values, "queue", cls.queue),
        )


def _number(values: dict[str, str], key: str, default: float) -> float:
    text = values.get(key, str(default))
    try:
        value = float(text) if key != "baud" else int(text)
    except ValueError:
        value = 0
    if not 0 < value < 1e9:
        raise ConfigError(f"--source: expected {key} to be a number above 0, got {text!r}; for example {key}={default}")
    return value


class SerialPort:
    """An open port, for this process alone. `chunks` gives its bytes until it is closed.

    Raises:
        DataError: the port cannot be opened.
    """

    def __init__(self, spec: SerialSpec) -> None:
        import serial

        self._spec = spec
        self._errors = (OSError, serial.SerialException)
        self._stop = Event()
        self._reading = Lock()  # pyserial fails in ways of its own where a port is closed under a read
        try:
            self._port = serial.Serial(spec.port, spec.baud, timeout=_POLL_SECONDS, exclusive=True)
        except (*self._errors, ValueError) as error:
            raise DataError(
                f"{SCHEME}:{spec.port}: expected a serial port at {spec.baud} baud, got: {error}; "
                "check the name, the cable and your permission"
            ) from None

    def chunks(self) -> Iterator[bytes]:
        """Bytes as they come, some at a time.

        Raises:
            DataError: the port went away.
        """
        while True:
            with self._reading:
                if self._stop.is_set():
                    return
                try:
                    chunk = self._port.read(max(1, self._port.in_waiting))
                except self._errors as error:
                    raise DataError(
                        f"{SCHEME}:{self._spec.port}: expected a port that stays, got: {error}; "
                        "plug it in and start again"
                    ) from None
            if chunk:
                yield chunk

    def close(self) -> None:
        """Release the port; a read that waits ends within a moment."""
        self._stop.set()
        with self._reading:
            self._port.close()
