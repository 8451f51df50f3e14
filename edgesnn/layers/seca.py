"""Spiking efficient channel attention (EM-PF eq. 9-10; after ECA, Wang et al., CVPR 2020)."""

import torch
from torch import Tensor, nn

from edgesnn.errors import ConfigError


class SECA(nn.Module):
    """I' = score * I, score = sigmoid(Conv1d_k(GAP(I))) (eq. 9): one weight for each channel, of k neighbours.

    GAP is the mean over pixels; the convolution has one kernel of k weights, without bias, and zeros beyond the first
    and last channel. The same kernel serves every time step. This is variant 1 of eq. 10, on the post-synaptic current
    [N, C, ...]; variant 2 also hands in the pre-synaptic current as `context`, of the same channels, and the score is
    that of their sum (the paper's text doesn't say how the two are combined; a sum keeps the k weights).
    """

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ConfigError(f"SECA: expected an odd kernel >= 1, got {kernel}")
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def score(self, current: Tensor) -> Tensor:
        """In (0, 1), shape [N, C] for currents [N, C, ...]."""
        pooled = current.flatten(2).mean(2) if current.dim() > 2 else current
        return torch.sigmoid(self.conv(pooled[:, None])[:, 0])

    def forward(self, current: Tensor, context: Tensor | None = None) -> Tensor:
        score = self.score(current if context is None else current + context)
        return current * score.reshape(*score.shape, *[1] * (current.dim() - 2))
