"""The whole runtime, compiled by gcc, which writes down who calls whom and what each function takes of the stack."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import edgesnn.runtime

C = Path(edgesnn.runtime.__file__).parent / "c"
SOURCES = sorted((C / "src").glob("*.c"))
INDIRECT = "__indirect_call"
#: Calls through a pointer: into the model, to the application's storage, and on x86-64 to the kernels of a level.
POINTERS = {
    "esnn_step", "esnn_learn", "esnn_save", "esnn_load", "esnn_flash_save", "esnn_flash_load",
    "esnn_slots_next", "esnn_slots_verify", "esnn_slots_load", "find_newest", "check_payload", "program",
    "esnn_tile_conv2d", "esnn_tile_unpack",
}  # fmt: skip
ALLOWED_OUTSIDE = {"memcpy", "memset", "memmove", "memcmp"}
#: gcc for this machine, and for cores with kernels of their own.
COMPILERS = {
    "host": ("gcc", []),
    "m0": ("arm-none-eabi-gcc", ["-mcpu=cortex-m0", "-mthumb"]),
    "m3": ("arm-none-eabi-gcc", ["-mcpu=cortex-m3", "-mthumb"]),
    "m4": ("arm-none-eabi-gcc", ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard"]),
    "m7": ("arm-none-eabi-gcc", ["-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard"]),
    "m33": ("arm-none-eabi-gcc", ["-mcpu=cortex-m33", "-mthumb", "-mfloat-abi=hard"]),
    "m55": ("arm-none-eabi-gcc", ["-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"]),
}


@pytest.fixture(scope="module", params=COMPILERS)
def graph(request, tmp_path_factory) -> tuple[dict[str, str], dict[str, set[str]], str]:
    """(stack usage as gcc words it, callees) by function, and the core; compiled with all warnings promised."""
    compiler, flags = COMPILERS[request.param]
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    folder = tmp_path_factory.mktemp("graph")
    command = [compiler, *flags, "-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffreestanding",
               "-fcallgraph-info=su", f"-I{C / 'include'}", "-c"]  # fmt: skip
    done = subprocess.run([*command, *map(str, SOURCES)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stack: dict[str, str] = {}
    calls: dict[str, set[str]] = {}
    for file in folder.glob("*.ci"):
        text = file.read_text()
        for title, usage in re.findall(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+ bytes \([^)]*\))', text):
            stack[title] = usage
        for source, target in re.findall(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text):
            calls.setdefault(source, set()).add(target)
    assert len(stack) > 20
    return stack, calls, request.param


def name(title: str) -> str:
    """`esnn_slots.c:find_newest` or `esnn_step` -> the function, without what gcc adds to a clone."""
    return title.rpartition(":")[2].partition(".")[0]


def test_nothing_calls_itself(graph):
    _, calls, _ = graph
    done: set[str] = set()

    def walk(function: str, path: tuple[str, ...]) -> None:
        assert function not in path, " -> ".join([*path, function])
        if function not in done:
            for callee in calls.get(function, ()):
                walk(callee, (*path, function))
            done.add(function)

    for function in calls:
        walk(function, ())


def test_every_frame_is_of_a_known_size(graph):
    stack, _, _ = graph
    """`dynamic,bounded` is a frame that pushes arguments of calls."""
    assert {title: usage for title, usage in stack.items() if "static" not in usage and "bounded" not in usage} == {}


def test_nothing_outside_is_called_but_memory_functions_and_the_compilers_own(graph):
    stack, calls, _ = graph
    called = {name(callee) for callees in calls.values() for callee in callees}
    outside = {function for function in called if not function.startswith("esnn_")} - {name(title) for title in stack}
    outside -= {INDIRECT}
    assert {
        function for function in outside if not function.startswith(("__aeabi_", "__cpu_", "__popcount"))
    } <= ALLOWED_OUTSIDE


def test_pointers_are_called_where_the_stack_bound_knows_of_it(graph):
    """edgesnn.runtime.prediction follows `step` and `learn`, leaves out storage functions of the application, and adds
    a kernel whose address is taken to who takes it. Such kernels are those of Helium.
    """
    _, calls, core = graph
    callers = {title for title, callees in calls.items() if INDIRECT in callees}
    takers = {"esnn_linear", "esnn_binary_linear", "esnn_binary_conv2d", "esnn_quad_gather", "dots", "conv_quads",
              "esnn_packed_conv2d"}  # fmt: skip
    assert {name(title) for title in callers} <= POINTERS | (takers if core == "m55" else set())
