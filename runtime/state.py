"""The state file: two slots, a sequence number and checksums, so that a power cut never costs more than one save.

The bytes are fixed in docs/state.md; `esnn_save` and `esnn_load` in C read and write the same. In the flash of a device
there are more slots, further apart; a dump of it is read as well.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgesnn.errors import StateError

try:
    import fcntl
except ImportError:  # no advisory locks on this system
    fcntl = None  # type: ignore[assignment]

MAGIC = 0x4E4E5345  # "ESNN" in a little-endian file
ABI = 1
_MAGIC_BYTES = struct.pack("<I", MAGIC)
_FIELDS = struct.Struct("<IIQIII")  # magic, abi, model, sequence, payload bytes, payload CRC
_CRC = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CRC.size
_SEQUENCES = 1 << 32  # sequence numbers wrap here


class NoStateError(StateError):
    """Nothing was saved at this path so far; a save will begin it."""


@dataclass(frozen=True)
class Slot:
    """One valid slot of a state file."""

    index: int
    model_id: int
    sequence: int
    payload: bytes


@dataclass(frozen=True)
class Loaded:
    """The newest valid payload, the number of its save, and a line on what is damaged beside it (None: nothing is)."""

    payload: bytes
    sequence: int
    notice: str | None


def encode(model_id: int, sequence: int, payload: bytes) -> bytes:
    """The bytes of one slot: header, then payload."""
    fields = _FIELDS.pack(MAGIC, ABI, model_id, sequence, len(payload), zlib.crc32(payload))
    return fields + _CRC.pack(zlib.crc32(fields)) + payload


def decode(index: int, raw: bytes) -> Slot | None:
    """The slot in `raw`, or None where it is torn, corrupted, empty or of another ABI."""
    if len(raw) < HEADER_BYTES:
        return None
    magic, abi, model_id, sequence, payload_bytes, payload_crc = _FIELDS.unpack_from(raw)
    payload = raw[HEADER_BYTES : HEADER_BYTES + payload_bytes]
    whole = (
        (magic, abi) == (MAGIC, ABI)
        and _CRC.unpack_from(raw, _FIELDS.size)[0] == zlib.crc32(raw[: _FIELDS.size])
        and len(payload) == payload_bytes
        and zlib.crc32(payload) == payload_crc
    )
    return Slot(index, model_id, sequence, payload) if whole else None


def _newer(left: Slot, right: Slot) -> bool:
    """Whether `left` was saved after `right`: sequences modulo 2^32 (serial number arithmetic, RFC 1982)."""
    return 0 < (left.sequence - right.sequence) % _SEQUENCES < _SEQUENCES // 2


def save(path: Path, model_id: int, payload: bytes) -> None:
    """Write a state into the slot that does not hold the newest one.

    A file that is missing or empty is brought to its full size first; one cut short in its second slot gets there by
    the write, for its first slot is the newest.

    Raises:
        StateError: the file is not a state file of this model, and is left untouched; or it cannot be written.
    """
    slot_bytes = HEADER_BYTES + len(payload)
    with _writable(path):
        existing = path.read_bytes() if path.exists() else b""
        if _newest_in_dump(existing, model_id, slot_bytes):
            raise StateError(
                f"{path}: expected a state file of {2 * slot_bytes} bytes, got a dump of a flash of {len(existing)} "
                "bytes; load it, and save to another path"
            )
        newest = _newest(path, existing, model_id, slot_bytes)
        target, sequence = (1 - newest.index, (newest.sequence + 1) % _SEQUENCES) if newest else (0, 1)
        slot = encode(model_id, sequence, payload)
        if not existing:
            with path.open("ab") as file:
                file.truncate(2 * slot_bytes)
            _sync_folder(path.parent)
        with path.open("r+b") as file:
            _write(file, target * slot_bytes + HEADER_BYTES, slot[HEADER_BYTES:])
            _write(file, target * slot_bytes, slot[:HEADER_BYTES])


def load(path: Path, model_id: int, payload_bytes: int) -> Loaded:
    """The newest valid payload of a state file, or of a dump of a device's flash.

    Raises:
        NoStateError: no such file, an empty one, or one whose first save was cut.
        StateError: not a state file, a damaged one, or a state of another model.
    """
    if not path.exists():
        raise NoStateError(f"{path}: expected a state file, found none; save one first, or start without a state")
    slot_bytes = HEADER_BYTES + payload_bytes
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise StateError(
            f"{path}: expected a state file, got: {error.strerror}; check the path and its permissions"
        ) from None
    if dumped := _newest_in_dump(raw, model_id, slot_bytes):
        return Loaded(dumped.payload, dumped.sequence, None)
    newest = _newest(path, raw, model_id, slot_bytes)
    if newest is None:
        raise NoStateError(
            f"{path}: expected a valid state, got {len(raw)} bytes of a first save that was cut; "
            "start from the factory model, and the next save completes the file"
        )
    other = raw[(1 - newest.index) * slot_bytes :][:slot_bytes]
    damaged = len(raw) < 2 * slot_bytes or (any(other) and decode(1 - newest.index, other) is None)
    return Loaded(
        newest.payload,
        newest.sequence,
        f"{path}: slot {1 - newest.index} is damaged (a save that was cut, or a failing disk); "
        f"going on from the other, save number {newest.sequence}"
        if damaged
        else None,
    )


def flash_image(model_id: int, payload: bytes, partition_bytes: int) -> bytes:
    """What to program into a device's flash so that it starts from this state: one slot, and 0xFF to the end.

    Args:
        model_id: first 64 bits of the source hash.
        payload: the snapshot.
        partition_bytes: size of the partition that the device's `esnn_flash` describes.

    Raises:
        StateError: the partition is too small for two slots.
    """
    slot = encode(model_id, 1, payload)
    if partition_bytes < 2 * len(slot):
        raise StateError(
            f"flash image: expected a partition of at least two slots of {len(slot)} bytes, got {partition_bytes} "
            "bytes; give the size of the whole partition"
        )
    return slot.ljust(partition_bytes, b"\xff")


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Keep a state file for one writer while the context lasts: an advisory lock, where the system has them.

    A file that does not exist is created empty, so that a path that takes no file is found before anything is learned.

    Raises:
        StateError: the path takes no file, or another process holds it.
    """
    if path.exists() and not path.is_file():
        raise StateError(f"{path}: expected a state file, got a folder or device; choose another path")
    with _writable(path):
        file = path.open("ab")
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(
                    f"{path}: expected a state file of one process, got one that another process is adapting; "
                    "stop that process, or choose another path"
                ) from None
            except OSError:
                pass  # a file system without locks
        yield


