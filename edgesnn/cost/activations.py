"""Memory of one time step: the state that is carried on, and what autograd keeps for the backward pass."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edgesnn.cost.shapes import on_meta
from edgesnn.errors import ConfigError
from edgesnn.models import Network, units
from edgesnn.models.network import State
from edgesnn.rules.base import detached

#: A tensor of each storage, by the storage's address; while it is kept, no other has that address.
Saved = dict[int, Tensor]


def state_bytes(net: Network, batch: int = 1) -> int:
    """Bytes of the state between two time steps: membranes, and outputs that are fed back."""
    net = on_meta(net).eval()
    _, state = net.step(torch.empty(batch, *net.input_shape, device="meta"), {}, 0)
    return sum(value.numel() * value.element_size() for value in state.values())


def saved_bytes(net: Network, batch: int, steps: int = 1) -> int:
    """Bytes that autograd keeps for the backward pass of so many joined time steps in training mode, each storage once,
    parameters not counted. One step is what the online rules keep, T what BPTT keeps. Norms need a batch above 1.
    """
    net = on_meta(net).train()
    x = torch.empty(batch, *net.input_shape, device="meta")
    state: State = {}
    with _batch_of(batch), watched(net) as saved:
        for t in range(steps):
            _, state = net.step(x, state, t)
    return saved_size(saved)


def saved_by_unit(net: Network, batch: int) -> list[Saved]:
    """What one time step keeps, for each unit of `units`; storages that two units keep are in both."""
    net = on_meta(net).train()
    x = torch.empty(batch, *net.input_shape, device="meta")
    found: list[Saved] = []
    with _batch_of(batch):
        for chain in units(net).values():
            _, state = chain.step(x.detach(), {}, 0)
            with watched(net) as saved:
                x, _ = chain.step(x.detach(), detached(state), 1)
            found.append(saved)
    return found


@contextmanager
def _batch_of(batch: int) -> Iterator[None]:
    """Torch's refusal to norm one value a channel, in one line."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError(
            f"cost: expected a batch of at least 2 for a network with norms in training, got {batch}; pass batch=2 "
            "or more"
        ) from None


def saved_size(saved: Saved) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


@contextmanager
def watched(net: nn.Module) -> Iterator[Saved]:
    """Collects the storages that autograd saves inside."""
    saved: Saved = {}
    parameters = {parameter.untyped_storage()._cdata for parameter in net.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage()._cdata
        if address not in parameters:
            saved[address] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved
