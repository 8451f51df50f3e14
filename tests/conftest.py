"""Settings of every test run, and the fixtures that need tools of the system."""

import shutil
from pathlib import Path

import pytest
from emulated import need
from hypothesis import settings

import edgesnn.runtime

# A slow machine is not a wrong result; and the same examples every time make a red run repeatable.
settings.register_profile("edgesnn", deadline=None, derandomize=True)
settings.load_profile("edgesnn")


@pytest.fixture(scope="session")
def emulator() -> str:
    """The id of an emulated board that runs here. A missing tool skips the test; under CI=true it fails."""
    board = "mps2-an386"
    need(board)
    return board


@pytest.fixture(scope="session")
def fake_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `c/` as `edgesnn.export.c` writes it, holding tests/boards/fake; copy it before a change."""
    folder = tmp_path_factory.mktemp("model") / "c"
    shutil.copytree(Path(__file__).parent / "boards" / "fake", folder / "src")
    runtime = Path(edgesnn.runtime.__file__).parent / "c"
    (folder / "src" / "esnn").mkdir()
    for path in (*runtime.glob("include/*.h"), *runtime.glob("src/*")):
        shutil.copy(path, folder / "src" / "esnn")
    return folder
