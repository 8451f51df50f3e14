"""The figures of the kernels' benchmark: whole layers, the same at every run."""

from dataclasses import replace

import pytest

from edgesnn.bench.cases import kernels

LAYERS = {"dense_u8_w1", "dense_s1_w8", "dense_int8_reference", "conv_u8_w1", "conv_s1_w8", "conv_int8_reference"}


def test_figures(emulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        name: replace(layer, inputs=(8, *layer.inputs[1:]), outputs=4) for name, layer in kernels._PUBLISHED.items()
    }
    monkeypatch.setattr(kernels, "_PUBLISHED", small)
    monkeypatch.setattr(kernels, "_OTHERS", {})
    measured = kernels.kernels(emulator)
    assert set(measured.figures) == LAYERS | {"rescale_neuron_per_output"}
    assert all(value > 0 for value in measured.figures.values())
    assert {row["layer"]: row["macs"] for row in measured.rows} == {
        name: 32 if name.startswith("dense") else 73728 for name in LAYERS
    }
    assert kernels.kernels(emulator).figures == measured.figures


def test_work_is_that_of_the_layer(emulator: str) -> None:
    """More outputs are more work, also behind a layer that hands spikes on."""
    for name in ("dense_u8_w1", "dense_s1_w8"):
        few, many = (
            kernels._measure(replace(kernels._PUBLISHED[name], inputs=(8,), outputs=outputs), emulator)
            for outputs in (4, 64)
        )
        assert many["instructions_synapse"] > 2 * few["instructions_synapse"]
