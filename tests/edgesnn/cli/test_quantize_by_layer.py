"""`edgesnn quantize` with bits by layer: what is typed is what the run has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import Command

import edgesnn as es
from edgesnn.models import Network
from edgesnn.runs import Run, RunConfig, load_run, save_run
from edgesnn.training import History


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with an untrained network on 8x8 digits, which is not tuned."""
    net = es.models.mlp(64, [8, 8, 8], 10, es.EMPF(theta=0.05), "binary", seed=0)
    config = RunConfig.model_validate(
        {
            "data": "digits",
            "model": {"kind": "mlp", "sizes": [8, 8, 8], "weights": "binary"},
            "quantization": {"weights": 8, "epochs": 0},
        }
    )
    save_run(Run(net, es.data.load("digits"), config, History()), tmp_path / "run")
    return tmp_path / "run"


def bits(net: Network) -> dict[str, int]:
    """By layer: of weights where it has some, else of spikes."""
    layers = net.layers.items()
    weights = {name: int(layer.quant_weight().bit_width) for name, layer in layers if hasattr(layer, "quant_weight")}
    return weights | {name: layer.bits for name, layer in layers if hasattr(layer, "bits")}


def test_layers_have_the_bits_that_are_typed(edgesnn: Command, run: Path) -> None:
    done = edgesnn("quantize", run, "--weights", "linear3=4, rest=2", "--spikes", "neuron1=8,neuron2=1")
    assert done.status == 0, done.err
    again = load_run(run.with_name("run-quantized"))
    assert bits(again.net) == {
        "linear1": 8, "linear2": 2, "linear3": 4, "readout": 8, "neuron1": 8, "neuron2": 1, "neuron3": 4,
    }  # fmt: skip
    assert again.config.quantization == {
        "weights": {"linear3": 4, "rest": 2}, "spikes": {"neuron1": 8, "neuron2": 1}, "epochs": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--weights", "linear2"), r"--weights: expected a number, or LAYER=BITS joined by commas, got 'linear2'"),
        (("--spikes", "neuron1=many"), r"--spikes: expected a number, or LAYER=BITS .* got 'neuron1=many'"),
        (("--spikes", "neuron1=1=2"), r"--spikes: expected a number, or LAYER=BITS"),
        (("--weights", "=4"), r"--weights: expected a number, or LAYER=BITS"),
        (("--weights", "rest=1,rest=4"), r"--weights: expected each layer once, got 'rest=1,rest=4'"),
        (("--weights", "conv9=4"), r"expected weights for some of linear1, .* got conv9"),
        (("--spikes", "neuron1=3"), r"expected weights .* in \(1, 2, 4, 8\)"),
    ],
)
def test_what_is_no_bits_is_one_line(edgesnn: Command, run: Path, flags: tuple[str, ...], message: str) -> None:
    done = edgesnn("quantize", run, *flags)
    assert done.status == 2
    assert re.match(f"edgesnn: .*{message}", done.err)
    assert done.err.count("\n") == 1


def test_a_run_is_not_quantized_onto_itself(edgesnn: Command, run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for folder in (run, run / ".." / "run"):
        outcome = edgesnn("quantize", run, "-o", folder)
        assert outcome.status == 2
        assert "expected another folder than the run itself" in outcome.err
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
