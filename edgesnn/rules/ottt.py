"""Online training through time (Xiao et al., NeurIPS 2022; Algorithm 1 of its supplement)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from edgesnn.errors import ConfigError
from edgesnn.layers.window import WindowWeights
from edgesnn.models import Network
from edgesnn.models.network import State
from edgesnn.rules.base import Rule, detached
from edgesnn.rules.loss import check_mse, step_loss
from edgesnn.rules.traces import Traces

UPDATES = ("accumulate", "online")


class OTTT(Rule):
    """dL/dW = sum_t g_u[t] a^[t]^T with the presynaptic trace a^[t] = lam*a^[t-1] + s[t], g_u[t] the gradient of
    L[t] = 1/T l(o[t], y) at the same time step; l: `step_loss`. Memory does not grow with T.

    Biases, norms, leaks and thresholds get g of the time step alone, as in SLTT. `update="accumulate"` (OTTT-A)
    updates at the end of a window, `"online"` (OTTT-O) after every step, where it is `learn` that updates: `backward`
    gives the same sum for both. The readout is traced too, and so is the input of the first layer: Algorithm 1 has no
    exception. Batch norm over time is outside the theory (the paper standardizes weights), yet each step's norm works.
    """

    steps_network = False

    def __init__(self, update: str = "accumulate", mse: float = 0.0) -> None:
        if update not in UPDATES:
            raise ConfigError(f"OTTT update: expected one of {', '.join(UPDATES)}, got {update!r}")
        check_mse("OTTT", mse)
        self.update, self.mse = update, mse
        self.updates_within_window = update == "online"

    def parts(self, net: Network, x: Tensor, y: Tensor, generator: torch.Generator) -> Iterator[float]:  # noqa: ARG002
        steps, online = x.shape[0], self.updates_within_window
        traces, weights = Traces(net), WindowWeights()
        state: State = {}
        total = 0.0
        for t in range(steps):
            with weights:
                logits, state = traces.step(x[t], state, t)
            loss = step_loss(logits, y, self.mse) / steps
            loss.backward()
            state = detached(state)
            if online:
                weights.backward()
                yield loss.item()
            total += loss.item()
        if not online:
            weights.backward()
            yield total

    def config(self) -> dict[str, Any]:
        return {"kind": "ottt", "update": self.update, "mse": self.mse}
