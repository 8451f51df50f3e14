"""The folder of C: builds without a warning, passes its own vectors under sanitizers, is deterministic, and fits."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import resources

import onnx
import pytest
from random_models import RandomModel, Shape

from edgesnn.boards import load as load_board
from edgesnn.errors import BoardError, BudgetError, ExportError, ModelError
from edgesnn.export.builder import finish
from edgesnn.export.c_package import c
from edgesnn.runtime.content import CONTENT_HASH, SOURCE_HASH
from edgesnn.runtime.package import exported_board, written_files

WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror"]
GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="needs gcc")
ZIG = [sys.executable, "-m", "ziglang", "cc"]

IMAGE = Shape((2, 6, 7), "uint8", (("Conv2d", 5), ("BinaryConv2d", 6), ("BinaryLinear", 9)), pool=True, steps=2)


@pytest.fixture(scope="module", params=[Shape(), IMAGE], ids=["dense", "image"])
def exported(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported")
    RandomModel(request.param, seed=2).write(path)
    c(path)
    return path


@pytest.fixture
def copy(tmp_path):
    """A dense model that a test may damage."""
    RandomModel(Shape(), seed=3).write(tmp_path)
    return tmp_path


def sources(folder):
    return sorted(str(path) for path in (folder / "src").rglob("*.c"))


def compile_selftest(compiler, folder, out):
    command = [
        *compiler,
        f"-I{folder / 'src'}",
        str(folder / "selftest" / "main.c"),
        *sources(folder),
        "-o",
        str(out),
    ]
    return subprocess.run(command, capture_output=True, text=True)


def selftest(compiler, folder, out):
    built = compile_selftest(compiler, folder, out)
    assert built.returncode == 0, built.stderr
    return subprocess.run([str(out)], capture_output=True, text=True)


@needs_gcc
def test_selftest_under_address_and_undefined_behaviour_sanitizers(exported, tmp_path):
    flags = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    ran = selftest([GCC, *WARNINGS, *flags], exported / "c", tmp_path / "selftest")
    assert (ran.returncode, ran.stdout) == (0, "rand: 32 steps, every integer as expected\n"), ran.stderr


def test_selftest_with_clang(exported, tmp_path):
    """zig's clang traps on undefined behaviour unless told otherwise."""
    ran = selftest([*ZIG, *WARNINGS, "-Wsign-conversion", "-O1"], exported / "c", tmp_path / "selftest")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@needs_gcc
def test_selftest_fails_on_one_wrong_weight(copy, tmp_path):
    folder = c(copy)
    source = folder / "src" / "rand.c"
    lines = source.read_text().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if "readout_weight_factory[" in line) + 1
    first, _, rest = lines[at].partition(",")
    lines[at] = f"    {int(first) ^ 1},{rest}"
    source.write_text("".join(lines))
    ran = selftest([GCC, "-std=c11"], folder, tmp_path / "selftest")
    assert ran.returncode == 1
    assert "not as expected" in ran.stdout


