"""The figures of the kernels' benchmark: whole layers, the same at every run."""

import pytest

from edgesnn.bench.cases import kernels

KEYS = {"dense_u8_w1", "conv_u8_w1", "dense_int8_reference", "conv_int8_reference", "rescale_neuron_per_output"}


def test_figures(emulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        name: kernels._Layer(layer.synapse, (8, *layer.inputs[1:]), 4) for name, layer in kernels._PUBLISHED.items()
    }
    monkeypatch.setattr(kernels, "_PUBLISHED", small)
    monkeypatch.setattr(kernels, "_OTHERS", {})
    measured = kernels.kernels(emulator)
    assert set(measured.figures) == KEYS
    assert all(value > 0 for value in measured.figures.values())
    assert {row["layer"]: row["macs"] for row in measured.rows} == {
        "dense_u8_w1": 32, "dense_int8_reference": 32, "conv_u8_w1": 73728, "conv_int8_reference": 73728
    }  # fmt: skip
    assert kernels.kernels(emulator).figures == measured.figures
