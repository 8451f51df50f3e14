"""Rules of the repository that no other tool keeps."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("**/*.md")])


def test_every_dependency_is_pinned() -> None:
    pinned = {name(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [
        *project["dependencies"],
        *(entry for extra in project["optional-dependencies"].values() for entry in extra),
    ]
    assert {name(entry) for entry in asked} - pinned == set()


def name(requirement: str) -> str:
    return re.split(r"[=<>~! \[]", requirement)[0].lower().replace("_", "-")


@pytest.mark.parametrize("folder", ["export", "runtime", "boards"])
def test_importing_a_folder_by_its_bare_name_is_a_lint_error(folder: str) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", ROOT / "pyproject.toml", "-"]
    for statement in (f"import {folder}", f"from {folder} import x", f"from {folder}.y import x"):
        done = subprocess.run(command, input=f"{statement}\n", capture_output=True, text=True, check=False)
        assert "TID251" in done.stdout
        assert f"edgesnn.{folder}" in done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
