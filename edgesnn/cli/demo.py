"""`edgesnn demo`: the whole road on real data."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Neuron(StrEnum):
    """Which network the demo trains."""

    EMPF = "empf"
    SLTT = "sltt"


def demo(
    board: Annotated[str, typer.Option(metavar="ID", help="Board to run on; see `edgesnn boards`.")] = "mps2-an386",
    quick: Annotated[bool, typer.Option("--quick", help="Fewer epochs: about two minutes.")] = False,
    model: Annotated[
        Neuron, typer.Option(help="empf: binary weights, graded spikes; sltt: int8 weights, binary spikes.")
    ] = Neuron.EMPF,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where model and report go.")] = Path(
        "out/demo"
    ),
) -> None:
    """Train on eight people's wrists, deploy on an emulated microcontroller, and let it learn from two new people."""
    from edgesnn import demo as story

    story.run(board=board, quick=quick, out=out, model=model.value)
