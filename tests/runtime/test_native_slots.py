"""`esnn_save` and `esnn_load`: the same bytes as runtime/state.py, and a power cut at every byte."""

from __future__ import annotations

import numpy as np
import pytest
from random_models import RandomModel, Shape

from edgesnn.export.c_package import c
from edgesnn.runtime import state
from edgesnn.runtime.native import NativeSession, Storage

OK, SLOT_SIZE, STORAGE_READ, STORAGE_WRITE, NO_STATE, OTHER_MODEL = 0, -7, -8, -9, -10, -11


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("slots")
    RandomModel(Shape((4,), hidden=(("BinaryLinear", 3),), classes=2), seed=5).write(path)
    c(path)
    return path


@pytest.fixture
def session(folder):
    from edgesnn.runtime.model import Model

    with NativeSession(Model.load(folder)) as session:
        session.step(np.array([100, -100, 50, 3], np.int8))
        yield session


def slot_bytes(session):
    return state.HEADER_BYTES + session.model.snapshot_bytes


def advance(session):
    """Another state than before; its snapshot."""
    session.step(np.array([9, 70, -50, 120], np.int8))
    session.learn(1)
    return session.snapshot()


def test_slots_are_those_of_the_state_file(session, tmp_path):
    storage = Storage(slot_bytes(session))
    for _ in range(3):
        advance(session)
        session.save(tmp_path / "s.state")
        assert session.save_slots(storage) == OK
        assert bytes(storage.memory) == (tmp_path / "s.state").read_bytes()


def test_load_takes_the_newest(session):
    storage = Storage(slot_bytes(session))
    for _ in range(3):
        newest = advance(session)
        session.save_slots(storage)
    advance(session)
    assert session.load_slots(storage) == OK
    assert session.snapshot() == newest


def test_sequence_numbers_wrap_as_in_a_state_file(session, tmp_path):
    total, path = slot_bytes(session), tmp_path / "s.state"
    last = state.encode(session.model.model_id, 2**32 - 1, session.snapshot())
    path.write_bytes(last + bytes(total))
    storage = Storage(total, path.read_bytes())
    for _ in range(3):
        newest = advance(session)
        session.save(path)
        assert session.save_slots(storage) == OK
        assert bytes(storage.memory) == path.read_bytes()
        advance(session)
        assert session.load_slots(storage) == OK
        assert session.snapshot() == newest


def test_reads_a_state_file_of_python(session, tmp_path):
    saved = session.snapshot()
    session.save(tmp_path / "s.state")
    advance(session)
    assert session.load_slots(Storage(slot_bytes(session), (tmp_path / "s.state").read_bytes())) == OK
    assert session.snapshot() == saved


def test_slots_may_be_larger_than_needed(session):
    storage = Storage(256 + slot_bytes(session))
    saved = session.snapshot()
    for _ in range(2):
        assert session.save_slots(storage) == OK
    advance(session)
    assert session.load_slots(storage) == OK
    assert session.snapshot() == saved


@pytest.mark.parametrize("saves", [1, 2, 3])
def test_a_power_cut_at_every_byte_leaves_the_older_state(session, saves):
    storage = Storage(slot_bytes(session))
    for _ in range(saves):
        older = advance(session)
        session.save_slots(storage)
    before = bytes(storage.memory)
    newer = advance(session)
    total = slot_bytes(session)
    for written in range(total + 1):
        cut = Storage(total, before, power=written)
        session.restore(newer)
        assert session.save_slots(cut) == (OK if written == total else STORAGE_WRITE)
        rebooted = Storage(total, bytes(cut.memory))
        assert session.load_slots(rebooted) == OK
        assert session.snapshot() == (newer if written == total else older), written
        assert session.save_slots(rebooted) == OK  # and saving goes on


def test_a_flipped_bit_anywhere_falls_back_to_the_older_slot(session):
    storage = Storage(slot_bytes(session))
    older = advance(session)
    session.save_slots(storage)
    advance(session)
    session.save_slots(storage)
    total = slot_bytes(session)
    for position in range(total):  # the newest is in slot 1
        memory = bytearray(storage.memory)
        memory[total + position] ^= 1 << (position % 8)
        assert session.load_slots(Storage(total, bytes(memory))) == OK
        assert session.snapshot() == older, position


def test_statuses(session):
    total, kept = slot_bytes(session), session.snapshot()
    assert session.load_slots(Storage(total)) == NO_STATE
    assert session.load_slots(Storage(total - 1)) == SLOT_SIZE
    assert session.save_slots(Storage(total - 1)) == SLOT_SIZE
    foreign = state.encode(session.model.model_id ^ 1, 4, kept)
    assert session.load_slots(Storage(total, foreign + bytes(total))) == OTHER_MODEL
    assert session.load_slots(Storage(total, bytes(total) + foreign)) == OTHER_MODEL
    own = state.encode(session.model.model_id, 1, kept)
    assert session.load_slots(Storage(total, foreign + own)) == OK
    assert session.load_slots(Storage(total, own[:10])) == STORAGE_READ
    assert session.save_slots(Storage(total, own[:10])) == STORAGE_READ
    assert session.snapshot() == kept


def test_a_slot_that_cannot_be_read_is_passed_over(session):
    total, kept = slot_bytes(session), session.snapshot()
    short = Storage(total, state.encode(session.model.model_id, 1, kept) + bytes(10))
    advance(session)
    assert session.load_slots(short) == OK
    assert session.snapshot() == kept
