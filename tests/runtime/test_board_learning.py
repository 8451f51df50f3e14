"""Learning in every layer of convolutional networks on emulated boards: the reference evaluator's integers."""

from __future__ import annotations

from pathlib import Path

import pytest
import zoo
from emulated import EMULATED, need
from quantized import network
from torch import nn
from zoo import branch, chain, conv, empf

from edgesnn import export
from edgesnn.models import Network, Residual
from edgesnn.runtime.verify import verify


def residual() -> Network:
    """A depthwise and a dilated convolution, sums, and a block whose two chains get one error."""
    return chain((2, 8, 8), lambda: {
        "conv1": conv(2, 4, dilation=2, padding=1), "neuron1": empf(), "conv2": conv(4, 4, groups=4, padding=1),
        "pool2": nn.AvgPool2d(2), "neuron2": empf(), "block3": Residual(branch(4, 6), {"conv1": conv(4, 6, 1)}),
        "neuron3": empf(), "flatten": nn.Flatten(),
    })()  # fmt: skip


def learns_as_the_reference(case: str, board: str, folder: Path) -> None:
    need(board)
    qnet = zoo.quantized(residual)[0] if case == "residual" else network(case, 0.9)
    export.onnx(qnet, folder, learn="all", learning_rate=3e-2, seed=9)
    export.c(folder, board)
    checks = [check for check in verify(folder, ["board"], steps=12) if check.graph == "learn"]
    assert len(checks) == 1
    assert checks[0].equal, checks
    assert checks[0].compared > 5


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("case", ["conv-empf", "residual"])
def test_a_convolutional_network_learns(tmp_path: Path, case: str) -> None:
    learns_as_the_reference(case, "mps2-an386", tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("case", ["conv-empf", "conv-lif-8-bit", "residual"])
@pytest.mark.parametrize("board", EMULATED)
def test_convolutional_networks_learn_on_every_board(tmp_path: Path, board: str, case: str) -> None:
    learns_as_the_reference(case, board, tmp_path)
