"""What `edgesnn run` and `edgesnn adapt` write: decisions and events on standard output, the rest on standard error."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from edgesnn.cli.termination import Termination
from edgesnn.errors import EdgesnnError

if TYPE_CHECKING:
    from edgesnn.runtime.guard import Guard
    from edgesnn.runtime.stream import Counts


class ReaderLeftError(Exception):
    """Nobody reads the decisions any more: a normal end."""


class JsonLines:
    """Standard output as JSON lines, each flushed: behind a pipe, one that waits for a full buffer comes minutes late.

    Args:
        termination: may end the program while a line waits for its reader.
    """

    def __init__(self, termination: Termination) -> None:
        self._termination = termination

    def write(self, fields: dict[str, Any]) -> None:
        """Write one object.

        Raises:
            ReaderLeftError: the pipe is closed.
            EdgesnnError: the output cannot be written.
        """
        line = json.dumps(fields) + "\n"
        try:
            with self._termination.may_interrupt():
                sys.stdout.write(line)
                sys.stdout.flush()
        except BrokenPipeError:
            _discard_output()
            raise ReaderLeftError from None
        except SystemExit:
            _discard_output()
            raise
        except OSError as error:
            _discard_output()
            raise EdgesnnError(
                f"standard output: expected to take decisions, got: {error.strerror}; free space or write elsewhere"
            ) from None


def _discard_output() -> None:
    """Let what is still buffered go nowhere: the interpreter flushes it when it ends, and would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def warn(message: str) -> None:
    """Write one line on standard error."""
    sys.stderr.write(f"edgesnn: {message}\n")


def troubles(counts: Counts) -> list[str]:
    """What was not as it should be, in words; empty if nothing."""
    said = {
        "gaps": counts.gaps,
        "missing values": counts.missing,
        "saturated values": counts.saturated,
        "channels silent or stuck": counts.troubles,
        "steps spared from learning": counts.spared,
        "late labels beyond the steps kept": counts.short,
        "rows dropped": counts.lost["dropped"],
        "lines of garbage": counts.lost["garbage"],
        "rows of silence": counts.lost["silence"],
    }
    return [f"{name} {count:,}" for name, count in said.items() if count]


def guard_words(guard: Guard) -> str:
    """What the guard saw, and which model decides."""
    decides = f"the {'learned' if guard.used else 'factory'} model decides"
    if guard.factory_accuracy is None or guard.learned_accuracy is None:
        return f"guard: no steps compared, {decides}"
    accuracies = f"factory {guard.factory_accuracy:.3f}, learned {guard.learned_accuracy:.3f}"
    return f"guard: {accuracies} of {guard.seen:,} steps compared, {decides}"


def summary(counts: Counts) -> str:
    """The stream in one line."""
    judged = f", accuracy {counts.accuracy:.3f} of {counts.labelled:,} labelled" if counts.accuracy is not None else ""
    taught = f", {counts.learned:,} learning steps" if counts.learned else ""
    guarded = f"; {guard_words(counts.guard)}" if counts.guard else ""
    wrong = "; " + ", ".join(troubles(counts)) if troubles(counts) else ""
    return f"{counts.rows:,} rows, {counts.decisions:,} decisions{judged}{taught}{guarded}{wrong}"
