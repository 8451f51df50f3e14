"""The command line, called in this process."""

from __future__ import annotations

import sys

import pytest
from command_line import Command, Outcome

from edgesnn.cli import main


@pytest.fixture
def edgesnn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["edgesnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(int(ended.value.code or 0), *capsys.readouterr())

    return call
