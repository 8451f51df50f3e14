"""Firmware: sizes are what the linker placed, nothing is compiled twice, and what cannot run is refused."""

import shutil
import subprocess
from pathlib import Path

import pytest

from edgesnn import boards
from edgesnn.errors import BackendError, BoardError, BudgetError, EdgesnnError, ModelError
from edgesnn.runtime import firmware
from edgesnn.runtime.firmware import Firmware, build

pytestmark = pytest.mark.usefixtures("emulator")
BOARD = "mps2-an386"


@pytest.fixture
def package(fake_package: Path, tmp_path: Path) -> Path:
    """A copy of the fake package that a test may change."""
    return Path(shutil.copytree(fake_package, tmp_path / "c"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def refusal(kind: type[EdgesnnError], package: Path) -> str:
    with pytest.raises(kind) as caught:
        build(package, boards.load(BOARD))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def built(fake_package: Path) -> Firmware:
    return build(fake_package, boards.load(BOARD))


def test_sizes_follow_the_sources(built: Firmware, package: Path) -> None:
    edit(package / "src" / "fake.h", "FAKE_ARENA_BYTES 64", f"FAKE_ARENA_BYTES {64 + 4096}")
    edit(
        package / "src" / "fake.c",
        "static volatile int32_t sink;",
        "volatile int32_t table[25] = {1}; static volatile int32_t sink;",
    )
    edit(package / "src" / "fake.c", "spin(100);", "spin(table[label]);")
    changed = build(package, boards.load(BOARD))
    assert changed.ram_bytes - built.ram_bytes == 4096 + 100  # arena and table
    assert 100 <= changed.flash_bytes - built.flash_bytes <= 140  # the table's initial values, and a load
    arena = {v.name: v.nbytes for v in changed.variables}["arena"]
    assert arena == 64 + 4096


def test_symbols(built: Firmware) -> None:
    assert {"fake_layer_0_sum", "fake_layer_1_spin", "esnn_step", "main"} <= set(built.code_bytes)
    assert sum(built.code_bytes.values()) <= built.flash_bytes
    assert len({f.address for f in built.functions}) == len(built.functions)
    assert all(f.address % 2 == 0 for f in built.functions)
    assert built.stack_bytes == firmware.STACK_BYTES
    assert built.model_name == "fake"


def test_unchanged_package_is_not_compiled_again(
    built: Firmware, fake_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    assert build(fake_package, boards.load(BOARD)) == built


def test_any_change_is_compiled(built: Firmware, package: Path) -> None:
    edit(package / "src" / "esnn" / "esnn.h", "#define ESNN_ABI 1", "#define ESNN_ABI 1 ")
    assert build(package, boards.load(BOARD)).elf.parent.name != built.elf.parent.name


def test_no_float_nor_heap_nor_stdio(built: Firmware) -> None:
    names = set(built.code_bytes)
    assert not {name for name in names if name.startswith(("__aeabi_f", "__aeabi_d", "printf"))} - {"__aeabi_drsub"}
    assert not names & {"malloc", "free"}


def test_heap_is_refused(package: Path) -> None:
    edit(package / "src" / "fake.c", "spin(100);", "spin((int32_t)(uintptr_t)malloc(label));")
    edit(
        package / "src" / "fake.c",
        "static volatile int32_t sink;",
        "static volatile int32_t sink; void *malloc(int32_t n);\n"
        "__attribute__((noinline)) void *malloc(int32_t n) { sink = n; return (void *)(uintptr_t)sink; }",
    )
    assert "malloc" in refusal(ModelError, package)


def test_c_that_does_not_compile(package: Path) -> None:
    edit(package / "src" / "fake.c", "state[0] += 1;", "state[0] += one;")
    assert "fake.c:" in refusal(ModelError, package)


def test_warnings_are_errors(package: Path) -> None:
    edit(package / "src" / "fake.c", "state[0] += 1;", "state[0] += 1; const uint8_t narrow = state[0]; sink = narrow;")
    assert "-Wimplicit-int-conversion" in refusal(ModelError, package)


@pytest.mark.parametrize("what", ["flash", "RAM"])
def test_too_large_is_refused(package: Path, what: str) -> None:
    bytes_ = 5 << 20
    if what == "RAM":
        edit(package / "src" / "fake.h", "FAKE_ARENA_BYTES 64", f"FAKE_ARENA_BYTES {bytes_}")
    else:
        edit(
            package / "src" / "fake.c",
            "static volatile int32_t sink;",
            f"extern const uint8_t big[]; const uint8_t big[{bytes_}] = {{1}}; static volatile int32_t sink;",
        )
        edit(package / "src" / "fake.c", "spin(100);", "spin(big[label]);")
    message = refusal(BudgetError, package)
    assert str(4 << 20) in message
    assert what.upper() in message.upper()


def test_folder_without_package(tmp_path: Path) -> None:
    assert str(tmp_path) in refusal(ModelError, tmp_path)


def test_host_has_no_firmware(fake_package: Path) -> None:
    with pytest.raises(BoardError, match="native"):
        build(fake_package, boards.load("host"))


def test_missing_cross_compiler(fake_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"pip install edgesnn\[mcu\]"):
        build(fake_package, boards.load(BOARD))
