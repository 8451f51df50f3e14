"""Random streams that exercise a model's whole range, for test vectors and verification."""

from __future__ import annotations

import numpy as np

from edgesnn.runtime.model import Array, Model

#: A period that shares no factor with layer widths, so that swapped blocks of data show.
_PERIOD = 7
#: Steps for which a label stays: of streams whose seed leaves this remainder.
_HOLD = (1, 8, 160)


def random_stream(model: Model, steps: int, seed: int) -> tuple[Array, Array]:
    """Random frames [S, ...] over the whole input range, and labels [S] int32 (-1: no learning after this step).

    Frames mix noise with a slow pattern of prime period, so that membranes both rest and saturate. Half of the steps
    are labelled where the model learns; a label stays for 1, 8 or 160 steps, by the seed.
    """
    generator = np.random.default_rng(seed)
    limits = np.iinfo(model.input.dtype)
    noise = generator.integers(limits.min, limits.max, (steps, *model.input.shape), endpoint=True)
    gain = generator.permutation(_PERIOD)[np.arange(steps) % _PERIOD].reshape(-1, *[1] * len(model.input.shape))
    frames = (noise * gain // (_PERIOD - 1)).astype(model.input.dtype)
    hold = _HOLD[seed % len(_HOLD)]
    labels = np.repeat(generator.integers(0, len(model.classes), -(-steps // hold), dtype=np.int32), hold)[:steps]
    silent = generator.random(steps) < 0.5 if model.learn else np.full(steps, True)
    return frames, np.where(silent, np.int32(-1), labels)


def seasoned(model: Model) -> bytes:
    """A snapshot as after long use: that of the factory, but a guard lets the learned means decide, and the label 0 has
    lasted for long, so that the next one is learned and compared.
    """
    tensors = dict(model.factory)
    if model.learn and model.learn.scope == "means":
        counters = {"seen": 1000, "factory_errors": 500, "learned_errors": 10, "use": 1, "last": 0, "run": 1000}
        tensors |= {f"guard.{name}": np.array([value], np.int32) for name, value in counters.items()}
        tensors["means.count"] = np.ones_like(tensors["means.count"])
    return model.pack(tensors)
