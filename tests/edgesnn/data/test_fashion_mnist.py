"""Fashion-MNIST: its splits, where its files are found, and what is said when they are nowhere."""

import gzip
import subprocess

import numpy as np
import pytest

import edgesnn as es
from edgesnn.data import fashion_mnist as module
from edgesnn.errors import DataError

IMAGE = b"\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x03"


def available():
    try:
        return module._folder()
    except DataError:
        return None


@pytest.fixture(scope="module")
def data():
    if available() is None:
        pytest.skip("Fashion-MNIST is neither installed nor can it be fetched here")
    return es.data.load("fashion")


def test_splits(data):
    assert [len(data.split(part)) for part in ("train", "validation", "test")] == [55000, 5000, 10000]
    assert np.bincount(data.train.labels).sum() + np.bincount(data.validation.labels).sum() == 60000
    both = np.bincount(data.train.labels, minlength=10) + np.bincount(data.validation.labels, minlength=10)
    assert (both == 6000).all()
    assert (np.bincount(data.test.labels) == 1000).all()
    assert data.train.values.shape == (55000, *data.input_shape)
    assert data.mean == pytest.approx(72.9, abs=0.2)


def test_batches_are_normalized_bytes(data):
    x, y = next(data.evaluation_batches("test", steps=3))
    assert (x.shape, y.shape) == ((3, 500, 1, 28, 28), (3, 500))
    expected = (data.test.values[:500] - data.mean[0]) / data.std[0]
    np.testing.assert_allclose(x[2], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b""), gzip.compress(IMAGE), gzip.compress(b"\0\0\x09" + IMAGE[3:] + b"123456")],
    ids=["nothing", "no gzip", "empty", "cut short", "floats"],
)
def test_a_damaged_file_is_one_line(tmp_path, content):
    path = tmp_path / "x.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="IDX") as error:
        module.read_idx(path)
    assert "\n" not in str(error.value)


def test_idx_is_read_in_row_major_order(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(IMAGE + bytes(range(6))))
    assert module.read_idx(tmp_path / "x.gz").tolist() == [[[0, 1, 2]], [[3, 4, 5]]]


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "INSTALLED", tmp_path / "usr" / "share" / "fashion-mnist")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgesnn" / "fashion-mnist"


def test_without_debian_tools_the_way_out_is_named(nowhere, monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda tool: None)
    with pytest.raises(DataError, match=r"no apt-get here.*apt install dataset-fashion-mnist") as error:
        es.data.fashion()
    assert "\n" not in str(error.value)


def test_a_failed_download_says_why_and_leaves_nothing(nowhere, monkeypatch):
    failed = subprocess.CompletedProcess([], 100, "", "W: unsandboxed\nE: Unable to locate package\n")
    monkeypatch.setattr(module.subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(DataError, match=r"apt-get download .*Unable to locate package") as error:
        es.data.fashion()
    assert "\n" not in str(error.value)
    assert list(nowhere.iterdir()) == []


def test_fetched_files_are_kept(nowhere, monkeypatch):
    commands = []

    def run(command, cwd, **kwargs):
        commands.append(command[0])
        if command[0] == "dpkg-deb":
            files = cwd / "files" / module.INSTALLED.relative_to("/")
            files.mkdir(parents=True)
            for name in (name for pair in module.FILES.values() for name in pair):
                (files / name).write_text(name)
        else:
            (cwd / "package.deb").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(module.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(module.subprocess, "run", run)
    assert module._folder() == module._folder() == nowhere
    assert commands == ["apt-get", "dpkg-deb"]
    assert len(list(nowhere.iterdir())) == 4
