"""Write the API reference, `build/docs`, from the docstrings: `make docs`."""

from importlib import import_module
from pathlib import Path

import pdoc

PACKAGES = ("edgesnn", "edgesnn.export", "edgesnn.runtime", "edgesnn.boards", "edgesnn.bench", "edgesnn.report")

for package in map(import_module, PACKAGES):
    for name in getattr(package, "__all__", ()):
        setattr(
            package, name, getattr(package, name)
        )  # a name that is loaded on first use is unknown to pdoc until then
pdoc.render.configure(docformat="google", math=True)
pdoc.pdoc(*PACKAGES, output_directory=Path("build/docs"))
