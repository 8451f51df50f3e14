"""An estimate of energy from counts, by published energies of single operations; no device was measured.

Source: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9: 45 nm, 0.9 V.
Two views of the same work, which do not add up:

    operations  additions, multiplications and bytes moved alone: the least that any hardware of that node takes
    core        instructions of a general-purpose core, its fetch, decode and registers among them
"""

from __future__ import annotations

MODEL = (
    "estimate: 45 nm, 0.9 V, Horowitz 2014: addition 0.1 pJ, multiplication 3.1 pJ (32 bit), SRAM of 8 KB 1.25 pJ a "
    "byte; core: 70 pJ an instruction"
)
ADD_PJ, MULTIPLY_PJ = 0.1, 3.1  # 32-bit integers
SRAM_PJ_PER_BYTE = 10 / 8  # 64 bits of a memory of 8 KB
INSTRUCTION_PJ = 70.0


def operations_nj(additions: float, multiplications: float, nbytes: float) -> float:
    """Nanojoules of bare operations."""
    return (additions * ADD_PJ + multiplications * MULTIPLY_PJ + nbytes * SRAM_PJ_PER_BYTE) / 1000


def core_nj(instructions: float) -> float:
    """Nanojoules of a core that executes so many instructions."""
    return instructions * INSTRUCTION_PJ / 1000
