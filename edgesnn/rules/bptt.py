"""Back-propagation through time: the baseline, exact for the surrogate derivative, memory grows with T."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from edgesnn.layers.window import WindowWeights
from edgesnn.models import Network
from edgesnn.models.network import State
from edgesnn.rules.base import Rule
from edgesnn.rules.loss import check_mse, step_loss


class BPTT(Rule):
    """Gradient of L = 1/T sum_t l(o[t], y) (SLTT eq. 14) through all time steps (SLTT eq. 7-10); l: `step_loss`."""

    def __init__(self, mse: float = 0.0) -> None:
        check_mse("BPTT", mse)
        self.mse = mse

    def parts(self, net: Network, x: Tensor, y: Tensor, generator: torch.Generator) -> Iterator[float]:  # noqa: ARG002
        state: State = {}
        loss = x.new_zeros(())
        weights = WindowWeights()
        for t in range(x.shape[0]):
            with weights:
                logits, state = net.step(x[t], state, t)
            loss = loss + step_loss(logits, y, self.mse)
        loss = loss / x.shape[0]
        loss.backward()
        weights.backward()
        yield loss.item()

    def config(self) -> dict[str, Any]:
        return {"kind": "bptt", "mse": self.mse}
