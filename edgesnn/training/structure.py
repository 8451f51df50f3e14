"""What a network is besides its tensors, so that neither a checkpoint nor a run is taken for that of another one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import nn

from edgesnn.checkpoint import plain
from edgesnn.models import Block, Network

#: Path of a block or layer -> {"type": its class, attribute: value, ...}.
Structure = dict[str, dict[str, Any]]


def structure(net: Network) -> Structure:
    """Class and public numbers and texts of every block and layer by path, as they are now: the leak of a neuron or
    the readout, the padding of a convolution, the probability of a dropout. Of neurons also what they were made with.
    """
    found: Structure = {}
    for path, part in _parts("layers", net.layers):
        attributes = {**getattr(part, "initial", {}), **vars(part)}
        public = {
            name: value
            for name, value in attributes.items()
            if not name.startswith("_") and name != "training" and _is_plain(value)
        }
        found[path] = {"type": type(part).__name__, **plain(public, path)}
    return found


def difference(one: Structure, other: Structure) -> tuple[str, Any, Any] | None:
    """The first place where two networks differ, such as "layers.neuron1.lam", and its two values; None: nowhere."""
    for path in sorted(one.keys() | other.keys()):
        a, b = one.get(path, {}), other.get(path, {})
        for name in ("type", *sorted((a.keys() | b.keys()) - {"type"})):
            if a.get(name) != b.get(name):
                return f"{path}.{name}", a.get(name), b.get(name)
    return None


def _parts(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield path, module
    if isinstance(module, Block | nn.ModuleDict):
        for name, part in module.named_children():
            yield from _parts(f"{path}.{name}", part)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | np.generic)
