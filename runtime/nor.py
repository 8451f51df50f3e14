"""The C save layer on an emulated NOR flash whose power can be cut at every operation (runtime/c/host)."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgesnn.errors import BackendError
from edgesnn.runtime.build import shared_library
from edgesnn.runtime.model import Array
from edgesnn.runtime.native import CModel
from edgesnn.runtime.state import ABI

#: What is compiled for it, in runtime/c.
SOURCES = (
    *(f"src/esnn_{name}.c" for name in ("crc32", "flash", "net", "slots")),
    *(f"host/{name}.c" for name in ("nor", "power_cut")),
)


@dataclass(frozen=True)
class Geometry:
    """A partition of a flash.

    Args:
        block_bytes: what one erase clears.
        blocks: in the partition.
        write_bytes: the unit that is programmed at once, 1 to 256.
        ecc: a unit torn by a power cut cannot be read, or not be programmed, until its block is erased.
    """

    block_bytes: int
    blocks: int
    write_bytes: int
    ecc: bool = False


class _CFlash(ctypes.Structure):
    """`esnn_flash` of esnn_port.h."""

    _fields_: ClassVar = [
        ("ctx", ctypes.c_void_p),
        *((name, ctypes.c_uint32) for name in ("block_bytes", "blocks", "write_bytes")),
        *((name, ctypes.c_void_p) for name in ("read", "program", "erase")),
    ]


class _CNor(ctypes.Structure):
    """`nor` of nor.h."""

    _fields_: ClassVar = [
        ("memory", ctypes.c_void_p),
        ("units", ctypes.c_void_p),
        ("erases", ctypes.c_void_p),
        ("block_bytes", ctypes.c_uint32),
        ("blocks", ctypes.c_uint32),
        ("write_bytes", ctypes.c_uint32),
        ("ecc", ctypes.c_uint32),
        ("noise", ctypes.c_uint32),
        ("off", ctypes.c_uint32),
        ("power", ctypes.c_int64),
        ("operations", ctypes.c_uint64),
        ("violations", ctypes.c_uint64),
    ]


class Counts(ctypes.Structure):
    """`power_cut_counts` of power_cut.h."""

    _fields_: ClassVar = [
        (name, ctypes.c_uint64) for name in ("cuts", "torn", "lost_older", "stuck", "flips", "undetected")
    ]
    cuts: int
    torn: int
    lost_older: int
    stuck: int
    flips: int
    undetected: int


class _CPowerCut(ctypes.Structure):
    """`power_cut` of power_cut.h."""

    _fields_: ClassVar = [
        ("flash", ctypes.POINTER(_CNor)),
        ("model", ctypes.POINTER(CModel)),
        ("arena", ctypes.c_void_p),
        ("payloads", ctypes.c_void_p),
        ("count", ctypes.c_uint32),
        ("backup", ctypes.c_void_p),
        ("random", ctypes.c_uint32),
        ("counts", Counts),
    ]


class NorFlash:
    """A flash, and a model of which only the identity and the size of its state matter.

    `memory` uint8 [bytes], `units` uint8 [units] and `erases` uint32 [blocks] are the emulated chip itself.

    Args:
        geometry: of the partition.
        model_id: first 64 bits of the source hash.
        payloads: uint8 [count, snapshot_bytes], the states that the loops below save; no two are the same.
        folder: where the compiled library is kept.
        seed: of torn patterns, and of everything random in the loops.

    Raises:
        BackendError: there is no compiler, or the state does not fit the partition twice.
    """

    def __init__(self, geometry: Geometry, model_id: int, payloads: Array, folder: Path, seed: int = 1) -> None:
        self.geometry = geometry
        self._library = ctypes.CDLL(str(_compile(folder)))
        size = geometry.block_bytes * geometry.blocks
        self.memory = np.empty(size, np.uint8)
        self.units = np.empty(size // geometry.write_bytes, np.uint8)
        self.erases = np.empty(geometry.blocks, np.uint32)
        self._backup = np.empty(size + len(self.units), np.uint8)
        self._payloads = np.ascontiguousarray(payloads, np.uint8)
        snapshot_bytes = self._payloads.shape[1]
        self._arena = np.zeros(-(-snapshot_bytes // 4), np.uint32)
        self._model = CModel(
            name=b"saved", id=model_id, abi=ABI, arena_bytes=self._arena.nbytes, snapshot_bytes=snapshot_bytes,
        )  # fmt: skip
        self._nor = _CNor(
            *(array.ctypes.data for array in (self.memory, self.units, self.erases)),
            geometry.block_bytes, geometry.blocks, geometry.write_bytes, geometry.ecc, power=-1,
        )  # fmt: skip
        self._bench = _CPowerCut(
            ctypes.pointer(self._nor), ctypes.pointer(self._model), self._arena.ctypes.data,
            self._payloads.ctypes.data, len(self._payloads), self._backup.ctypes.data, seed,
        )  # fmt: skip
        self._call("nor_blank", ctypes.byref(self._nor))
        self._library.nor_port.restype = _CFlash
        port = self._library.nor_port(ctypes.byref(self._nor))
        self.saves_per_erase = self._call("esnn_flash_saves_per_erase", ctypes.byref(self._model), ctypes.byref(port))
        if self.saves_per_erase == 0:
            raise BackendError(
                f"flash: expected room for two states of {snapshot_bytes + 32} bytes, got {geometry}; "
                "take more or larger blocks, and a write unit of 1 to 256 bytes that divides them"
            )

    @property
    def counts(self) -> Counts:
        """What the loops have counted so far."""
        return self._bench.counts

    @property
    def operations(self) -> int:
        """Write units programmed and blocks erased so far."""
        return int(self._nor.operations)

    @property
    def violations(self) -> int:
        """What no chip would do as asked: 0 to 1, a unit programmed twice, a range out of bounds or not aligned."""
        return int(self._nor.violations)

    def save(self, payload: bytes, power: int = -1, noise: int = 1) -> int:
        """`esnn_flash_save` of a payload; returns its status.

        Args:
            payload: what to save.
            power: operations that are whole before one is cut; negative is all.
            noise: which bits the operation that is cut reaches.
        """
        self._nor.off, self._nor.power, self._nor.noise = 0, power, noise
        source = np.frombuffer(payload, np.uint8)
        return self._call("power_cut_save", ctypes.byref(self._bench), ctypes.c_void_p(source.ctypes.data))

    def load(self) -> tuple[int, bytes]:
        """`esnn_flash_load` after a restart: its status, and the model's state after it."""
        status = self._call("power_cut_load", ctypes.byref(self._bench))
        return status, self._arena.tobytes()[: self._payloads.shape[1]]

    def cut_everywhere(self, patterns: int) -> None:
        """Save payload after payload, each cut at every operation, `patterns` times."""
        self._call("power_cut_every", ctypes.byref(self._bench), ctypes.c_uint32(patterns))

    def walk(self, saves: int) -> None:
        """`saves` saves, most of them cut anywhere, each going on from what the last one left."""
        self._call("power_cut_walk", ctypes.byref(self._bench), ctypes.c_uint32(saves))

    def flip(self, images: int) -> None:
        """`images` loads, each with one to eight flipped bits anywhere."""
        self._call("power_cut_flip", ctypes.byref(self._bench), ctypes.c_uint32(images))

    def _call(self, function: str, *arguments: object) -> int:
        return int(self._library[function](*arguments))


def _compile(folder: Path) -> Path:
    with as_file(files("edgesnn.runtime") / "c") as c:
        return shared_library("nor", [c / source for source in SOURCES], [c / "include", c / "src", c / "host"], folder)
