"""The package loads its parts on first use: a device that runs a model does not import torch."""

import subprocess
import sys

import pytest

import edgesnn as es


@pytest.mark.parametrize("module", ["edgesnn", "edgesnn.errors", "edgesnn.data", "edgesnn.runtime", "edgesnn.boards"])
def test_import_does_not_load_torch(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'brevitas', 'edgesnn.export'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_name_resolves():
    for name in es.__all__:
        assert getattr(es, name) is not None
    assert callable(es.fit)
    assert callable(es.evaluate)
    assert set(es.__all__) <= set(dir(es))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'ftl'"):
        es.ftl  # noqa: B018
