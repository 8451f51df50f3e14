"""Figures of papers that follow from shapes alone: sizes of networks, and the work of local training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgesnn.bench.registry import Measured, benchmark

if TYPE_CHECKING:
    from edgesnn.models import Network

_MEGA = 1e6


@benchmark(
    "paper-params",
    "EM-PF Table 2: megabytes of parameters by the paper's convention, and of ours with one bit a weight",
    packages=("torch",),
)
def paper_params() -> Measured:
    """max_error: the largest relative error of a row; ours_over_paper: packed weights over the paper's, sum of the
    binary rows.
    """
    import torch

    from edgesnn import cost

    rows: list[dict[str, object]] = []
    errors, packed, stated = [], 0.0, 0.0
    for name, weights, paper_mb, make in _networks():
        with torch.device("meta"):
            size = cost.parameters(make())
        ours_mb = (size.paper if weights == "binary" else size.float_weights) / _MEGA
        errors.append(abs(ours_mb - paper_mb) / paper_mb)
        if weights == "binary":
            packed += size.weights / _MEGA
            stated += paper_mb
        rows.append(
            {
                "network": name,
                "weights": weights,
                "paper_mb": paper_mb,
                "ours_paper_convention_mb": round(ours_mb, 4),
                "ours_packed_weights_mb": round(size.weights / _MEGA, 4),
                "ours_packed_all_mb": round(size.total / _MEGA, 4),
                "error": round(errors[-1], 5),
            }
        )
    return Measured({"max_error": max(errors), "ours_over_paper": packed / stated}, rows)


def _networks() -> list[tuple[str, str, float, Callable[[], Network]]]:
    """Name, weights, megabytes in the paper, constructor. The DVS images are 48x48."""
    from edgesnn import models

    cifar, dvs, imagenet = (3, 32, 32), (2, 48, 48), (3, 224, 224)
    return [
        ("ResNet-18 CIFAR-10", "binary", 2.82, lambda: models.resnet18(cifar, 10, block="empf")),
        ("ResNet-18 CIFAR-100", "binary", 3.00, lambda: models.resnet18(cifar, 100, block="empf")),
        ("VGG-13 ImageNet-200", "binary", 2.77, lambda: models.vgg13((3, 64, 64), 200)),
        ("ResNet-34 ImageNet-1k", "binary", 7.40, lambda: models.resnet34(imagenet, 1000, block="empf")),
        ("ResNet-18 DVS-CIFAR10", "binary", 2.81, lambda: models.resnet18(dvs, 10, block="empf")),
        ("VGG-SNN DVS-CIFAR10", "binary", 2.49, lambda: models.vgg_snn(dvs, 10)),
        ("ResNet-18 CIFAR-10", "float", 44.66, lambda: models.resnet18(cifar, 10, weights="float")),
    ]


@benchmark(
    "paper-macs",
    "TT-LBP section 4.4: the share of backward multiply-accumulates that training each layer by itself saves",
    packages=("torch",),
)
def paper_macs() -> Measured:
    """lenet1, lenet2, alexnet: 1 - LBP1 / BP by eq. 17. The paper says 72 %, 99 %, 99 %; its paddings and some of its
    image sizes are not given: ours stand in the rows.
    """
    import torch

    from edgesnn import cost, models, neurons

    stated = {"lenet1": 0.72, "lenet2": 0.99, "alexnet": 0.99}
    paddings = {"lenet1": "2, 0, 0", "lenet2": "0, 0, 0", "alexnet": "1 each"}
    figures: dict[str, float] = {}
    rows: list[dict[str, object]] = []
    for name, make in {"lenet1": models.lenet1, "lenet2": models.lenet2, "alexnet": models.alexnet}.items():
        with torch.device("meta"):
            net = make(neuron=neurons.LIF(), weights="float")
        whole, local = (
            cost.training(net, {"kind": "ttlbp", "k": 1, "n": n}, steps=1, batch=1).macs
            for n in (len(cost.units(net)) - 1, 1)
        )
        figures[name] = 1 - local / whole
        rows.append(
            {
                "network": name,
                "input": "x".join(map(str, net.input_shape)),
                "padding": paddings[name],
                "classes": net.classes,
                "macs_bp": whole,
                "macs_lbp1": local,
                "saved": round(figures[name], 4),
                "saved_paper": stated[name],
            }
        )
    return Measured(figures, rows)
