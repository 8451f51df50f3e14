"""Package list for setuptools: the top-level folders are sub-packages of `edgesnn`.

`package-dir` maps a folder to a package but does not discover what lies below it, and a sub-package that is not listed
imports from a checkout while missing from the wheel; so the list is found here instead of written by hand.
"""

from setuptools import find_packages, setup

FOLDERS = {"edgesnn": "edgesnn", "edgesnn.export": "export", "edgesnn.runtime": "runtime", "edgesnn.boards": "boards"}

packages = [
    name
    for package, folder in FOLDERS.items()
    for name in (package, *(f"{package}.{sub}" for sub in find_packages(folder)))
]

setup(
    package_dir=FOLDERS,
    packages=packages,
    package_data={
        "edgesnn": ["py.typed", "presets/*.toml"],
        "edgesnn.bench": ["*.c", "*.cpp"],
        "edgesnn.report": ["templates/*"],
        "edgesnn.runtime": ["c/**/*"],
        "edgesnn.boards": ["*.toml", "support/**/*"],
        "edgesnn.export": ["templates/**/*"],
    },
)
