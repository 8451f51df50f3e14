"""Fashion-MNIST (Xiao et al., 2017; MIT license) as Debian packages it: 70,000 grey images of 28x28, ten classes."""

import gzip
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from edgesnn import cache
from edgesnn.data.arrays import from_images
from edgesnn.data.dataset import Dataset, Images, check_sha256
from edgesnn.errors import DataError

PACKAGE = "dataset-fashion-mnist"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
SHA256 = "ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f"
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
VALIDATION, SPLIT_SEED = 5000, 0
#: Kind -> its images and its labels.
FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


def fashion() -> Dataset:
    """28x28 grey values 0-255. Test: the 10,000 of the source. A fixed shuffle of its 60,000: train 55,000, validation
    5,000.

    The files are those of the installed Debian package; where it is not installed, they are fetched once with apt-get
    into the user's cache, which needs no root.
    """
    folder = _folder()
    arrays = {kind: [read_idx(folder / name) for name in names] for kind, names in FILES.items()}
    check_sha256("fashion", arrays["train"] + arrays["test"], SHA256, f"the Debian package {PACKAGE}")
    images, labels = arrays["train"]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    train, validation = (_images(images[part], labels[part]) for part in (order[VALIDATION:], order[:VALIDATION]))
    return from_images(train, validation, _images(*arrays["test"]), CLASSES, name="fashion")


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An array of bytes from a gzipped IDX file: two zeros, type 8, rank, big-endian sizes, then the values.

    Raises:
        DataError: the file cannot be read, or is not of that format.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: expected a gzipped IDX file, got: {error}; fetch it again") from None
    rank = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    shape = np.frombuffer(content[4 : 4 + 4 * rank], ">u4").astype(int)
    start = 4 + 4 * rank
    if not rank or len(shape) != rank or len(content) - start != shape.prod():
        raise DataError(f"{path}: expected an IDX file of bytes, got {len(content)} other bytes; fetch it again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _images(values: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Images:
    return Images(values[:, None], labels.astype(np.int64))


def _folder() -> Path:
    """Where the four files lie; fetched into the cache if they are nowhere."""
    cached = cache.folder("fashion-mnist")
    names = [name for pair in FILES.values() for name in pair]
    for folder in (INSTALLED, cached):
        if all((folder / name).is_file() for name in names):
            return folder
    with TemporaryDirectory(dir=cached) as scratch:
        _fetch(Path(scratch))
        for name in names:
            (Path(scratch) / "files" / INSTALLED.relative_to("/") / name).replace(cached / name)
    return cached


def _fetch(scratch: Path) -> None:
    """Downloads the package into `scratch` and unpacks it into `scratch`/files."""
    way_out = f"`apt install {PACKAGE}`, or copy its four .gz files into {scratch.parent}"
    if missing := [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]:
        raise DataError(f"data 'fashion': not in {INSTALLED}, and no {missing[0]} here to fetch it with; {way_out}")
    _run(["apt-get", "download", PACKAGE], scratch, way_out)
    packages = sorted(path.name for path in scratch.glob("*.deb"))
    _run(["dpkg-deb", "-x", packages[0] if packages else "", "files"], scratch, way_out)


def _run(command: list[str], folder: Path, way_out: str) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if not line.startswith("W:")]
        reason = lines[-1] if lines else f"status {result.returncode}"
        raise DataError(
            f"data 'fashion': not in {INSTALLED}, and `{' '.join(command)}` failed with: {reason}; {way_out}"
        )
