"""A C package as a project of each build system: manifests, build files and one example each.

One layout serves all, because Arduino allows no other: the sources lie in `src/`, which is the one include folder. What
a build system wants besides lies where it looks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version

from edgesnn.runtime.model import Model

#: Template below templates/projects -> its place in the package.
_MANIFESTS = {
    "Makefile.in": "Makefile",
    "library.properties.in": "library.properties",
    "library.json.in": "library.json",
    "idf_component.yml.in": "idf_component.yml",
    "module.yml.in": "zephyr/module.yml",
    "zephyr.Kconfig.in": "zephyr/Kconfig",
    "zephyr.cmake.in": "zephyr/CMakeLists.txt",
}
_EXAMPLES = {
    "example_host.c.in": "examples/host/main.c",
    "example_host.cmake.in": "examples/host/CMakeLists.txt",
    "classify.ino.in": "examples/classify/classify.ino",  # Arduino: a sketch is named as its folder
    "platformio.ini.in": "examples/platformio/platformio.ini",
    "example_zephyr.c.in": "examples/zephyr/src/main.c",
    "example_zephyr.cmake.in": "examples/zephyr/CMakeLists.txt",
    "prj.conf.in": "examples/zephyr/prj.conf",
    "example_idf.c.in": "examples/esp-idf/main/main.c",
    "example_idf_main.cmake.in": "examples/esp-idf/main/CMakeLists.txt",
    "example_idf.cmake.in": "examples/esp-idf/CMakeLists.txt",
}


def projects(
    model: Model, use: str, fill: Callable[[str, dict[str, str]], str], values: Mapping[str, str]
) -> dict[str, str]:
    """Path in the package -> text, of every file that only a build system reads, and of the examples.

    Args:
        model: the model of the package.
        use: C that takes the model from sensor values to a class: `start`, and `on_row` or `on_input`.
        fill: fills a template below templates/.
        values: what all templates know.
    """
    stream = model.frame is not None
    known = {
        **values,
        "use": use,
        "use_function": "on_row" if stream else "on_input",
        "read_count": "CHANNELS" if stream else "INPUT_BYTES",
        "period_ms": str(round(1000 / model.rate_hz) if model.rate_hz else 1000),
        "version": version("edgesnn"),
    }
    known["example"] = fill("projects/example.c.in", known)
    return {place: fill(f"projects/{template}", known) for template, place in (_MANIFESTS | _EXAMPLES).items()}