def _newest(path: Path, raw: bytes, model_id: int, slot_bytes: int) -> Slot | None:
    """The newest slot, None where nothing was saved so far; StateError where `raw` is no state file of this model."""
    slots = [slot for at in (0, 1) if (slot := decode(at, raw[at * slot_bytes : (at + 1) * slot_bytes]))]
    whole = decode(0, raw)  # a state of another model may be of another size
    for slot in [*slots, whole] if whole else slots:
        if slot.model_id != model_id:
            raise StateError(
                f"{path}: expected a state of model {model_id:016x}, got one of {slot.model_id:016x}; "
                "use the model it was saved with, or choose another path"
            )
    if slots and len(raw) <= 2 * slot_bytes:
        return slots[-1] if len(slots) == 2 and _newer(slots[1], slots[0]) else slots[0]
    if not raw or _first_save_was_cut(raw, slot_bytes):
        return None
    if not any(raw[at * slot_bytes :].startswith(_MAGIC_BYTES) for at in (0, 1)):
        raise StateError(
            f"{path}: expected a valid state of {2 * slot_bytes} bytes, got {len(raw)} bytes of something else; "
            "this is not a state file: choose another path"
        )
    raise StateError(
        f"{path}: expected a valid state of {2 * slot_bytes} bytes, got {len(raw)} bytes of a damaged state file; "
        "choose another path to start from the factory model, or put a copy of the file back"
    )


def _newest_in_dump(raw: bytes, model_id: int, slot_bytes: int) -> Slot | None:
    """The newest slot of this model in a dump of a flash, which is larger than a state file; None where there is none.

    A dump does not tell its geometry, so a slot is looked for at every magic number; two checksums, the model and the
    size make sure of it.
    """
    newest = None
    at = raw.find(_MAGIC_BYTES) if len(raw) > 2 * slot_bytes else -1
    while at >= 0:
        slot = decode(at // slot_bytes, raw[at : at + slot_bytes])
        ours = slot is not None and (slot.model_id, len(slot.payload)) == (model_id, slot_bytes - HEADER_BYTES)
        if slot is not None and ours and (newest is None or _newer(slot, newest)):
            newest = slot
        at = raw.find(_MAGIC_BYTES, at + 1)
    return newest


def _first_save_was_cut(raw: bytes, slot_bytes: int) -> bool:
    """Whether no header was ever whole: nothing in the second slot, and a header in the first that breaks off.

    The header is written last and from its first byte on, so one that breaks off ends with zero.
    """
    header = raw[:HEADER_BYTES]
    return (
        len(raw) == 2 * slot_bytes
        and not any(raw[slot_bytes:])
        and header[-1] == 0
        and zlib.crc32(header[:-4]) != int.from_bytes(header[-4:], "little")
        and _MAGIC_BYTES.startswith(header[: len(_MAGIC_BYTES)].rstrip(b"\0"))
    )


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StateError(
            f"{path}: expected a file that can be written, got: {error.strerror}; choose another path"
        ) from None


def _write(file: BinaryIO, offset: int, data: bytes) -> None:
    file.seek(offset)
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Put the name of a new file on the disk, where folders can be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system that syncs no folders
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
