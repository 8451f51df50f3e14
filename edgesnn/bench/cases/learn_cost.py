"""One learning step of a whole network on an emulated core: forward, backward through every layer, and update."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from edgesnn.bench.registry import Measured, benchmark
from edgesnn.runtime.model import Model

_STEPS = 20


@benchmark(
    "learn-cost",
    "instructions and memory of a learning step through all layers of 256-128-10 on an emulated board",
    packages=("torch", "brevitas", "ziglang"),
)
def learn_cost(board: str = "mps2-an386") -> Measured:
    from edgesnn.bench.spiking_net import export_spiking_net

    with TemporaryDirectory(prefix="edgesnn-") as folder:
        return measure(export_spiking_net(Path(folder)), board)


def measure(model: Model, board: str, steps: int = _STEPS) -> Measured:
    """Learn at each of so many steps. learning_instructions counts forward, backward and update; learn_over_forward
    divides it by the forward alone. text_bytes is code and tables of the runtime that are linked into the firmware.
    """
    from edgesnn import boards, export
    from edgesnn.bench.spiking_net import spikes
    from edgesnn.export.c_plan import c_plan
    from edgesnn.runtime.firmware import build
    from edgesnn.runtime.profile import profile

    package, target = export.c(model.path, board), boards.load(board)
    rows, labels = spikes(steps, seed=1)
    counted = profile(package, target, list(model.quantize(rows[:, 0])), [int(label) for label in labels])
    forward, learning = counted.instructions_per_step, counted.instructions_per_learn
    figures = {
        "learn_over_forward": (forward + learning) / forward,
        "learning_instructions": forward + learning,
        "forward_instructions": forward,
        "arena_bytes": c_plan(model.path).arena_bytes,
        "text_bytes": _runtime_bytes(build(package, target).elf),
    }
    work = [{"function": name, "instructions": count / steps} for name, count in counted.learning.most_common()]
    return Measured(figures, work)


def _runtime_bytes(elf: Path) -> int:
    """Code and constant tables of a linked program that come from the runtime's sources esnn_*.c."""
    from elftools.elf.constants import SH_FLAGS
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    total, source = 0, ""
    with elf.open("rb") as file:
        image = ELFFile(file)
        constant = {i for i, section in enumerate(image.iter_sections())
                    if not section["sh_flags"] & SH_FLAGS.SHF_WRITE}  # fmt: skip
        tables = [section for section in image.iter_sections() if isinstance(section, SymbolTableSection)]
        for symbol in (symbol for table in tables for symbol in table.iter_symbols()):
            if symbol["st_info"]["type"] == "STT_FILE":
                source = Path(symbol.name).name
            local = symbol["st_info"]["bind"] == "STB_LOCAL" and source.startswith("esnn_")
            if (local or symbol.name.startswith("esnn_")) and symbol["st_shndx"] in constant:
                total += symbol["st_size"]
    return total
