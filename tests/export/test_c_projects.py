"""One folder, six build systems: CMake and make build it; the manifests of the others say what their systems demand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from random_models import RandomModel, Shape

from edgesnn.export.c_package import c

STUBS = Path(__file__).parent / "project_stubs"
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    RandomModel(Shape(), seed=4).write(folder)
    return c(folder)


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs("make")
def test_make_builds_library_selftest_and_example(package, tmp_path):
    flags = [f"BUILD={tmp_path}", "CFLAGS=-O1 -Wall -Wextra -Wconversion -Werror"]
    said = run("make", *flags, "all", "selftest", "example", cwd=package)
    assert "rand: 32 steps, every integer as expected" in said
    assert re.search(r"^c\d$", said, re.MULTILINE)
    assert (tmp_path / "libedgesnn_rand.a").is_file()
    assert "gcc" not in run("make", *flags, "all", cwd=package)


@needs("cmake")
def test_cmake_builds_the_folder_and_a_project_that_takes_it_in(package, tmp_path):
    run("cmake", "-S", package, "-B", tmp_path / "own", "-DCMAKE_BUILD_TYPE=Debug", cwd=tmp_path)
    run("cmake", "--build", tmp_path / "own", cwd=tmp_path)
    assert "100% tests passed" in run("ctest", "--test-dir", tmp_path / "own", cwd=tmp_path)
    example = package / "examples" / "host"
    run("cmake", "-S", example, "-B", tmp_path / "example", "-DCMAKE_BUILD_TYPE=Debug", cwd=tmp_path)
    run("cmake", "--build", tmp_path / "example", cwd=tmp_path)
    assert set(run(tmp_path / "example" / "rand_example", cwd=tmp_path).split()) <= {"c0", "c1", "c2"}


@needs("cmake")
@needs("g++")
def test_cmake_takes_it_into_a_project_of_cpp_alone(package, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(firmware CXX)\n"
        f"add_subdirectory({package} model)\nadd_executable(firmware main.cpp)\n"
        "target_link_libraries(firmware PRIVATE edgesnn_rand)\n"
    )
    (tmp_path / "main.cpp").write_text(
        '#include "rand.h"\n#include <cstdio>\n'
        "alignas(4) static uint8_t arena[RAND_ARENA_BYTES];\n"
        "int main() {\n    esnn_net net;\n"
        "    std::puts(esnn_strerror(esnn_init(&net, &rand_model, arena, sizeof arena)));\n}\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror", cwd=tmp_path)
    run("cmake", "--build", tmp_path / "build", cwd=tmp_path)
    assert run(tmp_path / "build" / "firmware", cwd=tmp_path) == "ok\n"


def test_arduino_takes_it_as_a_recursive_library(package):
    """Arduino library specification 1.5: with a folder src/, that alone is compiled and an include folder."""
    lines = (package / "library.properties").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines)
    demanded = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert demanded <= given.keys()
    assert all(given.values())
    assert re.fullmatch(r"[A-Za-z0-9][\w .-]{0,62}", given["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", given["version"])
    assert (package / "src" / given["includes"]).is_file()
    assert not list(package.glob("*.[ch]"))
    sketches = list(package.glob("examples/**/*.ino"))
    assert [sketch.stem for sketch in sketches] == [sketches[0].parent.name]


def test_headers_are_found_from_src_alone(package):
    """Arduino and PlatformIO give no other include folder; inside esnn/ files find each other."""
    for path in sorted((package / "src").rglob("*.[ch]")):
        for name in re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE):
            assert (path.parent / name).is_file(), (path.name, name)


def test_platformio_finds_what_its_manifest_names(package):
    given = json.loads((package / "library.json").read_text())
    assert {"name", "version", "description", "frameworks", "platforms", "build"} <= given.keys()
    assert (package / given["build"]["srcDir"] / given["headers"]).is_file()
    for example in given["examples"]:
        assert all((package / example["base"] / name).is_file() for name in example["files"])
    text = (package / "examples" / "platformio" / "platformio.ini").read_text()
    project = package / "examples" / "platformio"
    assert (project / re.search(r"src_dir = (.*)", text)[1] / "classify.ino").is_file()
    assert (project / re.search(r"symlink://(.*)", text)[1] / "library.json").is_file()


def test_zephyr_finds_its_module(package):
    module = yaml.safe_load((package / "zephyr" / "module.yml").read_text())
    assert module["name"] == "edgesnn_rand"
    assert (package / module["build"]["kconfig"]).is_file()
    folder = package / module["build"]["cmake"]
    named = re.findall(r"\.\./[\w/.]+\.c", (folder / "CMakeLists.txt").read_text())
    assert named == ["../src/rand.c", "../src/rand_io.c"]
    assert all((folder / name).is_file() for name in named)
    symbol = re.search(r"^config (\w+)$", (folder / "Kconfig").read_text(), re.MULTILINE)[1]
    assert f"if(CONFIG_{symbol})" in (folder / "CMakeLists.txt").read_text()
    assert f"CONFIG_{symbol}=y" in (package / "examples" / "zephyr" / "prj.conf").read_text()
    assert (package / "examples" / "zephyr" / "src" / "main.c").is_file()


@needs("cmake")
@pytest.mark.parametrize("models", [1, 2])
def test_zephyr_compiles_the_runtime_once(package, tmp_path, models):
    """Zephyr's commands replaced by ones that print what they are given."""
    script = tmp_path / "CMakeLists.txt"
    script.write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(stub NONE)\nset(CONFIG_EDGESNN_RAND y)\n"
        "function(zephyr_include_directories)\nendfunction()\nfunction(zephyr_library_named name)\nendfunction()\n"
        'function(zephyr_library_sources)\nforeach(file ${ARGN})\nmessage(STATUS "source ${file}")\nendforeach()\n'
        "endfunction()\n" + "".join(f"add_subdirectory({package / 'zephyr'} m{i})\n" for i in range(models))
    )
    said = run("cmake", "-S", tmp_path, "-B", tmp_path / "build", cwd=tmp_path)
    assert said.count("source ../src/rand.c") == models
    assert said.count("esnn_net.c") == 1


@needs("cmake")
def test_esp_idf_registers_a_component(package, tmp_path):
    """In the way ESP-IDF asks a component for its sources: as a script, with idf_component_register its own."""
    script = tmp_path / "ask.cmake"
    script.write_text(
        'set(ESP_PLATFORM 1)\nfunction(idf_component_register)\nmessage("${ARGN}")\nendfunction()\n'
        f"include({package / 'CMakeLists.txt'})\n"
    )
    done = subprocess.run(["cmake", "-P", script], capture_output=True, text=True, check=True)
    for name in ("src/rand.c", "src/rand_io.c", "src/esnn/esnn_net.c", "INCLUDE_DIRS;src"):
        assert name in done.stderr
    manifest = yaml.safe_load((package / "idf_component.yml").read_text())
    assert {"version", "description", "license", "dependencies"} <= manifest.keys()


@needs("g++")
@pytest.mark.parametrize(
    "example", ["classify/classify.ino", "host/main.c", "zephyr/src/main.c", "esp-idf/main/main.c"]
)
def test_examples_compile(package, example):
    path = package / "examples" / example
    language = ["g++", "-xc++", "-std=c++17"] if path.suffix == ".ino" else ["gcc", "-std=c11", "-Wconversion"]
    run(*language, *WARNINGS, f"-I{package / 'src'}", f"-I{STUBS}", "-fsyntax-only", path, cwd=package)


def test_every_file_is_listed(package):
    files = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    assert set(json.loads((package / "package.json").read_text())["files"]) == files
