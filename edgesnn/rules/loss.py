"""The loss of one time step, the same for every rule. Shapes: N batch, K classes."""

from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from edgesnn.errors import ConfigError


def check_mse(rule: str, mse: float) -> None:
    if not 0.0 <= mse <= 1.0:
        raise ConfigError(f"{rule}: expected mse in [0, 1], the share of the squared error in the loss, got {mse}")


def step_loss(logits: Tensor, y: Tensor, mse: float = 0.0) -> Tensor:
    """l(o, y) = (1 - a)*CE(o, y) + a*MSE(o, one_hot(y)), a = `mse` (OTTT supplement C.2.2); logits [N, K], y [N].

    The squared error is the mean over batch and classes.
    """
    loss = cross_entropy(logits, y)
    if mse:
        loss = (1 - mse) * loss + mse * mse_loss(logits, one_hot(y, logits.shape[1]).to(logits.dtype))
    return loss
