"""Files that the HDF5 library crashes on, hangs on or cannot read: one line, and the program goes on."""

from __future__ import annotations

import nir
import numpy as np
import pytest
from frameworks import DATA
from fuzz import apply, cases, edits
from hypothesis import given

from edgesnn.errors import EdgesnnError, InteropError
from edgesnn.interop import from_nir, nir_file

FILE = DATA / "edgesnn-norse-if.nir"


def equal(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return one == other


@pytest.mark.parametrize("path", sorted(DATA.glob("s*-conv.nir")), ids=lambda p: p.stem)
def test_nothing_is_lost_on_the_way_through_the_other_process(path):
    got, expected = nir_file.read(path), nir.read(path)
    assert got.edges == expected.edges
    assert equal(got.to_dict(), expected.to_dict())


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"a crash of the HDF5 library \(SIGSEGV\)"),
        ("import time; time.sleep(60)", r"no end within 1 s"),
        ("import sys; sys.exit('no\\n signature')", r"no signature"),
    ],
)
def test_what_happens_to_the_reader_is_told_in_one_line(monkeypatch, tmp_path, program, message):
    (tmp_path / "program.py").write_text(program)
    monkeypatch.setattr(nir_file, "PROGRAM", tmp_path / "program.py")
    monkeypatch.setattr(nir_file, "_SECONDS", 1)
    with pytest.raises(InteropError, match=f"{FILE.name}: expected a NIR file, got .*: {message}; ") as error:
        nir_file.read(FILE)
    assert "\n" not in str(error.value)


def test_a_size_that_nothing_has_is_not_taken(monkeypatch, tmp_path):
    """A file of kilobytes that says it holds terabytes."""
    import h5py

    path = tmp_path / "vast.nir"
    with h5py.File(path, "w") as file:
        file.create_dataset("node/weight", shape=(1 << 42,), dtype="u1", chunks=(1 << 20,))
    with pytest.raises(InteropError, match=r"vast.nir: expected a NIR file, got .*(allocate|memory)"):
        nir_file.read(path)


@pytest.mark.parametrize("count", [4, pytest.param(200, marks=pytest.mark.long)])
def test_a_damaged_file_is_refused_or_read(tmp_path_factory, count):
    path = tmp_path_factory.mktemp("damaged") / "net.nir"

    def check(changes):
        path.write_bytes(apply(FILE.read_bytes(), changes))
        try:
            from_nir(path, "edgesnn")
        except EdgesnnError as error:
            assert "\n" not in str(error)  # noqa: PT017 a file that is still whole raises nothing

    cases(count)(given(edits())(check))()
