"""Write an exported model as a folder of C11: sources, test vectors, self-test, build file, and the runtime."""

from __future__ import annotations

import string
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np

from edgesnn.errors import ExportError
from edgesnn.export import c_edges as edges
from edgesnn.export import c_render as render
from edgesnn.export.c_ops import C_TYPES
from edgesnn.export.c_plan import Program, check_budget, program
from edgesnn.export.c_projects import projects
from edgesnn.export.c_text import comment, markdown
from edgesnn.runtime import vector_file
from edgesnn.runtime.model import Model
from edgesnn.runtime.package import MANIFEST, manifest, written_files
from edgesnn.runtime.state import ABI
from edgesnn.runtime.vector_file import Vectors


class _Template(string.Template):
    """`@{name}` is replaced; `$` and braces of C, CMake and Markdown stay."""

    delimiter = "@"


def c(directory: str | Path, board: str = "host") -> Path:
    """Write `directory/c/`: `src/` with `NAME.h`, `NAME.c`, `NAME_io.c` and the runtime in `esnn/`, `selftest/` with
    its vectors, `README.md`, what makes it a project of each build system (`c_projects`), and `package.json`, which
    names the board and the files written.

    The same model gives the same bytes. Exporting again replaces the files of the last export and no others.

    Args:
        directory: folder written by `edgesnn.export.onnx`.
        board: the board whose flash and RAM the model must fit: an id, or the path of a board file, of which the
            package keeps a copy; `host` has no limits.

    Returns:
        `directory/c`.

    Raises:
        ModelError: the folder is not a whole export.
        ExportError: a graph holds what C does not support, or the folder holds files that are not ours.
        BoardError: the board is unknown.
        BudgetError: the model does not fit the board; names layers and bytes.
    """
    model = Model.load(directory)
    planned = program(model)
    check_budget(planned, board)
    out = Path(directory) / "c"
    contents = _contents(planned)
    if board.endswith(".toml"):
        board_file, board = Path(board), Path(board).name
        contents[board] = board_file.read_bytes()
    written = manifest(board, planned.model.source_hash, planned.arena_bytes, [*contents, MANIFEST])
    _clear(out, [*contents, MANIFEST])
    for name, content in (contents | {MANIFEST: written.encode()}).items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    return out


def sources(program: Program) -> dict[str, bytes]:
    """What a firmware compiles: path in the package -> content, all below `src/`."""
    return {name: content for name, content in _contents(program).items() if name.startswith("src/")}


def _contents(program: Program) -> dict[str, bytes]:
    texts = {name: text.encode() for name, text in _texts(program, vector_file.read(program.model)).items()}
    return texts | {f"src/esnn/{source.name}": source.read_bytes() for source in _runtime_sources()}


def _clear(out: Path, wanted: Iterable[str]) -> None:
    """Remove the files of the last export, and no others.

    Raises:
        ExportError: what is there is not ours.
    """
    ours = written_files(out)
    if ours is None:
        foreign = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    else:
        foreign = sorted(name for name in set(wanted) - set(ours) if (out / name).exists())
    if foreign:
        raise ExportError(
            f"{out}: expected an empty folder or one written by edgesnn, got {foreign[0]}; choose another -o"
        )
    there = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_symlink() or path.is_file()}
    gone = [there[name] for name in ours or () if name in there]  # the names may be anything: the list may be damaged
    for path in gone:
        path.unlink(missing_ok=True)
    folders = {parent for path in gone for parent in path.parents if out in parent.parents}
    for folder in sorted(folders, reverse=True):  # the inner ones first
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _runtime_sources() -> list[Traversable]:
    root = files("edgesnn.runtime") / "c"
    found = [path for folder in ("include", "src") for path in (root / folder).iterdir()]
    return sorted((path for path in found if path.name.endswith((".c", ".h"))), key=lambda path: path.name)


def _texts(program: Program, vectors: Vectors) -> dict[str, str]:
    model = program.model
    values = _values(program) | edges.values(model) | {"steps": str(len(vectors.labels))}
    use = _fill(f"{edges.usage(model)}.c.in", values)
    usage = _fill(f"{edges.usage(model)}.md.in", values | {"use": use})
    return projects(model, use, _fill, values) | {
        f"src/{model.name}.h": _fill("model.h.in", values),
        f"src/{model.name}.c": _fill("model.c.in", values | _code(program)),
        f"src/{model.name}_io.c": _fill("model_io.c.in", values),
        f"selftest/{model.name}_vectors.h": _fill("vectors.h.in", values | _vector_arrays(program, vectors)),
        "selftest/main.c": _fill("main.c.in", values),
        "CMakeLists.txt": _fill("CMakeLists.txt.in", values),
        "README.md": _fill("README.md.in", values | {"layers": _layer_rows(program), "usage": usage}),
    }


def _fill(template: str, values: dict[str, str]) -> str:
    text = (files("edgesnn.export") / "templates" / template).read_text(encoding="utf-8")
    return _Template(text).substitute(values)


def _values(program: Program) -> dict[str, str]:
    model = program.model
    return {
        "name": model.name,
        "NAME": model.name.upper(),
        "abi": str(ABI),
        "source_hash": model.source_hash,
        "id": f"0x{model.model_id:016x}",
        "arena_bytes": str(program.arena_bytes),
        "snapshot_bytes": str(model.snapshot_bytes),
        "input_bytes": str(int(np.prod(model.input.shape))),
        "input_type": C_TYPES[model.input.dtype],
        "input_scale": repr(model.input.scale),
        "input_shape": " x ".join(map(str, model.input.shape)),
        "flash_bytes": str(program.flash_bytes),
        "classes": str(len(model.classes)),
        "class_comment": comment(", ".join(model.classes)),
        "class_list": ", ".join(map(markdown, model.classes)),
        "channel_list": ", ".join(map(markdown, model.channels)) or "in the order of the training data",
        "learns": f"yes ({model.learn.scope})" if model.learn else "no",
    }


def _code(program: Program) -> dict[str, str]:
    learn = program.learn is not None
    return {
        "offsets": render.offsets(program),
        "constants": render.constants(program),
        "step_functions": render.functions(program, program.step_layers, program.step, "layer"),
        "step_calls": render.calls(program, program.step_layers, "layer"),
        "read_y": render.read_y(program),
        "learn_functions": _learn_functions(program),
        "learn": "learn" if learn else "NULL",
        "tensors": render.tensor_table(program),
        "tensor_count": str(len(program.model.tensors)),
    }


def _learn_functions(program: Program) -> str:
    if program.learn is None:
        return ""
    layers = render.functions(program, program.learn_layers, program.learn, "learn")
    body = render.calls(program, program.learn_layers, "learn")
    return f"\n{layers}\nstatic void learn(uint8_t *arena, int32_t label) {{\n{body}\n}}\n"


def _vector_arrays(program: Program, vectors: Vectors) -> dict[str, str]:
    name, steps = program.model.name, len(vectors.labels)
    snapshot = np.frombuffer(program.model.pack(vectors.tensors), np.uint8)
    c_type = C_TYPES[program.model.input.dtype]
    return {
        "x": render.vectors_array(c_type, f"{name}_vectors_x", vectors.x.reshape(steps, -1)),
        "labels": render.array(vectors.labels),
        "y": render.vectors_array("int32_t", f"{name}_vectors_y", vectors.y),
        "snapshot": render.array(snapshot),
    }


def _layer_rows(program: Program) -> str:
    return "\n".join(
        f"| {markdown(layer.name)} | {layer.flash_bytes} | {layer.persistent_bytes} | {layer.scratch_bytes} |"
        for layer in program.layers
    )
