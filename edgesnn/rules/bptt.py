"""Back-propagation through time: the baseline, exact for the surrogate derivative, memory grows with T."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from edgesnn.models import Network
from edgesnn.rules.base import Rule


class BPTT(Rule):
    """Gradient of L = 1/T sum_t l(o[t], y) (SLTT eq. 14) through all time steps (SLTT eq. 7-10)."""

    def backward(self, net: Network, x: Tensor, y: Tensor, generator: torch.Generator) -> float:  # noqa: ARG002
        state: dict[str, Tensor] = {}
        loss = x.new_zeros(())
        for t in range(x.shape[0]):
            logits, state = net.step(x[t], state, t)
            loss = loss + cross_entropy(logits, y)
        loss = loss / x.shape[0]
        loss.backward()
        return loss.item()

    def config(self) -> dict[str, Any]:
        return {"kind": "bptt"}
