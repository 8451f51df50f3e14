"""Names of what a device may learn."""

from __future__ import annotations

import pytest

from edgesnn.errors import ExportError
from edgesnn.export.scopes import Scope, parse


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        (None, Scope()),
        ("means", Scope(means=True)),
        ("readout", Scope(readout=True)),
        ("readout+thresholds", Scope(0, 3, readout=True)),
        ("last:1", Scope(1, 1, readout=True)),
        ("last:3", Scope(3, 3, readout=True)),
        ("all", Scope(3, 3, readout=True)),
    ],
)
def test_scopes(name, scope):
    assert parse(name, 3) == scope


@pytest.mark.parametrize(
    "name", ["", "everything", "last", "last:", "last:-1", "last:one", "last:1 ", "ALL", "readout+"]
)
def test_names_that_are_none(name):
    with pytest.raises(ExportError, match=r"^learn: expected one of means, readout, .*, or none, got ") as error:
        parse(name, 3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["last:0", "last:4", "last:99999999999"])
def test_more_layers_than_there_are(name):
    with pytest.raises(ExportError, match=r"^learn: expected last:1 to last:3, as the network has 3 hidden layers"):
        parse(name, 3)
