"""Boards are data: every file is whole, and a wrong one is refused with one line that names file and field."""

import tomllib
from pathlib import Path

import pytest

from edgesnn import boards
from edgesnn.boards.schema import parse
from edgesnn.errors import BoardError

FILES = Path(boards.__file__).parent
AN386 = (FILES / "mps2-an386.toml").read_text(encoding="utf-8")
LEAVES = sorted(
    f"{table}.{field}" if isinstance(value, dict) else table
    for table, value in tomllib.loads(AN386).items()
    for field in (value if isinstance(value, dict) else [""])
)


def write(folder: Path, text: str) -> Path:
    path = folder / "mps2-an386.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BoardError) as caught:
        parse(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("board", boards.available())
def test_every_board_is_valid_and_buildable_by_data_alone(board: str) -> None:
    loaded = boards.load(board)
    assert loaded.id == board
    if loaded.toolchain:
        assert (boards.SUPPORT / loaded.toolchain.startup).is_file()
    if loaded.emulated_by:
        assert boards.load(loaded.emulated_by).emulator


def test_first_boards() -> None:
    assert {"host", "mps2-an386"} <= set(boards.available())
    host, an386 = boards.load("host"), boards.load("mps2-an386")
    assert (host.flash_bytes, host.ram_bytes, host.clock_hz) == (None, None, None)
    assert (an386.flash_bytes, an386.ram_bytes, an386.clock_hz) == (4 << 20, 4 << 20, 25_000_000)


def test_unknown_board_lists_the_available_ones() -> None:
    with pytest.raises(BoardError) as caught:
        boards.load("../host")
    assert "'../host'" in str(caught.value)
    assert all(board in str(caught.value) for board in boards.available())


@pytest.mark.parametrize(
    ("board", "flash", "ram", "hz"),
    [
        ("nucleo-f446re", 512 << 10, 128 << 10, 180_000_000),
        ("nrf52840-dk", 1 << 20, 256 << 10, 64_000_000),
        ("arduino-nano-33-ble", (1 << 20) - (64 << 10), 256 << 10, 64_000_000),
        ("nucleo-h743zi", 2 << 20, 512 << 10, 480_000_000),
        ("stm32f746g-disco", 1 << 20, 320 << 10, 216_000_000),
        ("rpi-pico", (2 << 20) - 256, 264 << 10, 133_000_000),
        ("rpi-pico2", 4 << 20, 520 << 10, 150_000_000),
        ("esp32-c3", 1 << 20, 384 << 10, 160_000_000),
    ],
)
def test_parts_one_can_buy(board: str, flash: int, ram: int, hz: int) -> None:
    part = boards.load(board)
    assert (part.kind, part.flash_bytes, part.ram_bytes, part.clock_hz) == ("hardware", flash, ram, hz)
    chain, emulated = part.toolchain, boards.load(str(part.emulated_by)).toolchain
    assert chain is not None
    assert emulated is not None
    # The same core, so the same instructions; the precision of its floating-point unit may differ.
    assert (chain.target, chain.startup, chain.flags) == (emulated.target, emulated.startup, emulated.flags)
    assert chain.cpu in (emulated.cpu, f"{emulated.cpu}sp")
    assert part.flash is not None
    assert (part.flash.origin + part.flash.bytes) % 65536 == 0


def test_a_board_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "my-board.toml"
    path.write_text(AN386.replace('id = "mps2-an386"', 'id = "my-board"'), encoding="utf-8")
    assert boards.load(str(path)).id == "my-board"
    with pytest.raises(BoardError, match=r"no\.toml: expected the file of a board, got No such file"):
        boards.load(str(tmp_path / "no.toml"))


def test_the_example_in_the_documentation_is_a_board(tmp_path: Path) -> None:
    text = (FILES.parent / "docs" / "boards.md").read_text(encoding="utf-8")
    path = tmp_path / "my-board.toml"
    path.write_text(text.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    assert boards.load(str(path)).emulated_by in boards.available()


@pytest.mark.parametrize("leaf", LEAVES)
def test_missing_field_is_named(tmp_path: Path, leaf: str) -> None:
    table, _, field = leaf.rpartition(".")
    lines, current, kept = AN386.splitlines(), "", []
    for line in lines:
        current = line.strip("[]") if line.startswith("[") else current
        if not (current == table and line.startswith(f"{field} =")):
            kept.append(line)
    assert len(kept) == len(lines) - 1
    assert f": {leaf}: " in refusal(write(tmp_path, "\n".join(kept)))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("bytes = 4194304", "bytes = -1", "flash.bytes"),
        ("bytes = 4194304", 'bytes = "4M"', "flash.bytes"),
        ("bytes = 4194304", "bytes = 4194304.0", "flash.bytes"),
        ("origin = 0x20000000", "origin = 0x100000000", "ram.origin"),
        ("hz = 25000000", "hz = 25000000\nmhz = 25", "clock.mhz"),
        ('kind = "emulated"', 'kind = "simulated"', "kind"),
        ('kind = "emulated"', 'kind = "emulated"\nemulated_by = "host"', "emulated_by"),
        ('kind = "emulated"', 'kind = "emulated"\ncolour = "green"', "colour"),
        ('id = "mps2-an386"', 'id = "mps2_an386"', "id"),
        ('id = "mps2-an386"', 'id = "host"', "id"),
        ('machine = "mps2-an386"', 'machine = ""', "emulator.machine"),
        ("[emulator]", "[emulator", "TOML"),
    ],
)
def test_wrong_field_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert AN386.count(old) >= 1
    assert named in refusal(write(tmp_path, AN386.replace(old, new, 1)))


def test_linux_board_has_no_memory_map_but_an_emulator(tmp_path: Path) -> None:
    pi = boards.load("raspberry-pi-4")
    assert (pi.flash_bytes, pi.ram_bytes) == (None, None)
    text = (FILES / "raspberry-pi-4.toml").read_text(encoding="utf-8")
    path = tmp_path / "raspberry-pi-4.toml"
    path.write_text(text[: text.index("[emulator]")], encoding="utf-8")
    assert "a board of kind linux needs the tables emulator" in refusal(path)


def test_emulated_board_without_emulator_is_refused(tmp_path: Path) -> None:
    assert "emulator" in refusal(write(tmp_path, AN386[: AN386.index("[emulator]")]))


def test_hardware_board_needs_no_emulator(tmp_path: Path) -> None:
    text = AN386[: AN386.index("[emulator]")].replace(
        'kind = "emulated"', 'kind = "hardware"\nemulated_by = "mps2-an386"'
    )
    assert parse(write(tmp_path, text)).emulated_by == "mps2-an386"


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "TOML" in refusal(path)
