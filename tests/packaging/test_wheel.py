"""What a wheel holds, and what importing it brings along."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import edgesnn

ROOT = Path(__file__).parents[2]
FOLDERS = {"edgesnn": "edgesnn", "export": "edgesnn/export", "runtime": "edgesnn/runtime", "boards": "edgesnn/boards"}
#: What a device does not have; importing any of them is refused in the tests below.
TRAINING = ("torch", "brevitas", "onnxscript", "tvm", "safetensors")


def sources() -> list[Path]:
    """Every file of the packages, relative to the root, but for caches and the settings of tools (dot files)."""
    found = [path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts and not path.name.startswith(".")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built offline, from a copy: setuptools would leave a build folder, and its old files get into wheels."""
    tree = tmp_path_factory.mktemp("tree")
    for path in (*sources(), *map(Path, ("pyproject.toml", "setup.py", "README.md", "LICENSE"))):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, tree / path)
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", out, tree], check=True)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, to be put in front of the import path."""
    target = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(target)
    return target


def python(code: str, path: Path | None = None, cwd: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(path)} if path else None
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=cwd or "/", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_every_source_file(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {str(Path(FOLDERS[path.parts[0]], *path.parts[1:])) for path in sources()}
    assert {"edgesnn/py.typed", "edgesnn/runtime/c/include/esnn.h", "edgesnn/boards/mps2-an386.toml"} <= expected
    assert expected - names == set()


def test_the_only_top_level_name_is_edgesnn(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edgesnn"}


def test_the_wheel_imports_outside_the_tree_and_finds_its_data(installed: Path) -> None:
    code = """
import edgesnn.boards, edgesnn.export, edgesnn.report, edgesnn.runtime
from importlib.resources import files
for module in (edgesnn.boards, edgesnn.export, edgesnn.runtime):
    print(module.__file__)
assert edgesnn.boards.load("mps2-an386").ram_bytes
assert files("edgesnn.runtime").joinpath("c/include/esnn.h").is_file()
assert edgesnn.report.render(edgesnn.report.Report())
"""
    assert all(line.startswith(str(installed)) for line in python(code, installed).splitlines())


def test_the_editable_install_imports_the_same_names_outside_the_tree() -> None:
    python("import edgesnn.export, edgesnn.runtime, edgesnn.boards; assert edgesnn.boards.available()")


@pytest.mark.parametrize(
    "use",
    [
        "import edgesnn.runtime, edgesnn.runtime.stream",
        "import edgesnn.boards; edgesnn.boards.load('mps2-an386')",
        "import edgesnn.report, edgesnn.bench; edgesnn.bench.available()",
        "import sys; from edgesnn.cli import main; sys.argv = ['edgesnn', 'boards']; main()",
    ],
)
def test_a_device_needs_none_of_the_training_packages(use: str) -> None:
    blocker = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {TRAINING!r}:
            raise ModuleNotFoundError(f"refused: {{name}}", name=name)
sys.meta_path.insert(0, Refuse())
"""
    check = f"assert not set({TRAINING!r}) & set(sys.modules)"
    python(f"{blocker}\nimport sys\ntry:\n    {use}\nexcept SystemExit as end:\n    assert not end.code\n{check}")


def test_import_edgesnn_is_lazy_and_knows_its_names() -> None:
    python(
        "import sys, edgesnn; assert not {'torch', 'numpy', 'onnx'} & set(sys.modules); assert 'fit' in dir(edgesnn)"
    )


def test_code_project_and_changelog_agree_on_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert edgesnn.__version__ == project["version"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()
