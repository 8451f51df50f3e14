"""Spatial learning through time (Meng et al., ICCV 2023): an online gradient, in memory that does not grow with T."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from edgesnn.errors import TrainingError
from edgesnn.models import Network
from edgesnn.models.network import State
from edgesnn.models.quick import QuickSteps
from edgesnn.rules.base import Rule, checked_count, detached
from edgesnn.rules.loss import check_mse, step_loss


class SLTT(Rule):
    """dL/dW = sum_t e_u[t] s_in[t]^T (eq. 12-13) of L = 1/T sum_t l(o[t], y) (eq. 14), dropping every term through
    v[t-1]; l: `step_loss`.

    With k (SLTT-K, Algorithm 1), only k of the T steps, drawn without replacement, have a gradient. The paper keeps the
    factor 1/T, which makes the step smaller with k; here it is 1/k, so that the estimate is unbiased for every k. Steps
    that are not drawn run without gradient (`QuickSteps`), steps after the last drawn one are not run, and the graph of
    a step is freed before the next.

    SLTT(1) with EM-PF neurons is the random back-propagation of EM-PF (arXiv 2410.07547, section 4.3).
    """

    def __init__(self, k: int | None = None, mse: float = 0.0) -> None:
        check_mse("SLTT", mse)
        self.k, self.mse = checked_count("SLTT", "k", k), mse

    def parts(self, net: Network, x: Tensor, y: Tensor, generator: torch.Generator) -> Iterator[float]:
        drawn = self.draw(x.shape[0], generator)
        state: State = {}
        quick = QuickSteps(net)
        for t in range(drawn[-1] + 1):
            if t not in drawn:
                state = quick.step(x[t], state, t)
                continue
            with torch.enable_grad():
                logits, state = net.step(x[t], state, t)
                loss = step_loss(logits, y, self.mse) / len(drawn)
            loss.backward()
            state = detached(state)
            yield loss.item()
            quick.forget()

    def draw(self, steps: int, generator: torch.Generator) -> list[int]:
        """The time steps that get a gradient, ascending."""
        if self.k is None:
            return list(range(steps))
        if self.k > steps:
            raise TrainingError(f"SLTT: cannot draw k={self.k} of {steps} time steps; use a smaller k or more steps")
        return sorted(torch.randperm(steps, generator=generator)[: self.k].tolist())

    def config(self) -> dict[str, Any]:
        return {"kind": "sltt", "k": self.k, "mse": self.mse}
