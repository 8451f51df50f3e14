"""States on an emulated NOR flash: the slot logic against a model of it, the bytes, the wear, and what is refused."""

from __future__ import annotations

import ctypes
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesnn.errors import BackendError, StateError
from edgesnn.runtime import state
from edgesnn.runtime.nor import Geometry, NorFlash

OK, STORAGE_READ, STORAGE_WRITE, NO_STATE, OTHER_MODEL = 0, -8, -9, -10, -11
MODEL = 0x0123456789ABCDEF

GEOMETRIES = {
    "a slot a block": Geometry(64, 3, 4),
    "several slots a block": Geometry(256, 2, 8),
    "several slots a block, ECC": Geometry(256, 3, 8, ecc=True),
    "several blocks a slot": Geometry(16, 8, 1),
    "several blocks a slot, ECC": Geometry(16, 12, 16, ecc=True),
    "header and payload in one unit": Geometry(256, 3, 256),
    "header in units": Geometry(128, 2, 2, ecc=True),
}


def payloads(count, nbytes=24):
    return np.random.default_rng(nbytes).integers(0, 256, (count, nbytes), np.uint8)


@pytest.fixture
def flash(nor_folder):
    def make(geometry, states=None, model_id=MODEL):
        return NorFlash(geometry, model_id, payloads(4) if states is None else states, nor_folder)

    return make


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("nbytes", [4, 24, 224])
def test_a_cut_at_every_operation_leaves_the_older_or_the_newer_state(flash, geometry, nbytes):
    blocks = geometry.blocks * -(-(32 + nbytes) // 64)
    nor = flash(Geometry(geometry.block_bytes, blocks, geometry.write_bytes, geometry.ecc), payloads(9, nbytes))
    nor.cut_everywhere(6)
    nor.walk(400)
    if not geometry.ecc:
        nor.flip(100)
    counts = nor.counts
    assert counts.cuts > 9 * 6
    assert (counts.torn, counts.lost_older, counts.stuck, counts.undetected, nor.violations) == (0, 0, 0, 0, 0)


@st.composite
def partitions(draw):
    """A geometry that takes at least two slots, and the size of a state."""
    nbytes = 4 * draw(st.integers(1, 70))
    unit = 2 ** draw(st.integers(0, 8))
    block = unit * draw(st.integers(1, 1 + 512 // unit))
    group = -(-(32 + nbytes) // block)  # in blocks, unless write units make a slot a little larger
    return Geometry(block, draw(st.integers(2, 4)) * (group + 1), unit, draw(st.booleans())), nbytes


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("save"), st.integers(0, 7)),
        st.tuples(st.just("cut"), st.integers(0, 7), st.integers(0, 400), st.integers(1, 2**32 - 1)),
        st.tuples(st.just("flip"), st.lists(st.integers(0, 2**31), min_size=1, max_size=40)),
        st.tuples(st.just("load")),
    ),
    max_size=30,
)


@given(partitions(), ACTIONS)
def test_any_sequence_of_saves_cuts_flips_and_loads(nor_folder, partition, actions):
    """The model: a set of what a load may give; None is the factory state."""
    geometry, nbytes = partition
    states = [row.tobytes() for row in payloads(8, nbytes)]
    nor = NorFlash(geometry, MODEL, payloads(8, nbytes), nor_folder)
    possible, ever = {None}, {None}
    for action, *arguments in [*actions, ("load",)]:
        if action == "save":
            assert nor.save(states[arguments[0]]) == OK
            possible = {states[arguments[0]]}
        elif action == "cut":
            index, power, noise = arguments
            before = nor.operations
            status = nor.save(states[index], power, noise)
            assert (status == OK) == (nor.operations - before <= power)
            possible = {states[index]} if status == OK else possible | {states[index]}
        elif action == "flip" and not geometry.ecc:  # ECC would see to them
            for bit in arguments[0]:
                nor.memory[bit // 8 % len(nor.memory)] ^= 1 << bit % 8
            possible = ever
        elif action == "load":
            status, found = nor.load()
            assert status in (OK, NO_STATE, STORAGE_READ)
            result = found if status == OK else None
            assert result in possible
            assert result is not None or found == bytes(nbytes)
            possible = {result}
        ever = ever | possible
    assert nor.violations == 0


def test_a_slot_on_flash_has_the_bytes_of_the_state_file(flash):
    nor = flash(Geometry(256, 2, 8))
    for i in range(3):
        assert nor.save(payloads(4)[i].tobytes()) == OK
    for i in range(3):
        slot = state.encode(MODEL, i + 1, payloads(4)[i].tobytes())
        assert nor.memory[56 * i : 56 * (i + 1)].tobytes() == slot
    assert (nor.memory[3 * 56 :] == 0xFF).all()


@pytest.mark.parametrize("geometry", [Geometry(64, 2, 1), Geometry(64, 2, 8), Geometry(64, 2, 32)], ids=str)
def test_the_header_is_programmed_last(flash, geometry):
    """A checksum would tell a torn state with a whole header, too; but only all but one in 2^32."""
    nor = flash(geometry)
    head, rest = 32 // geometry.write_bytes, -(-24 // geometry.write_bytes)
    for whole in range(1 + rest + head):  # after the erase
        nor.memory[:], nor.units[:] = 0xFF, 0
        assert nor.save(payloads(4)[0].tobytes(), power=whole) == STORAGE_WRITE
        written = nor.units[: head + rest].nonzero()[0]
        assert set(written) <= set(range(head, head + rest)) or whole > rest


def test_the_last_unit_is_filled_with_erased_bytes(flash):
    nor = flash(Geometry(256, 2, 128))
    nor.save(payloads(4)[0].tobytes())
    assert (nor.memory[56:] == 0xFF).all()


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_dump_of_the_flash_loads_in_python(flash, tmp_path, geometry):
    nor, path = flash(geometry), tmp_path / "dump.bin"
    for i in range(2 * nor.saves_per_erase + 1):
        payload = payloads(4)[i % 4].tobytes()
        assert nor.save(payload) == OK
        path.write_bytes(nor.memory.tobytes())
        loaded = state.load(path, MODEL, len(payload))
        assert (loaded.payload, loaded.sequence, loaded.notice) == (payload, i + 1, None)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_an_image_of_python_loads_on_the_device(flash, geometry):
    nor, first = flash(geometry), payloads(4)[0].tobytes()
    nor.memory[:] = np.frombuffer(state.flash_image(MODEL, first, len(nor.memory)), np.uint8)
    assert nor.load() == (OK, first)
    for i in range(1, 4):  # and the device goes on from it
        assert nor.save(payloads(4)[i].tobytes()) == OK
        assert nor.load() == (OK, payloads(4)[i].tobytes())
    assert nor.violations == 0


def test_a_dump_is_read_and_never_written(tmp_path):
    path, payload = tmp_path / "dump.bin", bytes(range(24))
    path.write_bytes(state.flash_image(MODEL, payload, 4096))
    with pytest.raises(
        StateError, match=r"expected a state file of 112 bytes, got a dump of a flash of 4096 bytes"
    ) as e:
        state.save(path, MODEL, payload)
    assert "\n" not in str(e.value)
    assert path.read_bytes() == state.flash_image(MODEL, payload, 4096)
    with pytest.raises(StateError, match="expected a state of model"):
        state.load(path, MODEL ^ 1, 24)
    path.write_bytes(b"\xff" * 4096)
    with pytest.raises(StateError, match="not a state file"):
        state.load(path, MODEL, 24)


def test_a_partition_for_one_slot_is_no_image():
    with pytest.raises(StateError, match="expected a partition of at least two slots of 56 bytes, got 111 bytes"):
        state.flash_image(MODEL, bytes(24), 111)


@pytest.mark.parametrize(
    ("geometry", "slots"),
    [(Geometry(64, 3, 4), 3), (Geometry(256, 2, 8), 8), (Geometry(16, 8, 1), 2), (Geometry(16, 9, 1), 2),
     (Geometry(57, 2, 1), 2), (Geometry(256, 3, 256), 3), (Geometry(2048, 2, 64), 64)],
)  # fmt: skip
def test_wear_is_even_and_as_stated(flash, geometry, slots):
    nor = flash(geometry)
    assert nor.saves_per_erase == slots
    for i in range(5 * slots):
        assert nor.save(payloads(4)[i % 4].tobytes()) == OK
    used = nor.erases[nor.erases > 0]
    assert (used == 5).all()
    assert len(nor.erases) - len(used) < -(-56 // geometry.block_bytes)  # what is left over takes no slot


@pytest.mark.parametrize(
    "geometry",
    [Geometry(64, 1, 4), Geometry(16, 7, 4), Geometry(32, 2, 1), Geometry(512, 4, 512), Geometry(96, 4, 64),
     Geometry(96, 4, 3)],
    ids=str,
)  # fmt: skip
def test_a_geometry_that_does_not_fit_is_one_line(flash, geometry):
    with pytest.raises(BackendError, match="expected room for two states of 56 bytes, got Geometry") as error:
        flash(geometry)
    assert "\n" not in str(error.value)


def test_nothing_saved_is_no_state(flash):
    assert flash(Geometry(64, 3, 4)).load() == (NO_STATE, bytes(24))


def test_the_state_of_another_model_is_told_and_can_be_overwritten(flash):
    nor = flash(Geometry(256, 2, 8))
    nor.memory[:56] = np.frombuffer(state.encode(MODEL ^ 1, 9, bytes(24)), np.uint8)
    assert nor.load() == (OTHER_MODEL, bytes(24))
    assert nor.save(payloads(4)[0].tobytes()) == OK
    assert nor.load() == (OK, payloads(4)[0].tobytes())


def test_sequence_numbers_wrap(flash):
    nor, last = flash(Geometry(64, 3, 4)), 2**32 - 1
    nor.memory[:56] = np.frombuffer(state.encode(MODEL, last, payloads(4)[0].tobytes()), np.uint8)
    for i, sequence in ((1, 0), (2, 1), (3, 2)):
        assert nor.save(payloads(4)[i].tobytes()) == OK
        assert nor.load() == (OK, payloads(4)[i].tobytes())
        assert struct.unpack_from("<I", nor.memory, 64 * (i % 3) + 16) == (sequence,)


PROGRAMMED, UNREADABLE, UNWRITABLE, WORN = 1, 2, 3, 4  # enum nor_unit


def test_an_unreadable_slot_is_passed_over_and_written_again(flash):
    """A cut under ECC; the state file in C has one more way to lose a slot than that of Python."""
    nor = flash(Geometry(64, 2, 8, ecc=True))
    for i in range(2):
        nor.save(payloads(4)[i].tobytes())
    nor.units[8] = UNREADABLE
    assert nor.load() == (OK, payloads(4)[0].tobytes())
    assert nor.save(payloads(4)[2].tobytes()) == OK
    assert nor.load() == (OK, payloads(4)[2].tobytes())


def test_an_unreadable_slot_that_comes_back_is_not_the_newest(flash):
    nor = flash(Geometry(256, 2, 8, ecc=True))
    for i in range(2):
        nor.save(payloads(4)[i].tobytes())
    nor.units[7] = UNREADABLE
    assert nor.save(payloads(4)[2].tobytes()) == OK
    nor.units[7] = PROGRAMMED
    assert nor.load() == (OK, payloads(4)[2].tobytes())


def test_a_first_save_that_left_an_unreadable_slot_can_be_repeated(flash):
    nor = flash(Geometry(64, 2, 8, ecc=True))
    nor.units[0] = UNREADABLE
    assert nor.load() == (STORAGE_READ, bytes(24))
    assert nor.save(payloads(4)[0].tobytes()) == OK
    assert nor.load() == (OK, payloads(4)[0].tobytes())


def test_without_an_intact_slot_the_unreadable_one_is_written_again(flash):
    """It would be the newest if it could be read again one day."""
    nor = flash(Geometry(64, 2, 8, ecc=True))
    for i in range(2):
        nor.save(payloads(4)[i].tobytes())
    nor.memory[33] ^= 1
    nor.units[8] = UNREADABLE
    assert nor.load() == (STORAGE_READ, bytes(24))
    assert nor.save(payloads(4)[2].tobytes()) == OK
    assert nor.memory[64:120].tobytes() == state.encode(MODEL, 1, payloads(4)[2].tobytes())
    assert nor.load() == (OK, payloads(4)[2].tobytes())


def test_more_unreadable_slots_than_a_cut_explains_are_kept(flash):
    nor = flash(Geometry(64, 3, 8, ecc=True))
    for i in range(3):
        nor.save(payloads(4)[i].tobytes())
    nor.units[[0, 8, 16]] = UNREADABLE
    before = nor.memory.copy()
    assert nor.load() == (STORAGE_READ, bytes(24))
    assert nor.save(payloads(4)[3].tobytes()) == STORAGE_READ
    np.testing.assert_array_equal(nor.memory, before)


def test_a_slot_that_looks_blank_but_cannot_be_programmed_is_passed_over(flash):
    nor = flash(Geometry(256, 2, 8, ecc=True))
    nor.save(payloads(4)[0].tobytes())
    nor.units[7 + 5] = UNWRITABLE  # in the payload of the second slot
    assert nor.save(payloads(4)[1].tobytes()) == OK
    assert nor.memory[2 * 56 : 3 * 56].tobytes() == state.encode(MODEL, 2, payloads(4)[1].tobytes())
    nor.units[:] = UNWRITABLE
    nor.units[:8] = PROGRAMMED
    assert nor.load()[0] == OK
    assert nor.save(payloads(4)[2].tobytes()) == OK  # after erasing the other block


def test_a_save_that_did_not_take_is_an_error_and_the_older_state_stays(flash):
    nor = flash(Geometry(64, 2, 8))
    nor.save(payloads(4)[0].tobytes())
    for unit in (8, 11, 14):  # header, payload, last bytes
        nor.units[unit] = WORN
        assert nor.save(payloads(4)[1].tobytes()) == STORAGE_WRITE
        assert nor.load() == (OK, payloads(4)[0].tobytes())
        nor.units[unit] = PROGRAMMED
    assert nor.save(payloads(4)[1].tobytes()) == OK


def test_a_worn_slot_of_a_block_is_passed_over(flash):
    nor = flash(Geometry(256, 2, 8))
    nor.save(payloads(4)[0].tobytes())
    nor.units[7 + 5] = WORN
    assert nor.save(payloads(4)[1].tobytes()) == OK
    assert nor.load() == (OK, payloads(4)[1].tobytes())


def test_the_emulated_flash_refuses_what_a_chip_would_not_do(flash):
    nor = flash(Geometry(512, 2, 8))
    program = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32)
    port = nor._library.nor_port(ctypes.byref(nor._nor))
    source = np.zeros(64, np.uint64)

    def run(offset, nbytes):
        before = nor.violations
        status = program(port.program)(port.ctx, offset, source.ctypes.data, nbytes)
        return status, nor.violations - before

    assert run(8, 16) == (0, 0)
    assert run(16, 8) == (-1, 1)  # a second time
    assert run(4, 8) == (-1, 1)  # not aligned
    assert run(32, 4) == (-1, 1)  # half a unit
    assert run(248, 16) == (-1, 1)  # across pages
    assert run(1016, 16) == (-1, 1)  # out of bounds
    nor.memory[32:40] = 0
    source[:] = 1
    assert run(32, 8) == (-1, 1)  # 0 to 1
    assert nor.memory[8:24].tobytes() == bytes(16)
