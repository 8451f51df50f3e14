"""A model for benches that need one, and no accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_models import RandomModel, Shape

from edgesnn.export.c_package import c
from edgesnn.runtime.model import Model


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A random network that learns, with its C."""
    path: Path = tmp_path_factory.mktemp("model")
    model = RandomModel(Shape((4,), hidden=(("BinaryLinear", 3),), classes=2), seed=5).write(path)
    c(path)
    return model
