"""Reading and writing `report.json` and `report.html`."""

from __future__ import annotations

import json
from pathlib import Path

from edgesnn.errors import ConfigError, ModelError
from edgesnn.report.page import render
from edgesnn.report.schema import Report

JSON_NAME = "report.json"
HTML_NAME = "report.html"


def write(report: Report, directory: str | Path) -> Path:
    """Write `report.json` and `report.html` into a folder, and return the path of the page.

    Raises:
        ConfigError: the folder cannot be written.
    """
    folder = Path(directory)
    page = folder / HTML_NAME
    content = json.dumps(report.model_dump(by_alias=True, exclude_none=True), indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / JSON_NAME).write_text(content, encoding="utf-8")
        page.write_text(render(report), encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{folder}: expected a folder that can be written, got {error.strerror}; choose another"
        ) from None
    return page


def load(directory: str | Path) -> Report:
    """Read `report.json` of a folder.

    Raises:
        ModelError: the file is missing, is not JSON, or a key is missing or wrong.
    """
    path = Path(directory) / JSON_NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"{path}: expected the report of an export or demo, got {error.strerror}; run one first"
        ) from None
    except ValueError as error:
        raise ModelError(
            f"{path}: expected JSON, got text that does not parse ({error}); write the report again"
        ) from None
    return Report.parse(data, str(path))
