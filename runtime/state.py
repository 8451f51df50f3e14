"""The state file: two slots, a sequence number and checksums, so that a power cut never costs more than one save.

The bytes are fixed in docs/architecture.md ("State file"); `esnn_save` and `esnn_load` in C read and write the same.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgesnn.errors import StateError

MAGIC = 0x4E4E5345  # "ESNN" in a little-endian file
ABI = 1
_FIELDS = struct.Struct("<IIQIII")  # magic, abi, model, sequence, payload bytes, payload CRC
_CRC = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CRC.size


@dataclass(frozen=True)
class Slot:
    """One valid slot of a state file."""

    index: int
    model_id: int
    sequence: int
    payload: bytes


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


def _slots(raw: bytes, slot_bytes: int) -> list[Slot]:
    found = (decode(index, raw[index * slot_bytes : (index + 1) * slot_bytes]) for index in (0, 1))
    return sorted((slot for slot in found if slot), key=lambda slot: slot.sequence)


def _write(file: BinaryIO, offset: int, data: bytes) -> None:
    file.seek(offset)
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def save(path: Path, model_id: int, payload: bytes) -> None:
    """Write a state into the slot that does not hold the newest one.

    Raises:
        StateError: the file is not a state file of this model, and is left untouched; or it cannot be written.
    """
    slot_bytes = HEADER_BYTES + len(payload)
    try:
        existing = path.read_bytes() if path.exists() else b""
        target, sequence = _next_slot(path, existing, model_id, slot_bytes)
        slot = encode(model_id, sequence, payload)
        if not existing:
            with path.open("wb") as file:
                file.truncate(2 * slot_bytes)
        with path.open("r+b") as file:
            _write(file, target * slot_bytes + HEADER_BYTES, slot[HEADER_BYTES:])
            _write(file, target * slot_bytes, slot[:HEADER_BYTES])
    except OSError as error:
        raise StateError(
            f"{path}: expected a file that can be written, got: {error.strerror}; choose another path"
        ) from None


def _next_slot(path: Path, existing: bytes, model_id: int, slot_bytes: int) -> tuple[int, int]:
    """Index and sequence number of the slot to write; StateError where `existing` is not a state file of this model."""
    if len(existing) not in (0, 2 * slot_bytes):
        raise StateError(
            f"{path}: expected a state file of {2 * slot_bytes} bytes, got {len(existing)}; "
            "it belongs to something else: choose another path"
        )
    slots = _slots(existing, slot_bytes)
    if any(slot.model_id != model_id for slot in slots):
        raise StateError(
            f"{path}: expected a state of model {model_id:016x}, got {slots[-1].model_id:016x}; choose another path"
        )
    # A first save that was cut leaves no valid slot either, but nothing in the second one.
    if not slots and any(existing[slot_bytes:]):
        raise StateError(
            f"{path}: expected a state file, got {len(existing)} bytes without a valid state; "
            "choose another path, or delete the file if it is a damaged state"
        )
    return (1 - slots[-1].index, slots[-1].sequence + 1) if slots else (0, 1)


def load(path: Path, model_id: int, payload_bytes: int) -> bytes:
    """The newest valid payload of a state file.

    Raises:
        StateError: no such file, no valid slot, or a state of another model.
    """
    if not path.is_file():
        raise StateError(f"{path}: expected a state file, found none; save one first, or start without a state")
    raw = path.read_bytes()
    slots = _slots(raw, HEADER_BYTES + payload_bytes) or [slot for slot in [decode(0, raw)] if slot]
    if not slots:
        raise StateError(
            f"{path}: expected a valid state, got {len(raw)} bytes with none; "
            "delete the file to start from the factory model"
        )
    newest = slots[-1]
    if newest.model_id != model_id:
        raise StateError(
            f"{path}: expected a state of model {model_id:016x}, got {newest.model_id:016x}; "
            "use the model it was saved with"
        )
    return newest.payload
