"""The file a benchmark writes: figures, and what must be known to compare them."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

FigureKey = Annotated[str, Field(pattern=r"^[a-z0-9]+([._][a-z0-9]+)*$")]


class Machine(BaseModel):
    """Where a figure was measured; a time means nothing without it."""

    processor: str
    cores: int
    system: str


class Result(BaseModel):
    """One run of one benchmark, as written to JSON."""

    model_config = ConfigDict(allow_inf_nan=False)

    name: str
    command: str
    machine: Machine
    versions: dict[str, str]
    figures: dict[FigureKey, float]
    rows: list[dict[str, Any]]
    plot: str | None = Field(None, exclude=True)  # an SVG file beside the JSON


def this_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> Machine:
    """The processor's name as Linux gives it, the cores this process may use, and the system."""
    return Machine(
        processor=_processor(cpuinfo),
        cores=len(os.sched_getaffinity(0)),
        system=f"{platform.system()} {platform.machine()}",
    )


def _processor(cpuinfo: Path) -> str:
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model") and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Version by distribution name, Python's own included; "not installed" where there is none."""
    found = {"python": platform.python_version()}
    for package in ("edgesnn", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
