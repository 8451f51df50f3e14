"""The boards that run here, and what a test does on a machine that lacks their tools."""

import os

import pytest

from edgesnn import boards
from edgesnn.errors import BackendError
from edgesnn.runtime.backends import check_machine

EMULATED = [board for board in boards.available() if boards.load(board).emulator]


def need(board: str) -> None:
    """Skip the test if the emulator of a board or the cross compiler is missing; under CI=true it fails."""
    try:
        check_machine("board", board)
    except BackendError as error:
        stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        stop(str(error))