@needs_gcc
def test_objects_need_no_heap_no_stdio_and_no_libm(exported, tmp_path):
    command = [
        GCC,
        "-std=c11",
        "-O2",
        f"-I{exported / 'c' / 'src'}",
        "-c",
        *sources(exported / "c"),
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    objects = sorted(map(str, tmp_path.glob("*.o")))
    listed = subprocess.run(["nm", "-u", *objects], capture_output=True, text=True, check=True).stdout
    needed = {line.split()[-1] for line in listed.splitlines() if line.startswith(" ")}
    outside = {
        name
        for name in needed
        if not name.startswith(("esnn_", "_GLOBAL_OFFSET_TABLE_", "__stack_chk", "__cpu_", "__popcount"))
    }
    # __cpu_*, __popcount*: of the compiler, on an x86
    assert outside <= {"memcpy", "memset", "memmove", "memcmp"}


@needs_gcc
def test_public_header_in_cpp(exported, tmp_path):
    file = tmp_path / "use.cpp"
    file.write_text(
        '#include "rand.h"\n'
        "alignas(4) static unsigned char arena[RAND_ARENA_BYTES];\n"
        "int main() { esnn_net net; return esnn_init(&net, &rand_model, arena, sizeof arena); }\n"
    )
    command = [GCC, "-xc++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    subprocess.run([*command, f"-I{exported / 'c' / 'src'}", str(file)], check=True)


@needs_gcc
def test_another_abi_is_refused_when_compiling(copy, tmp_path):
    folder = c(copy)
    header = folder / "src" / "esnn" / "esnn.h"
    header.write_text(header.read_text().replace("#define ESNN_ABI 1", "#define ESNN_ABI 2"))
    built = compile_selftest([GCC, "-std=c11"], folder, tmp_path / "selftest")
    assert built.returncode != 0
    assert "rand.h was generated for edgesnn ABI 1: export the model again" in built.stderr


def test_the_same_model_gives_the_same_bytes(exported, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(exported, again)
    shutil.rmtree(again / "c")
    c(again)
    files = sorted(path.relative_to(again / "c") for path in (again / "c").rglob("*") if path.is_file())
    assert len(files) > 15
    for file in files:
        assert (again / "c" / file).read_bytes() == (exported / "c" / file).read_bytes(), file


def test_exporting_again_replaces_what_was_written_and_nothing_else(copy):
    folder = c(copy)
    (folder / "mine.c").write_text("mine")
    (folder / "build").mkdir()
    (folder / "build" / "cmake.txt").write_text("mine")
    (folder / "src" / "esnn" / "notes.txt").write_text("mine")
    RandomModel(Shape(), seed=3, name="other").write(copy)
    c(copy)
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"mine.c", "build/cmake.txt", "src/esnn/notes.txt", "src/other.c", "selftest/other_vectors.h"} <= kept
    assert not {"src/rand.c", "src/rand.h", "src/rand_io.c", "selftest/rand_vectors.h"} & kept
    assert kept - {"mine.c", "build/cmake.txt", "src/esnn/notes.txt"} == set(written_files(folder))


def test_a_folder_that_is_not_ours_is_left_alone(copy):
    (copy / "c").mkdir()
    (copy / "c" / "thesis.tex").write_text("mine")
    told = r"expected an empty folder or one written by edgesnn, got thesis\.tex; choose another -o"
    with pytest.raises(ExportError, match=told):
        c(copy)
    (copy / "c" / "package.json").write_text('{"name": "a package of npm"}')
    with pytest.raises(ExportError, match=r"got package\.json"):
        c(copy)
    (copy / "c" / "package.json").write_text('{"files": ["../step.onnx"]}')
    with pytest.raises(ExportError, match=r"got package\.json"):
        c(copy)
    assert (copy / "c" / "thesis.tex").read_text() == "mine"
    assert (copy / "step.onnx").exists()


def test_a_list_of_files_that_names_folders_or_nothing_is_no_harm(copy):
    folder = c(copy)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    listed = json.loads((folder / "package.json").read_text())
    listed["files"] += ["", ".", "src", "src/esnn", "a\0b", "x" * 300, "none/such", listed["files"][0]]
    (folder / "package.json").write_text(json.dumps(listed))
    c(copy)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_file_in_the_way_is_left_alone(copy):
    folder = c(copy)
    (folder / "src" / "other.c").write_text("mine")
    RandomModel(Shape(), seed=3, name="other").write(copy)
    with pytest.raises(ExportError, match=r"got src/other\.c; choose another -o"):
        c(copy)
    assert (folder / "src" / "other.c").read_text() == "mine"
    assert (folder / "src" / "rand.c").exists()


def test_weights_are_packed_constants(exported):
    text = (exported / "c" / "src" / "rand.c").read_text()
    assert "static const uint8_t fc0_weight[22]" in text or "static const uint8_t fc1_weight[" in text
    assert "malloc" not in text


def test_source_hash_is_in_every_generated_source(exported):
    step = onnx.load(exported / "step.onnx")
    digest = {entry.key: entry.value for entry in step.metadata_props}["edgesnn.source_hash"]
    for name in ("src/rand.h", "src/rand.c", "src/rand_io.c", "selftest/rand_vectors.h", "README.md"):
        assert digest in (exported / "c" / name).read_text(), name


@pytest.mark.parametrize(("memory", "budget"), [("flash", {"flash_bytes": 300}), ("RAM", {"ram_bytes": 200})])
def test_a_model_that_does_not_fit_is_refused_by_layer(copy, monkeypatch, memory, budget):
    class Small:
        flash_bytes, ram_bytes = None, None

    for name, nbytes in budget.items():
        setattr(Small, name, nbytes)
    monkeypatch.setattr("edgesnn.export.c_plan.load_board", lambda _: Small)
    with pytest.raises(
        BudgetError, match=rf"rand on tiny: .* bytes of {memory}, got \d+ \(fc0 \d+, fc1 \d+, readout \d+\)"
    ) as e:
        c(copy, board="tiny")
    assert "\n" not in str(e.value)
    assert not (copy / "c").exists()


def test_boards_of_the_catalogue(copy):
    assert load_board("mps2-an386").ram_bytes is not None
    c(copy, board="mps2-an386")
    c(copy, board="nucleo-f446re")
    assert exported_board(copy / "c") == "nucleo-f446re"
    with pytest.raises(BoardError, match="no-such-board"):
        c(copy, board="no-such-board")


def test_a_board_of_ones_own_travels_with_the_package(copy, tmp_path):
    text = resources.files("edgesnn.boards").joinpath("nucleo-f446re.toml").read_text(encoding="utf-8")
    own = tmp_path / "elsewhere" / "my-board.toml"
    own.parent.mkdir()
    own.write_text(text.replace('"nucleo-f446re"', '"my-board"'), encoding="utf-8")
    folder = c(copy, board=str(own))
    own.unlink()
    assert load_board(exported_board(folder)).id == "my-board"
    c(copy)
    assert not (folder / "my-board.toml").exists()
    own.write_text(text.replace('"nucleo-f446re"', '"my-board"').replace("bytes = 131072", "bytes = 64"))
    with pytest.raises(BudgetError, match="expected at most 64 bytes of RAM"):
        c(copy, board=str(own))


def test_missing_or_foreign_vectors(copy):
    (copy / "vectors.json").unlink()
    with pytest.raises(ModelError, match=r"vectors.json: expected test vectors, found no file; export again"):
        c(copy)


def rewrite(folder, change):
    """Change the nodes of step.onnx and seal it again."""
    model = onnx.load(folder / "step.onnx")
    nodes = change(list(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    kept = {e.key: e.value for e in model.metadata_props if e.key not in (CONTENT_HASH, SOURCE_HASH)}
    onnx.save_model(finish(model.graph, kept), folder / "step.onnx")


def test_an_unknown_operator_is_named(copy):
    def add_relu(nodes):
        at = next(i for i, node in enumerate(nodes) if node.name == "fc1.rescale")
        nodes[at].input[0] = "fc1.r"
        return [*nodes[:at], onnx.helper.make_node("Relu", ["fc1.a"], ["fc1.r"], name="fc1.relu"), *nodes[at:]]

    rewrite(copy, add_relu)
    with pytest.raises(ExportError, match=r"fc1.relu: expected .*, got Relu; C does not support it"):
        c(copy)


def test_reading_a_state_after_its_update_is_refused(copy):
    """C updates states in place; a graph that reads the old value later would silently get the new one."""

    def read_late(nodes):
        fire = next(node for node in nodes if node.name == "n_fc1.fire")
        fire.input[0] = "n_fc0.v"
        return nodes

    rewrite(copy, read_late)
    with pytest.raises(ExportError, match=r"n_fc1.fire: expected to read n_fc0.v before its new value is written"):
        c(copy)
