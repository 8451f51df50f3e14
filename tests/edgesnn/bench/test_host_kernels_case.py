"""The figures of the bench host-kernels, from small layers."""

import numpy as np
import pytest

from edgesnn.bench.cases import host_kernels
from edgesnn.bench.layer_shape import LayerShape


def test_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_HOT_ROUNDS": 2, "_COLD_ROUNDS": 1, "_ROUND_MACS": 1e4, "_CACHE_BYTES": 2**16}.items():
        monkeypatch.setattr(host_kernels, name, value)
    monkeypatch.setattr(
        host_kernels, "_LAYERS", {"dense": (LayerShape((40,), 30),), "conv": (LayerShape((8, 6, 6), 5),)}
    )
    measured = host_kernels.host_kernels()
    assert set(measured.figures) == {
        "dense_speedup", "conv_speedup", "dense_vs_int8", "conv_vs_int8", "conv_to_bytes_vs_int8",
    }  # fmt: skip
    assert all(value > 0 for value in measured.figures.values())
    assert [(row["kind"], row["caches"]) for row in measured.rows] == [
        ("dense", "hot"), ("dense", "cold"), ("conv", "hot"), ("conv", "cold"),
    ]  # fmt: skip


def test_every_contender_computes_the_layer(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums of the C kernels are those of the layer, so that the same work is timed."""
    layer = LayerShape((8, 6, 6), 5)
    library = host_kernels._compile(tmp_path)
    rng = np.random.default_rng(1)
    x, spikes = (rng.integers(0, top, (1, 8, 6, 6)).astype(np.uint8) for top in (16, 2))
    outputs = []
    monkeypatch.setattr(host_kernels.np, "empty", lambda *a, **k: outputs.append(np.zeros(*a, **k)) or outputs[-1])

    def made():
        return [array for array in outputs if array.shape == layer.output_shape]

    def golden(given, w):
        padded = np.pad(given[0].astype(int), ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        return np.einsum("chwij,ocij->ohw", windows, w.astype(int))

    def check(call, given, w):
        call()
        np.testing.assert_array_equal(made()[0], golden(given, w))
        outputs.clear()

    signs = rng.choice(np.array([-1, 1], np.int8), (5, 8, 3, 3))
    check(host_kernels._own(layer, library, x, signs)["w1"], x, signs)
    host_kernels._own(layer, library, x, signs)["w1_to_bytes"]()
    currents = (golden(x, signs) + 4) >> 3
    np.testing.assert_array_equal(made()[1], np.clip((currents + 8) >> 4, 0, 255))
    outputs.clear()
    for bits in (2, 4, 8):
        w = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (5, 8, 3, 3)).astype(np.int8)
        if bits < 8:
            check(host_kernels._packed(layer, library, x, w, bits), x, w)
        check(host_kernels._event(layer, library, spikes, w, bits), spikes, w)
